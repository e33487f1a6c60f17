"""Process types and dynos over the API."""

from __future__ import annotations

import pytest

from paas.convergence.models import Instance, InstanceState
from paas.formation.services import set_limits
from paas.runs.services import start_run
from tests.factories import make_app, make_live, make_release

pytestmark = pytest.mark.django_db
MIB = 1024**2


@pytest.fixture(autouse=True)
def _large_machine(monkeypatch):
    monkeypatch.setattr("paas.formation.services.machine_memory", lambda: 16 * 1024 * MIB)


@pytest.fixture
def app(alice):
    app = make_app(owner=alice)
    make_release(app, process_types={"web": "gunicorn app:app", "worker": "python work.py"})
    return app


def quantities(response) -> dict[str, int]:
    return {each["type"]: each["quantity"] for each in response.data}


def test_the_whole_formation_is_answered(api, app):
    response = api.get("/apps/hello/formation")
    assert quantities(response) == {"web": 1, "worker": 1}
    web = response.data[0]
    assert (web["size"], web["command"]) == ("Standard-1X", "gunicorn app:app")
    assert api.get(f"/apps/hello/formation/{web['id']}").data == web
    assert api.get("/apps/hello/formation/nothing").data["resource"] == "formation"


@pytest.mark.parametrize(("quantity", "web"), [("3", 3), (3, 3), ("+2", 3), ("-1", 0)])
def test_quantities_are_numbers_and_steps(api, app, quantity, web):
    response = api.patch("/apps/hello/formation", {"updates": [{"type": "web", "quantity": quantity}]})
    assert response.status_code == 200
    assert quantities(response) == {"web": web, "worker": 1}


def test_several_are_scaled_at_once_or_none(api, app):
    up = [{"type": "web", "quantity": "2"}, {"type": "worker", "quantity": "99"}]
    refused = api.patch("/apps/hello/formation", {"updates": up})
    assert (refused.status_code, refused.data["code"]) == (422, "invalid_quantity")
    assert quantities(api.get("/apps/hello/formation")) == {"web": 1, "worker": 1}
    up[1]["quantity"] = "0"
    assert quantities(api.patch("/apps/hello/formation", {"updates": up})) == {"web": 2, "worker": 0}


def test_a_size_is_a_limit_of_memory_and_processor(api, app):
    response = api.patch(
        "/apps/hello/formation",
        {"updates": [{"type": "web", "size": "standard-2x"}, {"type": "worker", "dyno_size": {"name": "PERFORMANCE-M"}}]},
    )
    assert [each["size"] for each in response.data] == ["Standard-2X", "Performance-M"]
    newest = app.releases.first()
    assert newest.version == 2
    assert newest.limits["web"] == {"memory_bytes": 1024 * MIB, "cpu_shares": 2048}


def test_limits_of_ones_own_are_a_size_without_a_name_and_stay(api, app, alice):
    make_live(set_limits(app, {"web": {"memory_bytes": 300 * MIB}}, by=alice))
    assert api.get("/apps/hello/formation/web").data["size"] == "Custom"
    again = api.patch("/apps/hello/formation/web", {"size": "Custom", "quantity": 2})
    assert (again.data["size"], again.data["quantity"]) == ("Custom", 2)
    assert app.releases.count() == 2


@pytest.mark.parametrize(
    ("update", "code"),
    [
        ({"type": "nothing", "quantity": 1}, "unknown_process_type"),
        ({"type": "web", "quantity": "many"}, "invalid_quantity"),
        ({"type": "web", "quantity": "-5"}, "invalid_quantity"),
        ({"type": "web", "size": "huge"}, "unknown_size"),
        ({"type": "web", "size": "Performance-L-RAM"}, "more_than_the_machine"),
    ],
)
def test_what_a_formation_can_not_be(api, app, update, code):
    response = api.patch("/apps/hello/formation", {"updates": [update]})
    assert (response.status_code, response.data["code"]) == (422, code)


@pytest.fixture
def instances(app):
    return [
        Instance.objects.create(app=app, process=process, index=1, release_version=1, state=InstanceState.UP)
        for process in ("web", "worker")
    ]


def test_dynos_are_instances_and_runs(api, app, alice, instances):
    run = start_run(app, "python manage.py migrate", by=alice)
    dynos = api.get("/apps/hello/dynos").data
    assert [(each["name"], each["type"], each["state"]) for each in dynos] == [
        ("run.1", "run", "starting"),
        ("web.1", "web", "up"),
        ("worker.1", "worker", "up"),
    ]
    assert dynos[1]["release"]["version"] == 1
    assert api.get("/apps/hello/dynos/web.1").data == dynos[1]
    assert api.get(f"/apps/hello/dynos/{run.pk}").data == dynos[0]
    assert api.get("/apps/hello/dynos/web.2").data["resource"] == "dyno"


def test_restarts_of_all_of_a_type_and_of_one(api, app, instances):
    for path in ("dynos", "formations/web", "dynos/web.1"):
        response = api.delete(f"/apps/hello/{path}")
        assert (response.status_code, response.data) == (202, {})
    app.refresh_from_db()
    assert app.restart_epoch == 1
    assert dict(app.restarts.values_list("target", "epoch")) == {"web": 2, "web.1": 3}


def test_stopping_a_run_ends_it_and_stopping_an_instance_replaces_it(api, app, alice, instances):
    run = start_run(app, "sleep 100", by=alice)
    assert api.post("/apps/hello/dynos/run.1/actions/stop").status_code == 202
    run.refresh_from_db()
    assert run.stop_requested_at is not None
    assert api.post("/apps/hello/dynos/web.1/actions/stop").status_code == 202
    assert api.post("/apps/hello/formations/worker/actions/stop").status_code == 202
    assert set(app.restarts.values_list("target", flat=True)) == {"web.1", "worker"}


def test_restarting_what_is_not_there(api, app):
    assert api.delete("/apps/hello/dynos/web.9").data["resource"] == "dyno"
    assert api.delete("/apps/hello/formations/nothing").data["resource"] == "formation"
