"""One-off runs over the API: attached, and in the background."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.conf import settings

from paas import wiring
from paas.apps.models import Role
from paas.apps.services import add_collaborator
from paas.core.models import AuditEvent
from paas.runs.models import RunStatus
from paas.runs.rendezvous import claim_terminal
from tests.factories import make_app, make_image, make_live, make_release, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def app(alice):
    app = make_app(owner=alice)
    make_live(make_release(app, image=make_image(app, {"web": "gunicorn app:app", "worker": "work"})))
    return app


def test_a_run_in_the_background_is_a_dyno(api, app, sent_tasks, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        response = api.post("/apps/hello/dynos", {"command": "rake db:migrate", "attach": False, "env": {"A": "b"}})
    assert response.status_code == 201
    run = app.runs.get()
    assert (
        response.data.items()
        >= {
            "id": str(run.pk),
            "name": "run.1",
            "type": "run",
            "state": "starting",
            "command": "rake db:migrate",
            "attach_url": None,
            "size": "Standard-1X",
        }.items()
    )
    assert (run.is_attached, run.environment) == (False, {"A": "b"})
    assert ("runs.begin", (str(run.pk),)) in sent_tasks
    assert AuditEvent.objects.get(action="run.create").door == "api"
    assert api.get("/apps/hello/dynos/run.1").data == response.data


def test_an_attached_run_waits_for_its_client_at_the_host_that_was_asked(api, app, sent_tasks):
    body = {"command": "bash", "attach": True, "env": {"TERM": "xterm", "COLUMNS": 132, "LINES": 40}}
    response = api.post("/apps/hello/dynos", body, variant="sdk")
    assert response.status_code == 201
    address = response.data["attach_url"]
    port = settings.ENV.rendezvous_port
    assert address.startswith(f"rendezvous://testserver:{port}/")
    run = claim_terminal(address.rpartition("/")[2])
    assert run == app.runs.get()
    assert (run.is_attached, run.has_terminal, run.status) == (True, True, RunStatus.PENDING)
    assert run.environment == {"TERM": "xterm", "COLUMNS": "132", "LINES": "40"}
    assert sent_tasks == []


def test_a_client_may_ask_for_pipes(api, app):
    api.post("/apps/hello/dynos", {"command": "cat", "attach": True, "force_no_tty": True})
    assert not app.runs.get().has_terminal


def test_size_type_and_deadline_may_be_chosen(api, app):
    with wiring.replaced(machine_memory=64 * 1024**3):
        body = {"command": "work", "size": "performance-m", "type": "worker", "time_to_live": 1800}
        response = api.post("/apps/hello/dynos", body)
    assert response.status_code == 201, response.data
    run = app.runs.get()
    assert (run.process, run.timeout_seconds) == ("worker", 1800)
    assert response.data["size"] == "Performance-M"
    assert api.post("/apps/hello/dynos", {"command": "work", "type": "run"}).data["size"] == "Standard-1X"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_params"),
        ({"command": ""}, "invalid_command"),
        ({"command": "ls", "size": "huge"}, "unknown_size"),
        ({"command": "ls", "type": "nosuch"}, "unknown_process_type"),
        ({"command": "ls", "time_to_live": 0}, "invalid_time_to_live"),
        ({"command": "ls", "env": {"1": "x"}}, "invalid_environment"),
        ({"command": "ls", "env": ["x"]}, "invalid_params"),
    ],
)
def test_what_can_not_be_run_is_refused(api, app, body, code):
    response = api.post("/apps/hello/dynos", body)
    assert response.status_code == 422
    assert response.data["code"] == code
    assert not app.runs.exists()


def test_a_command_takes_a_developer(app, alice):
    bob = make_user("bob")
    add_collaborator(app, bob, Role.OPERATOR, by=alice)
    assert ApiClient(bob).post("/apps/hello/dynos", {"command": "ls"}).status_code == 403
    assert ApiClient(make_user("charlie")).post("/apps/hello/dynos", {"command": "ls"}).status_code == 404
    assert ApiClient(alice, scopes=("read",)).post("/apps/hello/dynos", {"command": "ls"}).status_code == 403


def test_where_terminals_are_switched_off_that_is_said(api, app, settings):
    settings.ENV = replace(settings.ENV, rendezvous_port=0)
    response = api.post("/apps/hello/dynos", {"command": "bash", "attach": True})
    assert (response.status_code, response.data["code"]) == (409, "no_terminals")
    assert not app.runs.exists()
