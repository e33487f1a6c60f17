"""Images that people have pushed become releases: found, checked, copied; nothing is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from paas import wiring
from paas.builds import services
from paas.builds.log import read
from paas.builds.models import Build, BuildStatus
from paas.core.models import AuditEvent
from paas.releases import services as releases
from paas.releases.models import Release
from paas.releases.retention import expired_images
from paas.releases.selectors import wished_release
from paas.releases.services import finish_release, start_release
from runtime.builder.api import BuildLimits
from runtime.errors import InvalidInput, NotFound, UserError
from runtime.images.layers import LayerFile
from runtime.images.values import Image, host_architecture
from runtime.registry import Registry
from tests.factories import make_app
from tests.unit.runtime.registry.contract import make_layer
from tests.unit.runtime.registry.registry_app import RegistryApp, transport_for

pytestmark = pytest.mark.django_db(transaction=True)


def image_of(layers: Sequence[LayerFile], architecture: str = "", **config: Any) -> Image:
    settings = {"Cmd": ["serve", "--port", "80"]} | config
    return Image.build(
        {"architecture": architecture or host_architecture(), "os": "linux", "config": settings},
        [file.layer for file in layers],
    )


@pytest.fixture
def world(sent_tasks, monkeypatch, tmp_path) -> Iterator[SimpleNamespace]:
    """An app and a registry; releases go live as soon as asked for."""
    from paas.celery import celery_app

    app, store = make_app("shop"), RegistryApp()
    registry = Registry("http://registry", transport=transport_for(store), backoff_seconds=0.0)
    world = SimpleNamespace(
        app=app,
        store=store,
        registry=registry,
        layers=[make_layer(tmp_path / "one", b"one"), make_layer(tmp_path / "two", b"two")],
    )

    def push(process: str, image: Image, tag: str = "latest") -> str:
        """What docker calls it."""
        repository = f"{app.name}/{process}"
        for file in world.layers:
            registry.push_blob(repository, file)
        registry.push_blob(repository, image.config)
        registry.put_image(repository, image, tag)
        return image.config_descriptor.digest

    def release(**images: str) -> Build:
        build = services.start_image_build(app, images, by=app.owner)
        services.run_build(str(build.pk))
        build.refresh_from_db()
        return build

    def send(name: str, args: tuple[str, ...] = (), **_: object) -> None:
        sent_tasks.append((name, tuple(args)))
        if name == "convergence.converge":
            for each in Release.objects.filter(app_id=args[0], status="pending"):
                start_release(each)
                finish_release(each)

    monkeypatch.setattr(celery_app, "send_task", send)
    world.push, world.release = push, release
    with wiring.replaced(registry=registry):
        yield world
    registry.close()


@pytest.fixture(autouse=True)
def _folders(tmp_path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()


def types(build: Build) -> Mapping[str, str]:
    assert build.release is not None, build.reason
    return dict(build.release.process_types)


def test_a_pushed_image_becomes_a_release_by_the_id_that_docker_has(world):
    image = image_of(world.layers, ExposedPorts={"9000/tcp": {}, "53/udp": {}}, Healthcheck={"Test": ["CMD", "true"]})
    build = world.release(web=world.push("web", image))
    assert (build.status, build.reason) == (BuildStatus.SUCCEEDED, "")
    assert types(build) == {"web": ""}
    made = build.release.image
    assert (made.digest, made.repository, made.exposed_port) == (image.digest, world.app.repository, 9000)
    assert (made.stack, made.buildpacks, made.uses_launcher, made.has_health_check) == (
        "container",
        ["image"],
        False,
        True,
    )
    assert world.registry.get_image(world.app.repository, image.digest).digest == image.digest
    assert f"build-{build.number}" in world.registry.tags(world.app.repository)
    assert build.release.description == f"Deploy images web {image.digest[7:19]}"
    assert any("v1 is live" in line for line in read(build.pk))
    event = AuditEvent.objects.get(action="build.create")
    assert event.detail["images"] == {"web": image.digest}


def test_nothing_of_it_travels(world):
    build = world.release(web=world.push("web", image_of(world.layers)))
    assert build.status == BuildStatus.SUCCEEDED
    assert not [line for line in world.store.seen if line.startswith("PATCH") and world.app.repository in line]


def test_it_is_kept_and_collected_like_any_other(world):
    first = world.release(web=world.push("web", image_of(world.layers, Labels={"n": "1"})))
    for _ in range(25):
        releases.create_deploy(world.app, first.release.image, by=world.app.owner, description="Again")
    other = world.release(web=world.push("web", image_of(world.layers, Labels={"n": "2"})))
    assert not expired_images(world.app).filter(pk__in=[first.image_id, other.image_id]).exists()


def test_an_image_is_found_by_its_own_digest_and_behind_any_tag(world):
    older = image_of(world.layers, Labels={"n": "1"})
    newer = image_of(world.layers, Labels={"n": "2"})
    world.push("web", older, "v1")
    world.push("web", newer, "latest")
    assert world.release(web=older.config_descriptor.digest).release.image.digest == older.digest
    assert world.release(web=newer.digest).release.image.digest == newer.digest


def test_what_was_not_pushed_is_not_found(world):
    pushed = world.push("web", image_of(world.layers))
    for process, image_id in (("web", "sha256:" + "0" * 64), ("worker", pushed)):
        with pytest.raises(NotFound) as refused:
            services.start_image_build(world.app, {process: image_id}, by=world.app.owner)
        assert refused.value.id == "image_not_found"
    with pytest.raises(InvalidInput):
        services.start_image_build(world.app, {"web": "latest"}, by=world.app.owner)
    assert not world.app.builds.exists()


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"architecture": "s390x"}, "wrong_architecture"),
        ({"Cmd": None}, "no_command"),
    ],
)
def test_an_image_that_can_not_run_here_is_refused_in_words(world, config, error):
    build = world.release(web=world.push("web", image_of(world.layers, **config)))
    assert (build.status, build.error_id, build.release) == (BuildStatus.FAILED, error, None)
    assert build.hint
    assert wished_release(world.app) is None


def test_an_image_that_is_too_large_is_refused(world, monkeypatch):
    monkeypatch.setattr("paas.builds.images.LIMITS", BuildLimits(memory_bytes=1, deadline_seconds=1, max_image_bytes=1))
    assert world.release(web=world.push("web", image_of(world.layers))).error_id == "image_too_large"


def test_several_process_types_share_the_layers_and_differ_by_their_command(world):
    web = world.push("web", image_of(world.layers))
    worker = world.push("worker", image_of(world.layers, Cmd=["work", "--queue", "a b"]))
    release = world.push("release", image_of(world.layers, Cmd=["migrate"]))
    build = world.release(web=web, worker=worker, release=release)
    assert types(build) == {"web": "", "worker": "work --queue 'a b'"}
    assert build.release.release_command == "migrate"


def test_the_same_image_for_two_process_types_runs_its_own_command_in_both(world):
    image = image_of(world.layers)
    build = world.release(web=world.push("web", image), worker=world.push("worker", image))
    assert types(build) == {"web": "", "worker": ""}


@pytest.mark.parametrize("different", ["layers", "entry point"])
def test_images_that_differ_in_more_are_refused(world, different):
    with_entry_point: dict[str, Any] = {"Entrypoint": ["/entry"]} if different == "entry point" else {}
    web = image_of(world.layers, **with_entry_point)
    worker = image_of(world.layers[:1] if different == "layers" else world.layers, Cmd=["work"])
    build = world.release(web=world.push("web", web), worker=world.push("worker", worker))
    assert (build.status, build.error_id) == (BuildStatus.FAILED, "several_images")


def test_a_release_command_alone_is_refused(world):
    assert world.release(release=world.push("release", image_of(world.layers))).error_id == "no_process_types"


def test_one_after_the_other_works_while_the_layers_are_the_same(world):
    world.release(web=world.push("web", image_of(world.layers)))
    build = world.release(worker=world.push("worker", image_of(world.layers, Cmd=["work"])))
    assert types(build) == {"web": "serve --port 80", "worker": ""}
    refused = world.release(web=world.push("web", image_of(world.layers[:1])))
    assert (refused.status, refused.error_id) == (BuildStatus.FAILED, "several_images")
    assert "web worker" in refused.hint
    both = world.release(
        web=world.push("web", image_of(world.layers[:1])),
        worker=world.push("worker", image_of(world.layers[:1], Cmd=["w"])),
    )
    assert types(both) == {"web": "", "worker": "w"}


def test_a_process_type_can_be_removed(world):
    worker = world.push("worker", image_of(world.layers, Cmd=["work"]))
    world.release(web=world.push("web", image_of(world.layers)), worker=worker)
    release = releases.remove_process_type(world.app, "worker", by=world.app.owner)
    assert release is not None
    assert (release.process_types, release.description) == ({"web": ""}, "Remove worker")
    assert releases.remove_process_type(world.app, "worker", by=world.app.owner) is None
    assert releases.remove_process_type(world.app, "release", by=world.app.owner) is None


def test_who_asked_hears_what_was_wrong(world):
    good = services.start_image_build(world.app, {"web": world.push("web", image_of(world.layers))}, by=world.app.owner)
    services.wait_until_released(good, 0)  # it has not begun: no answer, and no complaint
    services.run_build(str(good.pk))
    services.wait_until_released(good, 5)
    assert good.release is not None
    bad = world.push("web", image_of(world.layers, Cmd=None))
    build = services.start_image_build(world.app, {"web": bad}, by=world.app.owner)
    services.run_build(str(build.pk))
    with pytest.raises(UserError) as refused:
        services.wait_until_released(build, 5)
    assert refused.value.id == "no_command"


def test_an_image_that_vanished_meanwhile_fails_the_build(world):
    build = services.start_image_build(world.app, {"web": world.push("web", image_of(world.layers))}, by=world.app.owner)
    world.store.manifests.clear()
    services.run_build(str(build.pk))
    build.refresh_from_db()
    assert (build.status, build.error_id) == (BuildStatus.FAILED, "image_not_found")
