"""Builds of archives: uploaded to us or fetched, they take the way of a push, and the branch stays where it is."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from django.conf import settings
from django.utils import timezone

from paas import wiring
from paas.apps.selectors import repository_path
from paas.apps.services import set_buildpacks
from paas.builds import services, sources
from paas.builds.log import read
from paas.builds.models import Build, SourceBlob
from paas.core import audit
from paas.core.models import AuditEvent
from paas.releases.models import Release
from paas.releases.services import finish_release, start_release
from runtime.builder.api import BuildConsole, BuildRequest, BuildResult, LayerInfo
from runtime.errors import Conflict, InvalidInput, NotFound
from tests.factories import make_app, make_user

pytestmark = pytest.mark.django_db(transaction=True)


class ReadingBuilder:
    """Its image is its source: the same files with the same time, the same digest."""

    def __init__(self) -> None:
        self.requests: list[BuildRequest] = []
        self.procfiles: list[bytes | None] = []

    def build(self, request: BuildRequest, console: BuildConsole) -> BuildResult:
        self.requests.append(request)
        self.procfiles.append(request.source.read("Procfile"))
        out = io.BytesIO()
        request.source.write_tar(out, prefix="app/")
        console.step("Python app detected")
        return BuildResult(
            digest=f"sha256:{hashlib.sha256(out.getvalue()).hexdigest()}", repository=request.repository, size=1000,
            layers=[LayerInfo("source", "sha256:1", 10, reused=False)], process_types={"web": "serve"},
            release_command="", default_process=(), exposed_port=0, health_checks={}, stack="debian-13",
            buildpacks=("python",), launcher=True, has_image_health_check=False, seconds={},
        )  # fmt: skip


def archive(mtime: int = 1_700_000_000, **files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in ({"Procfile": "web: serve\n"} | files).items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(text), mtime
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.fixture
def world(sent_tasks, monkeypatch) -> Iterator[SimpleNamespace]:
    """An app; releases go live as soon as asked for."""
    from paas.celery import celery_app

    builder, app = ReadingBuilder(), make_app()
    world = SimpleNamespace(app=app, builder=builder, sent=sent_tasks)

    def upload(content: bytes) -> str:
        upload = sources.create_source(by=app.owner)
        put(upload, content)
        return f"https://api.apps.example{upload.get_path}"

    def build(url: str, **fields: Any) -> Build:
        with audit.through("api", "request-1"):
            build = services.start_archive_build(app, url=url, by=app.owner, **fields)
        services.run_build(str(build.pk))
        build.refresh_from_db()
        return build

    def send(name: str, args: tuple[str, ...] = (), **_: object) -> None:
        sent_tasks.append((name, tuple(args)))
        if name == "convergence.converge":
            for release in Release.objects.filter(app_id=args[0], status="pending"):
                start_release(release)
                finish_release(release)

    monkeypatch.setattr(celery_app, "send_task", send)
    world.upload, world.build = upload, build
    with wiring.replaced(builder=builder):
        yield world


def put(upload: sources.Upload, content: bytes, length: int | None = None) -> None:
    parts = urlsplit(upload.put_path)
    secret = parse_qs(parts.query)["put"][0]
    sources.receive_source(
        UUID(parts.path.rpartition("/")[2]), secret, io.BytesIO(content).read, len(content) if length is None else length
    )


def files() -> list[str]:
    return [path.name for path in (settings.ENV.home / "sources").glob("*")]


def test_an_archive_becomes_a_release_and_no_branch_moves(world):
    build = world.build(world.upload(archive()), version="v1.2.3", description="Faster search")
    assert (build.status, build.release.version) == ("succeeded", 1)
    assert (build.release.description, build.release.door) == ("Deploy v1.2.3 Faster search", "api")
    assert (build.image.commit, build.image.commit_subject) == ("v1.2.3", "Faster search")
    assert world.builder.procfiles == [b"web: serve\n"]
    assert not repository_path(world.app).exists()
    assert "-----> Archive of 1 file received" in list(read(build.pk))
    assert list(read(build.pk))[-1].startswith("       built ")
    assert not list((settings.ENV.home / "cache").glob("*"))
    event = AuditEvent.objects.get(action="build.create")
    assert (event.door, event.detail["commit"], event.request_id) == ("api", "v1.2.3", "request-1")


def test_what_somebody_calls_an_archive_makes_no_tag_of_a_commit(world):
    build = world.build(world.upload(archive()), version="a" * 40)
    assert build.release.description == f"Deploy {'a' * 8}"
    assert set(world.app.tags.values_list("name", flat=True)) == {"v1", "latest"}


def test_the_same_files_later_are_the_same_image(world):
    first = world.build(world.upload(archive(mtime=1_700_000_000)))
    second = world.build(world.upload(archive(mtime=1_800_000_000)))
    other = world.build(world.upload(archive(mtime=1_800_000_000, more="x")))
    assert first.image == second.image
    assert (second.source_time, other.source_time) == (1_700_000_000, 1_800_000_000)
    assert other.image != first.image


def test_a_checksum_is_compared_before_anything_is_built(world):
    content = archive()
    right = f"SHA256:{hashlib.sha256(content).hexdigest()}"
    assert world.build(world.upload(content), checksum=right).status == "succeeded"
    build = world.build(world.upload(archive(more="x")), checksum=right)
    assert (build.status, build.error_id) == ("failed", "source_checksum")
    assert len(world.builder.requests) == 1


def test_a_bad_archive_fails_the_build_in_words(world):
    build = world.build(world.upload(b"not an archive"))
    assert (build.status, build.error_id) == ("failed", "source_invalid")
    assert list(read(build.pk))[-2].startswith(" !     The archive can't be used:")


def test_an_archive_elsewhere_is_fetched_and_its_signature_shown_to_nobody(world, monkeypatch):
    asked = []

    class Fetcher:
        def fetch(self, url, out, *, check):
            asked.append(url)
            out.write_bytes(archive())

    monkeypatch.setattr(sources, "_fetcher", Fetcher)
    build = world.build("https://code.example/a.tar.gz?signature=secret")
    assert build.status == "succeeded"
    assert asked == ["https://code.example/a.tar.gz?signature=secret"]
    assert sources.shown_url(build) == "https://code.example/a.tar.gz"
    assert "-----> Fetching https://code.example/a.tar.gz" in list(read(build.pk))
    assert "secret" not in "\n".join(read(build.pk))


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "/etc/passwd", "https://code.example/" + "a" * 5000])
def test_only_urls_are_sources(world, url):
    with pytest.raises(InvalidInput) as caught:
        world.build(url)
    assert caught.value.id == "invalid_source"


def test_what_was_not_uploaded_has_expired_or_belongs_to_another_secret_is_no_source(world):
    upload = sources.create_source(by=world.app.owner)
    with pytest.raises(InvalidInput) as caught:
        world.build(f"https://x{upload.get_path}")
    assert caught.value.id == "source_not_uploaded"
    put(upload, archive())
    for path in (upload.get_path + "x", upload.put_path.replace("?put=", "?get=")):
        with pytest.raises(NotFound):
            world.build(f"https://x{path}")
    SourceBlob.objects.update(expires_at=timezone.now())
    with pytest.raises(NotFound) as gone:
        world.build(f"https://x{upload.get_path}")
    assert gone.value.id == "source_not_found"


def test_an_upload_is_whole_or_not_there_and_has_a_limit(world, monkeypatch):
    upload = sources.create_source(by=world.app.owner)
    put(upload, b"first")
    with pytest.raises(InvalidInput, match="ended 5 bytes too early"):
        put(upload, b"short", length=10)
    assert sources._file(upload.blob).read_bytes() == b"first"
    assert files() == [upload.blob.pk.hex]
    with pytest.raises(InvalidInput) as caught:
        put(upload, b"", length=settings.ENV.max_push_bytes + 1)
    assert caught.value.id == "source_too_large"
    SourceBlob.objects.update(upload_until=timezone.now())
    with pytest.raises(NotFound):
        put(upload, b"late")


def test_a_second_upload_does_not_change_a_build_that_waits_for_its_checksum(world):
    upload = sources.create_source(by=world.app.owner)
    put(upload, archive())
    build = services.start_archive_build(world.app, url=f"https://x{upload.get_path}", by=world.app.owner)
    console = SimpleNamespace(step=lambda text: None, check=lambda: None)
    with sources.opened_source(build, console) as tree:
        put(upload, archive(more="other"))
        assert len(tree.entries()) == 1


def test_somebody_with_many_uploads_builds_them_first(world):
    for _ in range(20):
        last = sources.create_source(by=world.app.owner)
    with pytest.raises(Conflict) as caught:
        sources.create_source(by=world.app.owner)
    assert caught.value.id == "too_many_sources"
    sources.create_source(by=make_user("bob"))
    put(last, archive())
    world.build(f"https://x{last.get_path}")
    sources.create_source(by=world.app.owner)


def test_uploads_go_after_a_day_unless_a_build_still_waits_for_one(world):
    old, waiting, young = (sources.create_source(by=world.app.owner) for _ in range(3))
    for upload in (old, waiting, young):
        put(upload, archive())
    services.start_archive_build(world.app, url=f"https://x{waiting.get_path}", by=world.app.owner)
    stray = settings.ENV.home / "sources" / ".left-behind"
    stray.write_bytes(b"x")
    SourceBlob.objects.exclude(pk=young.blob.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    sources.forget_sources()
    assert set(files()) == {waiting.blob.pk.hex, young.blob.pk.hex, ".left-behind"}
    os.utime(stray, (0, 0))
    sources.forget_sources()
    assert set(files()) == {waiting.blob.pk.hex, young.blob.pk.hex}


def test_a_build_whose_upload_is_gone_says_so(world):
    url = world.upload(archive())
    build = services.start_archive_build(world.app, url=url, by=world.app.owner)
    sources._file(SourceBlob.objects.get()).unlink()
    services.run_build(str(build.pk))
    build.refresh_from_db()
    assert (build.status, build.error_id) == ("failed", "source_gone")


def test_an_archive_supersedes_what_waits_and_can_be_cancelled_itself(world):
    first = services.start_archive_build(world.app, url=world.upload(archive()), by=world.app.owner)
    second = services.start_archive_build(world.app, url=world.upload(archive()), by=world.app.owner)
    first.refresh_from_db()
    assert (first.status, first.reason) == ("superseded", "Build 2 with a newer archive took its place.")
    services.cancel_build(second, by=world.app.owner)
    second.refresh_from_db()
    assert second.status == "cancelled"


def test_buildpacks_are_those_of_the_build_or_of_the_app(world):
    address = "https://github.com/heroku/heroku-buildpack-python.git"
    set_buildpacks(world.app, ["heroku/nodejs", address], by=world.app.owner)
    world.build(world.upload(archive()))
    world.build(world.upload(archive()), buildpacks=["urn:buildpack:heroku/python"])
    assert [list(request.buildpacks) for request in world.builder.requests] == [["node", "python"], ["python"]]
    event = AuditEvent.objects.get(action="app.buildpacks")
    assert event.before == {"buildpacks": []}
    set_buildpacks(world.app, [], by=world.app.owner)
    world.build(world.upload(archive()))
    assert list(world.builder.requests[-1].buildpacks) == []


def test_after_its_cache_was_cleared_an_app_is_built_anew_until_that_has_worked(world):
    world.build(world.upload(archive()))
    services.clear_build_cache(world.app, by=world.app.owner)
    world.build(world.upload(b"no archive"))
    world.build(world.upload(archive()))
    world.build(world.upload(archive()))
    assert [request.fresh for request in world.builder.requests] == [False, True, False]


@pytest.mark.parametrize("given", [["heroku/cobol"], ["python", "heroku/python"], ["dockerfile", "python"]])
def test_buildpacks_that_make_no_sense_are_refused(world, given):
    with pytest.raises(InvalidInput):
        set_buildpacks(world.app, given, by=world.app.owner)
    with pytest.raises(InvalidInput):
        world.build(world.upload(archive()), buildpacks=given)
