"""Ports, limits, health checks, what runs, and settings of an app, over the API."""

from __future__ import annotations

import pytest

from paas.apps.models import Role
from paas.apps.services import add_collaborator
from paas.convergence.models import Instance
from paas.core.models import AuditEvent
from paas.releases.selectors import wished_release
from tests.factories import make_app, make_config, make_live, make_release, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(alice):
    app = make_app("shop", owner=alice)
    make_config(app, GREETING="hello")
    make_release(app, process_types={"web": "gunicorn app:app", "worker": "celery"})
    return app


def test_a_port_is_opened_led_elsewhere_and_closed_with_a_release_each_time(api, shop):
    made = api.post("/apps/shop/ports", {"port": 9000, "process": "worker"})
    assert made.status_code == 201
    port = made.data["public_port"]
    assert 20_000 <= port <= 20_199
    assert (made.data["address"], made.data["live"]) == (f"shop.apps.example:{port}", False)
    assert (made.data["release"]["version"], made.data["release"]["kind"]) == (3, "ports")
    assert [each["public_port"] for each in api.get("/apps/shop/ports").data] == [port]
    moved = api.patch(f"/apps/shop/ports/tcp/{port}", {"port": 9001}).data
    assert (moved["process"], moved["port"], moved["release"]["version"]) == ("worker", 9001, 4)
    assert api.patch(f"/apps/shop/ports/tcp/{port}", {"port": 9001}).data["release"] is None
    assert api.delete(f"/apps/shop/ports/tcp/{port}").data["release"]["version"] == 5
    assert api.get(f"/apps/shop/ports/tcp/{port}").status_code == 404
    assert api.get("/apps/shop/ports").data == []


@pytest.mark.parametrize(
    "body", [{"port": 0}, {"port": 70_000}, {"port": 9000, "protocol": "icmp"}, {"port": 9000, "process": "clock"}, {}]
)
def test_a_port_that_can_not_be_is_refused_in_words(api, shop, body):
    refused = api.post("/apps/shop/ports", body)
    assert (refused.status_code, refused.data["id"]) == (422, "invalid_params")
    assert wished_release(shop).version == 2


def test_limits_are_set_as_text_or_bytes_and_taken_back(api, shop):
    changed = api.patch("/apps/shop/limits/web", {"memory": "128M", "cpu_shares": 2048, "why": "It is small"}).data
    assert (changed["memory_bytes"], changed["cpu_shares"]) == (128 * 1024**2, 2048)
    assert changed["release"]["why"] == "It is small"
    assert api.patch("/apps/shop/limits/web", {"memory": 256 * 1024**2}).data["memory_bytes"] == 256 * 1024**2
    back = api.patch("/apps/shop/limits/web", {"memory": None}).data
    assert (back["memory_bytes"], back["cpu_shares"]) == (512 * 1024**2, 2048)
    assert [each["process"] for each in api.get("/apps/shop/limits").data] == ["web", "worker"]
    assert api.patch("/apps/shop/limits/web", {"memory": "tiny"}).data["code"] == "invalid_limit"
    assert api.patch("/apps/shop/limits/clock", {"memory": "1G"}).status_code == 404


def test_a_health_check_is_set_and_taken_back(api, shop):
    shown = {each["process"]: each for each in api.get("/apps/shop/health-checks").data}
    assert (shown["web"]["kind"], shown["web"]["source"]) == ("tcp", "default")
    put = api.put("/apps/shop/health-checks/web", {"kind": "http", "path": "/up", "start_seconds": 30}).data
    assert (put["kind"], put["path"], put["source"], put["words"]) == ("http", "/up", "people", "HTTP /up within 30 s")
    assert put["release"]["kind"] == "health"
    refused = api.put("/apps/shop/health-checks/web", {"kind": "http", "path": "up"})
    assert (refused.status_code, refused.data["code"]) == (422, "invalid_health_check")
    assert api.delete("/apps/shop/health-checks/web").data["source"] == "default"


def test_instances_and_the_state_say_what_runs(api, shop):
    Instance.objects.create(
        app=shop, process="web", index=1, state="crashed", reason="exited with 1", release_version=2, crashes=3
    )
    instance = api.get("/apps/shop/instances").data[0]
    assert (instance["name"], instance["crashes"], instance["command"]) == ("web.1", 3, "gunicorn app:app")
    state = api.get("/apps/shop/state").data
    assert (state["state"], state["reason"]) == ("down", "web.1 exited with 1")


def test_an_app_is_stopped_started_and_restarted(api, shop):
    stopped = api.post("/apps/shop/stop").data
    assert (stopped["changed"], stopped["stopped"]) == (True, True)
    assert stopped["generation"] > stopped["observed_generation"]
    assert not api.post("/apps/shop/stop").data["changed"]
    assert api.post("/apps/shop/restart").data["code"] == "app_stopped"
    assert api.post("/apps/shop/start").data["stopped"] is False
    assert api.post("/apps/shop/restart", {"target": "web"}).status_code == 200
    assert api.post("/apps/shop/restart", {"target": "clock"}).data["code"] == "unknown_process_type"


def test_the_branch_that_is_deployed_is_chosen(api, shop):
    assert api.get("/apps/shop/settings").data == {"deploy_branch": "main", "own_maintenance_page": False}
    assert api.patch("/apps/shop/settings", {"deploy_branch": "live"}).data["deploy_branch"] == "live"
    assert api.patch("/apps/shop/settings", {"deploy_branch": "a..b"}).data["code"] == "invalid_branch"


def test_a_maintenance_page_of_ones_own_is_kept_and_forgotten(api, shop):
    assert api.get("/apps/shop/maintenance-page").data == {"html": None}
    assert api.put("/apps/shop/maintenance-page", {"html": "<h1>Soon</h1>"}).data["html"] == "<h1>Soon</h1>"
    assert api.get("/apps/shop/settings").data["own_maintenance_page"]
    assert api.put("/apps/shop/maintenance-page", {"html": "soon"}).data["code"] == "invalid_page"
    assert api.delete("/apps/shop/maintenance-page").data == {"html": None}


def test_config_goes_out_and_in_as_env_text_with_a_preview(api, shop):
    shown = api.get("/apps/shop/config-text").data
    assert shown == {"text": "GREETING=hello\n", "version": 2}
    assert AuditEvent.objects.filter(action="config.export").count() == 1
    body = {"text": "COLOUR=blue\nCOLOUR=red\n", "replace": True}
    preview = api.post("/apps/shop/config-text/preview", body).data
    assert (preview["added"], preview["removed"], preview["version"]) == (["COLOUR"], ["GREETING"], 2)
    assert len(preview["notes"]) == 1
    made = api.put("/apps/shop/config-text", {**body, "seen": 2}).data
    assert made["release"]["config_names"] == ["COLOUR"]
    assert wished_release(shop).config == {"COLOUR": "red"}
    late = api.put("/apps/shop/config-text", {"text": "A=1", "seen": 2})
    assert (late.status_code, late.data["code"]) == (409, "config_changed")
    assert api.put("/apps/shop/config-text", {"text": "COLOUR=red"}).data["release"] is None
    bad = api.post("/apps/shop/config-text/preview", {"text": "what is this"})
    assert (bad.status_code, bad.data["code"]) == (422, "invalid_env_text")


def test_a_token_to_look_at_apps_reads_no_config(alice, shop):
    reader = ApiClient(alice, scopes=("read",))
    assert reader.get("/apps/shop/ports").status_code == 200
    assert reader.get("/apps/shop/config-text").status_code == 403
    assert reader.post("/apps/shop/stop").status_code == 403


def test_a_viewer_looks_and_changes_nothing(alice, shop):
    bob = make_user("bob")
    add_collaborator(shop, bob, Role.VIEWER, by=alice)
    viewer = ApiClient(bob)
    for path in (
        "ports",
        "limits",
        "health-checks",
        "instances",
        "state",
        "settings",
        "maintenance-page",
        "domain-checks",
    ):
        assert viewer.get(f"/apps/shop/{path}").status_code == 200, path
    make_live(wished_release(shop))
    for method, path, body in (
        ("GET", "config-text", None),
        ("POST", "config-text/preview", {"text": ""}),
        ("PUT", "config-text", {"text": "A=1"}),
        ("POST", "ports", {"port": 9000}),
        ("PATCH", "limits/web", {"memory": "1G"}),
        ("PUT", "health-checks/web", {"kind": "tcp"}),
        ("DELETE", "health-checks/web", None),
        ("POST", "stop", None),
        ("POST", "restart", None),
        ("PATCH", "settings", {"deploy_branch": "x"}),
        ("PUT", "maintenance-page", {"html": "<p>"}),
    ):
        assert viewer.request(method, f"/apps/shop/{path}", body).status_code == 403, path
    assert wished_release(shop).version == 2
