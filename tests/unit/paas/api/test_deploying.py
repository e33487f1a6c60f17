"""Archives over the API: uploaded, built, looked at, stopped; and which buildpacks they are built with."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client

from paas.accounts.models import Scope
from paas.apps.models import App, Role
from paas.apps.services import add_collaborator
from paas.builds.log import BuildLog
from paas.builds.models import Build, SourceBlob
from paas.core import redis
from paas.core.models import AuditEvent
from tests.factories import make_app, make_image, make_release, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db
ANYWHERE = "https://code.example/a.tar.gz?signature=secret"


@pytest.fixture
def app(alice) -> App:
    return make_app(owner=alice)


def upload(api: ApiClient, content: bytes = b"archive") -> str:
    """Where it can be fetched from."""
    addresses = api.post("/sources").data["source_blob"]
    assert bare("PUT", addresses["put_url"], content).status_code == 200
    return str(addresses["get_url"])


def bare(method: str, url: str, content: bytes = b"") -> Any:
    """As curl would: no token, no Accept."""
    parts = urlsplit(url)
    return Client(raise_request_exception=False).generic(
        method, f"{parts.path}?{parts.query}", content, content_type="", headers={"X-Paas-Door": "api"}
    )


def build(api: ApiClient, **source: object):
    return api.post("/apps/hello/builds", {"source_blob": {"url": ANYWHERE} | source})


def test_what_is_uploaded_is_there_byte_for_byte(api):
    content = bytes(range(256)) * 3000
    url = upload(api, content)
    answer = bare("GET", url)
    assert b"".join(answer.streaming_content) == content
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert SourceBlob.objects.get().size_bytes == len(content)


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_an_upload_takes_the_right_secret_and_method(api, method):
    addresses = api.post("/sources").data["source_blob"]
    for url in (addresses["get_url"] + "x", addresses["put_url"] + "x", addresses["get_url"].partition("?")[0]):
        assert bare(method, url, b"x").status_code == 404
    assert bare("PUT", addresses["get_url"].replace("?get=", "?put="), b"x").status_code == 404
    assert bare("GET", addresses["put_url"].replace("?put=", "?get=")).status_code == 404


def test_an_upload_never_passes_through_memory(api, monkeypatch):
    """Django keeps a body that somebody asks for as a whole; nobody does, so that one of 250 MB takes 256 kB."""
    from paas.builds import sources

    largest = 0
    real = sources._copy

    def watched(read, out, length):
        def counted(size):
            nonlocal largest
            largest = max(largest, size)
            return read(size)

        real(counted, out, length)

    monkeypatch.setattr(sources, "_copy", watched)
    upload(api, bytes(3_000_000))  # more than a JSON body may have
    assert 0 < largest <= 256 * 1024


def test_an_archive_is_built_with_all_that_was_said_about_it(api, app, sent_tasks):
    checksum = f"SHA256:{'0' * 64}"
    response = api.post(
        "/apps/hello/builds",
        {
            "source_blob": {
                "url": upload(api), "version": "v1.2.3", "version_description": "Faster search", "checksum": checksum,
            },
            "buildpacks": [{"url": "https://github.com/heroku/heroku-buildpack-python"}],
        },
    )  # fmt: skip
    assert response.status_code == 201
    row = Build.objects.get()
    assert (row.new, row.commit_subject, row.checksum, row.source_blob) == (
        "v1.2.3", "Faster search", checksum, SourceBlob.objects.get(),
    )  # fmt: skip
    assert response.data["status"] == "pending"
    assert response.data["user"]["email"] == "alice@example.com"
    assert response.data["source_blob"]["version"] == "v1.2.3"
    assert response.data["source_blob"]["url"] == f"http://testserver/sources/{row.source_blob_id}"
    assert response.data["buildpacks"] == [{"name": "heroku/python", "url": "urn:buildpack:heroku/python"}]
    assert (response.data["release"], response.data["slug"]) == (None, None)
    assert ("builds.run_build", (str(row.pk),)) in sent_tasks
    event = AuditEvent.objects.get(action="build.create")
    assert (event.door, event.request_id) == ("api", response.headers["Request-Id"])


def test_a_signature_in_an_address_is_not_given_away(api, app):
    response = build(api)
    assert response.data["source_blob"]["url"] == "https://code.example/a.tar.gz"
    assert "secret" not in api.get("/apps/hello/builds").content.decode()
    assert Build.objects.get().source_url == ANYWHERE


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ({"url": "file:///etc/passwd"}, "invalid_source"),
        ({"url": ""}, "invalid_source"),
        ({"url": ANYWHERE, "checksum": "md5:123"}, "invalid_checksum"),
    ],
)
def test_a_source_that_can_not_be_one_is_refused_at_once(api, app, source, code):
    response = build(api, **source)
    assert (response.status_code, response.data["code"]) == (422, code)
    assert not Build.objects.exists()


def test_an_upload_that_never_came_is_no_source(api, app):
    url = api.post("/apps/hello/sources").data["source_blob"]["get_url"]
    response = build(api, url=url)
    assert (response.status_code, response.data["code"]) == (422, "source_not_uploaded")


@pytest.mark.parametrize("body", [{}, {"source_blob": {}}, {"source_blob": None}, {"source_blob": {"url": 1}}])
def test_a_build_needs_a_source(api, app, body):
    assert api.post("/apps/hello/builds", body).status_code == 422


@pytest.mark.parametrize("buildpack", [{}, {"url": "heroku/cobol"}, {"name": ""}])
def test_a_build_with_buildpacks_that_are_not_here_is_refused(api, app, buildpack):
    body = {"source_blob": {"url": ANYWHERE}, "buildpacks": [buildpack]}
    assert api.post("/apps/hello/builds", body).status_code == 422


def test_builds_are_listed_and_found_by_id_and_number(api, app):
    first, second = build(api).data, build(api).data
    assert [each["id"] for each in api.get("/apps/hello/builds").data] == [first["id"], second["id"]]
    newest = api.get("/apps/hello/builds", headers={"Range": "number ..; order=desc,max=1"})
    assert (newest.status_code, newest.data[0]["id"]) == (206, second["id"])
    assert api.get(f"/apps/hello/builds/{first['id']}", variant="sdk").data["status"] == "failed"  # superseded
    assert api.get("/apps/hello/builds/2").data["id"] == second["id"]
    for unknown in ("3", "no-such", str(app.pk)):
        missing = api.get(f"/apps/hello/builds/{unknown}")
        assert (missing.status_code, missing.data["resource"]) == (404, "build")


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("pending", "pending"), ("building", "pending"), ("succeeded", "succeeded"), ("failed", "failed"),
        ("cancelled", "failed"), ("superseded", "failed"),
    ],
)  # fmt: skip
def test_a_build_is_pending_succeeded_or_failed(api, app, status, shown):
    build(api)
    Build.objects.update(status=status)
    assert api.get("/apps/hello/builds/1").data["status"] == shown


def test_a_build_that_succeeded_names_its_release_and_its_slug(api, app):
    build(api)
    release = make_release(app)
    Build.objects.update(status="succeeded", release=release, image=release.image)
    answer = api.get("/apps/hello/builds/1").data
    assert (answer["release"]["id"], answer["slug"]["id"]) == (str(release.pk), str(release.image.pk))
    assert answer["buildpacks"] == [{"name": "heroku/python", "url": "urn:buildpack:heroku/python"}]


def test_the_result_has_the_lines_and_an_exit_code_once_it_is_over(api, app):
    build(api)
    row = Build.objects.get()
    out = BuildLog(row.pk)
    out.write("-----> Python app detected")
    out.close()
    result = api.get("/apps/hello/builds/1/result").data
    assert result["lines"] == [{"line": "-----> Python app detected\n", "stream": "STDOUT"}]
    assert (result["exit_code"], result["build"]["id"]) == (None, str(row.pk))
    Build.objects.update(status="failed")
    assert api.get("/apps/hello/builds/1/result").data["exit_code"] == 1


def test_a_build_is_cancelled_once(api, app):
    build(api)
    response = api.delete("/apps/hello/builds/1")
    assert (response.status_code, response.data["status"]) == (200, "failed")
    assert Build.objects.get().status == "cancelled"
    again = api.delete("/apps/hello/builds/1")
    assert (again.status_code, again.data["code"]) == (409, "build_finished")


def test_a_running_build_is_told_to_stop(api, app):
    build(api)
    Build.objects.update(status="building")
    assert api.delete("/apps/hello/builds/1").data["status"] == "pending"
    assert Build.objects.get().cancel_requested_at is not None
    assert redis.client().exists(f"paas:signal:cancel:{Build.objects.get().pk}")


def test_the_cache_of_an_app_is_cleared(api, app):
    response = api.delete("/apps/hello/build-cache")
    assert (response.status_code, response.data) == (200, {})
    app.refresh_from_db()
    assert app.cache_cleared_at is not None
    assert AuditEvent.objects.get(action="app.cache_clear").door == "api"


@pytest.mark.parametrize(
    ("role", "reads", "stops", "deploys"),
    [
        (None, 404, 404, 404),
        (Role.VIEWER, 200, 403, 403),
        (Role.OPERATOR, 200, 200, 403),
        (Role.DEVELOPER, 200, 200, 201),
    ],
)
def test_who_may_look_stop_and_deploy(api, app, role, reads, stops, deploys):
    build(api)
    bob = make_user("bob")
    if role is not None:
        add_collaborator(app, bob, role, by=app.owner)
    other = ApiClient(bob)
    for path in ("builds", "builds/1", "builds/1/result", "buildpack-installations"):
        assert other.get(f"/apps/hello/{path}").status_code == reads
    assert other.post("/apps/hello/sources").status_code == deploys
    assert build(other).status_code == deploys
    wanted = {"updates": [{"buildpack": "heroku/python"}]}
    assert other.put("/apps/hello/buildpack-installations", wanted).status_code == {201: 200}.get(deploys, deploys)
    assert other.delete("/apps/hello/build-cache").status_code == {201: 200}.get(deploys, deploys)
    assert other.delete(f"/apps/hello/builds/{Build.objects.count()}").status_code == stops


def test_a_token_to_read_with_deploys_nothing(api, app):
    reader = ApiClient(app.owner, scopes=(Scope.READ,))
    assert reader.get("/apps/hello/builds").status_code == 200
    assert reader.post("/sources").status_code == 403
    assert build(reader).status_code == 403


def test_a_token_of_the_app_can_deploy_it(api, app):
    for_ci = ApiClient(app.owner, scopes=(Scope.WRITE,), app=app)
    url = for_ci.post("/apps/hello/sources").data["source_blob"]["put_url"]
    assert bare("PUT", url, b"archive").status_code == 200
    assert build(for_ci, url=url.replace("?put=", "?get=")).status_code == 404  # the secrets differ
    assert build(for_ci).status_code == 201


def test_buildpacks_are_set_listed_and_cleared(api, app):
    assert api.get("/apps/hello/buildpack-installations").data == []
    wanted = {"updates": [{"buildpack": "heroku/nodejs"}, {"buildpack": "urn:buildpack:heroku/python"}]}
    response = api.put("/apps/hello/buildpack-installations", wanted, headers={"Range": ""})
    assert response.status_code == 200
    assert response.data == [
        {"ordinal": 0, "buildpack": {"name": "heroku/nodejs", "url": "urn:buildpack:heroku/nodejs"}},
        {"ordinal": 1, "buildpack": {"name": "heroku/python", "url": "urn:buildpack:heroku/python"}},
    ]
    assert api.get("/apps/hello/buildpack-installations").data == response.data
    refused = api.put("/apps/hello/buildpack-installations", {"updates": [{"buildpack": "heroku/cobol"}]})
    assert (refused.status_code, refused.data["code"]) == (422, "unknown_buildpack")
    assert api.put("/apps/hello/buildpack-installations", {"updates": []}).data == []


def test_the_address_of_a_buildpack_is_given_back_as_it_came(api, app):
    address = "https://github.com/heroku/heroku-buildpack-python.git#v1"
    answer = api.put("/apps/hello/buildpack-installations", {"updates": [{"buildpack": address}]}).data
    assert answer[0]["buildpack"] == {"name": "heroku/python", "url": address}


def test_a_slug_is_an_image(api, app):
    image = make_image(app, {"web": "serve"}, release_command="./migrate")
    answer = api.get(f"/apps/hello/slugs/{image.pk}").data
    assert answer["process_types"] == {"web": "serve", "release": "./migrate"}
    assert (answer["commit"], answer["size"], answer["deleted_at"]) == (image.commit, 48_000_000, None)
    assert answer["checksum"] == image.digest.replace("sha256", "SHA256")
    other = make_image(make_app("other", owner=app.owner))
    for unknown in (other.pk, "no-such"):
        missing = api.get(f"/apps/hello/slugs/{unknown}")
        assert (missing.status_code, missing.data["resource"]) == (404, "slug")


def test_a_slug_that_was_made_elsewhere_is_refused_with_the_way_to_go(api, app):
    response = api.post("/apps/hello/slugs", {"process_types": {"web": "./serve"}})
    assert (response.status_code, response.data["code"]) == (422, "slugs_not_accepted")
    assert "POST /sources" in response.data["message"]
