"""What happened is written down where it happens, and never with a secret in it."""

from __future__ import annotations

import json

import pytest
from django.db import transaction

from paas.apps.services import destroy_app, set_maintenance, transfer_app
from paas.core.models import Event
from paas.formation.services import scale
from paas.releases.services import fail_release, roll_back
from paas.routing.services import add_domain, add_port, change_port, remove_domain, remove_port
from runtime.errors import BootFailed
from runtime.router.api import PortProtocol
from tests.factories import make_app, make_config, make_live, make_release, make_user

pytestmark = pytest.mark.django_db


def told(app, include=""):
    events = Event.objects.filter(app_id=app.pk)
    return [(each.include, each.action) for each in (events.filter(include=include) if include else events)]


def last(app, include):
    return Event.objects.filter(app_id=app.pk, include=include).last()


def test_the_life_of_an_app_is_told():
    owner, other = make_user("alice"), make_user("bob", is_admin=True)
    app = make_app(owner=owner)
    set_maintenance(app, True, by=owner)
    set_maintenance(app, True, by=owner)
    assert last(app, "api:app").data["maintenance"] is True
    assert last(app, "api:app").previous == {"maintenance": False}
    transfer_app(app, other, by=other)
    assert last(app, "api:app").data["owner"]["email"] == other.email
    destroy_app(app, by=owner)
    assert told(app) == [("api:app", "create"), ("api:app", "update"), ("api:app", "update"), ("api:app", "destroy")]
    assert last(app, "api:app").actor_email == owner.email


def test_a_release_is_told_when_it_is_made_and_when_it_has_ended():
    app = make_app()
    release = make_release(app, live=False)
    assert last(app, "api:release").data["status"] == "pending"
    make_live(release)
    event = last(app, "api:release")
    assert (event.action, event.data["status"], event.previous["status"]) == ("update", "succeeded", "pending")
    assert event.data["version"] == 1
    assert event.data["app"] == {"id": str(app.pk), "name": app.name}
    failed = make_release(app, live=False)
    fail_release(failed, BootFailed("It does not come up."))
    assert last(app, "api:release").data["status"] == "failed"


def test_a_release_that_another_overtakes_is_told_as_expired():
    app = make_app()
    make_release(app, live=False)
    make_release(app, live=False)
    assert [(each.data["version"], each.data["status"]) for each in Event.objects.filter(include="api:release")] == [
        (1, "pending"),
        (1, "expired"),
        (2, "pending"),
    ]


def test_a_rollback_is_told_as_a_release():
    app = make_app()
    first = make_release(app)
    make_release(app)
    roll_back(app, first, by=app.owner)
    assert last(app, "api:release").data["description"] == "Rollback to v1"


def test_a_change_of_config_is_told_by_names_alone():
    app = make_app()
    make_release(app)
    make_config(app, API_KEY="sesame-1", OTHER="sesame-2")
    make_config(app, API_KEY=None, OTHER="sesame-3")
    event = last(app, "api:config-vars")
    assert (event.data["set"], event.data["unset"]) == (["OTHER"], ["API_KEY"])
    assert "sesame" not in json.dumps(list(Event.objects.values("data", "previous")))


def test_scale_domains_and_ports_are_told():
    app = make_app()
    make_release(app)
    scale(app, {"web": 3}, by=app.owner)
    assert last(app, "api:formation").data["quantity"] == 3
    assert last(app, "api:formation").previous == {"quantity": 1}
    add_domain(app, "shop.example.com", by=app.owner)
    remove_domain(app, "shop.example.com", by=app.owner)
    assert told(app, "api:domain") == [("api:domain", "create"), ("api:domain", "destroy")]
    add_port(app, port=9000, public_port=20_001, by=app.owner)
    change_port(app, PortProtocol.TCP, 20_001, process="web", port=9001, by=app.owner)
    remove_port(app, PortProtocol.TCP, 20_001, by=app.owner)
    assert told(app, "api:port-binding") == [(("api:port-binding"), each) for each in ("create", "update", "destroy")]


def test_what_is_taken_back_is_not_told():
    app = make_app()
    make_release(app)
    before = Event.objects.count()
    with transaction.atomic():
        scale(app, {"web": 3}, by=app.owner)
        transaction.set_rollback(True)
    assert Event.objects.count() == before


def test_whoever_listens_is_woken_after_the_commit(sent_tasks, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as callbacks:
        make_app()
    assert sent_tasks == []
    for callback in callbacks:
        callback()
    assert ("hooks.take_events", ()) in sent_tasks
