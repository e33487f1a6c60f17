"""Builds, runs, logs and metrics of an app over the API."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.conf import settings

from paas.apps.models import Role
from paas.apps.services import add_collaborator
from paas.builds.log import log_path
from paas.builds.models import Build
from paas.runs.services import start_run
from runtime.logs.record import Line, Source
from runtime.logs.store import LogStore
from tests.factories import make_app, make_release, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(alice):
    app = make_app("shop", owner=alice)
    make_release(app)
    return app


def make_build(app, number: int, **fields) -> Build:
    values = {"ref": "refs/heads/main", "old": "0" * 40, "new": f"{number:040x}", "created_by": app.owner}
    return Build.objects.create(app=app, number=number, **(values | fields))


def test_a_build_says_why_it_failed(api, shop):
    make_build(shop, 1, status="succeeded", release=shop.releases.get(), seconds={"built": 3.5})
    make_build(
        shop, 2, status="failed", error_id="no_buildpack", reason="No buildpack recognised this app.", hint="Add one."
    )
    assert [each["number"] for each in api.get("/apps/shop/build-details").data] == [1, 2]
    newest = api.get("/apps/shop/build-details/~").data
    assert (newest["number"], newest["error_id"], newest["hint"]) == (2, "no_buildpack", "Add one.")
    first = api.get("/apps/shop/build-details/1").data
    assert (first["release"], first["seconds"], first["by"]) == (1, {"built": 3.5}, "alice@example.com")
    for number in ("7", "x", "-1", "99999999999"):
        assert api.get(f"/apps/shop/build-details/{number}").status_code == 404, number


def test_the_output_of_a_build_is_read_in_parts_of_whole_lines(api, shop):
    build = make_build(shop, 1, status="building")
    path = log_path(build.pk)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("-----> Python app\n       Using Python 3.13\n       half a li")
    first = api.get("/apps/shop/build-details/1/output").data
    assert first == {"lines": ["-----> Python app", "       Using Python 3.13"], "cursor": 2, "ended": False}
    path.write_text("-----> Python app\n       Using Python 3.13\n       half a line\n")
    Build.objects.update(status="succeeded")
    rest = api.get("/apps/shop/build-details/1/output?after=2").data
    assert rest == {"lines": ["       half a line"], "cursor": 3, "ended": True}
    assert api.get("/apps/shop/build-details/1/output?after=x").status_code == 422


def test_a_waiting_build_is_cancelled_and_one_that_is_over_is_not(api, shop):
    make_build(shop, 1)
    assert api.post("/apps/shop/build-details/1/cancel").data["status"] == "cancelled"
    again = api.post("/apps/shop/build-details/1/cancel")
    assert (again.status_code, again.data["code"]) == (409, "build_finished")


def test_a_run_is_looked_at_and_stopped(api, shop, alice):
    start_run(shop, "python manage.py migrate", by=alice)
    shown = api.get("/apps/shop/runs").data[0]
    assert (shown["number"], shown["command"], shown["status"]) == (1, "python manage.py migrate", "pending")
    assert api.get("/apps/shop/runs/run.1").data == shown
    assert api.post("/apps/shop/runs/1/stop").data["status"] == "stopped"
    assert api.post("/apps/shop/runs/1/stop").data["code"] == "run_finished"
    assert api.get("/apps/shop/runs/x").status_code == 404


@pytest.fixture
def said(shop):
    def say(name: str, text: str) -> None:
        line = Line(datetime.now(tz=UTC), Source.APP, name, text, release=1)
        LogStore(settings.ENV.app_logs).append(str(shop.pk), [line])

    return say


def test_lines_of_the_log_are_found_by_filter_and_followed_by_cursor(api, said):
    said("web.1", "Listening on 8080")
    said("worker.1", "Ready")
    said("web.1", "GET /shoes")
    found = api.get("/apps/shop/log-lines?process=web&text=listening").data
    assert [(each["label"], each["text"]) for each in found["lines"]] == [("app[web.1]", "Listening on 8080")]
    newest = api.get("/apps/shop/log-lines?num=1").data
    assert [each["text"] for each in newest["lines"]] == ["GET /shoes"]
    said("web.1", "GET /hats")
    later = api.get(f"/apps/shop/log-lines?after={newest['cursor']}").data
    assert [each["text"] for each in later["lines"]] == ["GET /hats"]
    assert api.get(f"/apps/shop/log-lines?after={later['cursor']}").data["lines"] == []


@pytest.mark.parametrize(
    "query", ["num=-1", "num=5000", "after=x", "release=x", "source=x", "since=soon", "text=(&regex=true"]
)
def test_a_filter_that_makes_no_sense_is_refused_in_words(api, said, query):
    said("web.1", "Listening on 8080")
    refused = api.get(f"/apps/shop/log-lines?{query}")
    assert (refused.status_code, refused.data["id"]) == (422, "invalid_params")


def test_a_viewer_does_not_read_what_commands_run_by_hand_print(shop, alice, said):
    said("run.1", "SECRET=1")
    bob = make_user("bob")
    add_collaborator(shop, bob, Role.VIEWER, by=alice)
    viewer = ApiClient(bob)
    assert viewer.get("/apps/shop/log-lines").data["lines"] == []
    assert viewer.get("/apps/shop/runs").status_code == 403
    assert ApiClient(alice).get("/apps/shop/log-lines").data["lines"][0]["text"] == "SECRET=1"


def test_metrics_have_a_value_for_each_moment(api, shop):
    found = api.get("/apps/shop/metrics?window=24h").data
    assert found["window"] == "24h"
    assert len(found["requests"]["ok"] if "ok" in found["requests"] else found["received"]) == len(found["times"])
    assert api.get("/apps/shop/metrics").data["window"] == "1h"
    refused = api.get("/apps/shop/metrics?window=2h")
    assert (refused.status_code, refused.data["code"]) == (422, "unknown_window")
