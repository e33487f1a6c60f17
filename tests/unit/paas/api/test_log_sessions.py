"""Log sessions, and the addresses of output: what the streams process is told for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from paas.accounts.models import ApiToken
from paas.accounts.services import deactivate_user
from paas.apps.models import Role
from paas.apps.services import add_collaborator, remove_collaborator
from paas.builds.models import Build, BuildStatus
from paas.builds.output import output_path
from paas.core import redis
from tests.factories import make_app, make_release, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db


def grant(address: str) -> Any:
    """What the web process says of a stream: its grant, or the status."""
    answer = Client().get("/-/streams/" + address.partition("/streams/")[2])
    return answer.json() if answer.status_code == 200 else answer.status_code


def opened(client: ApiClient, **body: Any) -> str:
    response = client.post("/apps/hello/log-sessions", body)
    assert response.status_code == 201, response.data
    return str(response.data["logplex_url"])


def test_a_session_is_an_address_at_the_host_that_was_asked(api, alice):
    app = make_app(owner=alice)
    address = opened(api)
    assert address.startswith("http://testserver/streams/log-sessions/")
    assert grant(address) == {
        "kind": "session",
        "app": str(app.pk),
        "filter": {
            "sources": [], "process": "", "release": 0, "since": "", "until": "", "text": "", "is_pattern": False,
            "without": [],
        },
        "lines": 100,
        "tail": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"dyno": "web.1", "lines": 5, "tail": True}, {"process": "web.1"}),
        ({"dyno_name": "web", "lines": 5, "tail": True}, {"process": "web"}),
        ({"type": "web", "lines": 5, "tail": 1}, {"process": "web"}),
        ({"source": "app", "lines": 5, "tail": True}, {"sources": ["app"]}),
        ({"source": "heroku", "lines": 5, "tail": True}, {"sources": ["platform", "router"]}),
        ({"dyno": "router", "lines": 5, "tail": True}, {"sources": ["router"], "process": ""}),
    ],
)
def test_what_is_asked_for_is_what_is_read(api, alice, body, expected):
    make_app(owner=alice)
    found = grant(opened(api, **body))
    assert (found["lines"], found["tail"]) == (5, True)
    assert expected.items() <= found["filter"].items()


@pytest.mark.parametrize(("asked", "given"), [(-5, 0), (0, 0), (10**9, 1500)])
def test_there_are_only_so_many_lines(api, alice, asked, given):
    make_app(owner=alice)
    assert grant(opened(api, lines=asked))["lines"] == given


def test_a_dyno_that_can_not_be_is_refused(api, alice):
    make_app(owner=alice)
    response = api.post("/apps/hello/log-sessions", {"dyno": "../etc"})
    assert (response.status_code, response.data["code"]) == (422, "invalid_log_filter")


def test_a_viewer_reads_all_but_what_runs_say(alice):
    app, bob = make_app(owner=alice), make_user("bob")
    add_collaborator(app, bob, Role.VIEWER, by=alice)
    assert grant(opened(ApiClient(bob)))["filter"]["without"] == ["run"]


def test_an_address_that_nobody_was_given_leads_nowhere(api, alice):
    make_app(owner=alice)
    address = opened(api)
    assert grant(address[:-1] + ("0" if address[-1] != "0" else "1")) == 404
    redis.client().flushall()
    assert grant(address) == 404


def test_a_session_ends_with_the_access_of_its_person(alice):
    app, bob = make_app(owner=alice), make_user("bob")
    row = add_collaborator(app, bob, Role.VIEWER, by=alice)
    addresses = [opened(ApiClient(bob)) for _ in range(3)]
    remove_collaborator(row, by=alice)
    assert grant(addresses[0]) == 404
    add_collaborator(app, bob, Role.VIEWER, by=alice)
    assert grant(addresses[0])["kind"] == "session"
    ApiToken.objects.filter(user=bob).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert grant(addresses[1]) == 404
    ApiToken.objects.filter(user=bob).update(expires_at=None)
    deactivate_user(bob, by=make_user("root", is_admin=True))
    assert grant(addresses[2]) == 404


def test_a_session_lives_as_long_as_somebody_reads(api, alice):
    make_app(owner=alice)
    address = opened(api)
    (key,) = redis.client().keys("paas:log-session:*")
    redis.client().expire(key, 5)
    grant(address)
    assert redis.client().ttl(key) > 200


def test_the_secret_itself_is_not_kept(api, alice):
    make_app(owner=alice)
    secret = opened(api).rpartition("/")[2]
    assert not any(secret in key for key in redis.client().keys("*"))


# Output


def test_output_of_a_build_is_there_from_its_first_line_on():
    app = make_app()
    build = Build.objects.create(app=app, number=1)
    path = output_path(build)
    assert grant(path) == 404
    Build.objects.filter(pk=build.pk).update(status=BuildStatus.BUILDING)
    assert grant(path) == {"kind": "output", "file": str(build.pk), "app": str(app.pk), "outcome": None}
    Build.objects.filter(pk=build.pk).update(status=BuildStatus.FAILED)
    assert grant(path)["outcome"]["status"] == "failed"


def test_output_of_a_release_is_its_builds_where_it_has_one():
    app = make_app()
    release = make_release(app)
    assert grant(output_path(release))["file"] == str(release.pk)
    build = Build.objects.create(app=app, number=1, release=release, status=BuildStatus.BUILDING)
    assert grant(output_path(release))["file"] == str(build.pk)


def test_an_address_of_output_can_not_be_guessed_and_ends(monkeypatch: pytest.MonkeyPatch):
    path = output_path(make_release(make_app()))
    assert output_path(make_release(make_app("other"))) != path
    assert grant(path[:-1] + ("A" if path[-1] != "A" else "B")) == 404
    assert grant("/streams/output/releases.0.0.x") == 404
    at = path.split(".")[2]
    monkeypatch.setattr("paas.builds.output.time.time", lambda: float(at) + 1)
    assert grant(path) == 404


def test_an_address_of_output_stays_the_same_for_a_while():
    release = make_release(make_app())
    assert len({output_path(release) for _ in range(5)}) == 1
    assert settings.SECRET_KEY not in output_path(release)


def test_a_build_has_the_address_of_its_output(api, alice):
    app = make_app(owner=alice)
    build = Build.objects.create(app=app, number=1, status=BuildStatus.BUILDING, created_by=alice)
    address = api.get(f"/apps/hello/builds/{build.pk}").data["output_stream_url"]
    assert address == f"http://testserver{output_path(build)}"
    assert grant(address)["file"] == str(build.pk)
