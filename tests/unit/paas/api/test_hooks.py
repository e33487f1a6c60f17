"""Webhooks, drains and notifications over the API."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from paas import wiring
from paas.apps.models import Role
from paas.apps.services import add_collaborator
from paas.core.models import AuditEvent
from paas.formation.services import scale
from paas.hooks.models import Delivery, Drain, Webhook
from paas.hooks.services.delivering import deliver
from paas.hooks.services.events import take_events
from runtime.outbound.api import NotReached
from runtime.outbound.memory import MemoryOutbound
from tests.factories import make_app, make_release, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.com/paas"
NEW = {"url": URL, "include": ["api:formation"], "level": "sync"}
DRAIN = "https://user:pw@logs.example.com/x?y=z"


@pytest.fixture
def outbound():
    made = MemoryOutbound()
    with wiring.replaced(outbound=made):
        yield made


@pytest.fixture
def app(alice):
    app = make_app(owner=alice)
    make_release(app)
    return app


@pytest.fixture
def operator(app):
    add_collaborator(app, bob := make_user("bob"), Role.OPERATOR, by=app.owner)
    return ApiClient(bob)


@pytest.fixture
def viewer(app):
    add_collaborator(app, carol := make_user("carol"), Role.VIEWER, by=app.owner)
    return ApiClient(carol)


def test_a_webhook_is_made_looked_at_changed_and_removed(api, app):
    made = api.post("/apps/hello/webhooks", NEW, variant="webhooks")
    assert made.status_code == 201
    assert len(made.headers["Heroku-Webhook-Secret"]) == 64
    assert (made.data["url"], made.data["app"]["name"]) == (URL, "hello")
    path = f"/apps/hello/webhooks/{made.data['id']}"
    assert api.get(path).data == made.data
    assert api.get("/apps/hello/webhooks").data == [made.data]
    changed = api.patch(path, {"include": ["api:release"], "level": "notify", "url": URL + "/2"})
    assert (changed.data["include"], changed.data["level"]) == (["api:release"], "notify")
    assert api.delete(path).status_code == 200
    assert api.get(path).status_code == 404
    assert AuditEvent.objects.filter(action__startswith="webhooks.", door="api").count() == 3


def test_the_secret_can_be_ones_own(api, app):
    made = api.post("/apps/hello/webhooks", NEW | {"secret": "sesame-sesame-sesame"})
    assert made.headers["Heroku-Webhook-Secret"] == "sesame-sesame-sesame"
    assert Webhook.objects.get().secret == "sesame-sesame-sesame"
    assert "sesame" not in str(api.get("/apps/hello/webhooks").data)


@pytest.mark.parametrize("bad", [{"url": "nonsense"}, {"include": ["api:weather"]}, {"level": "often"}, {"include": 1}])
def test_what_makes_no_sense_is_refused(api, app, bad):
    response = api.post("/apps/hello/webhooks", NEW | bad)
    assert (response.status_code, response.data["id"]) == (422, "invalid_params")


def test_deliveries_and_events_tell_what_became_of_it(api, app, outbound):
    webhook_id = api.post("/apps/hello/webhooks", NEW).data["id"]
    outbound.answers = [NotReached("Nobody is there.", id="connection_refused")]
    scale(app, {"web": 2}, by=app.owner)
    scale(app, {"web": 3}, by=app.owner)
    take_events()
    deliver(webhook_id)
    newest, oldest = api.get("/apps/hello/webhook-deliveries", headers={"Range": "seq ..; order=desc,max=1000"}).data
    assert (newest["status"], newest["num_attempts"], newest["last_attempt"]) == ("pending", 0, None)
    assert oldest["status"] == "retrying"
    assert oldest["last_attempt"]["error_class"] == "connection_refused"
    assert oldest["webhook"] == {"id": webhook_id, "level": "sync"}
    path = f"/apps/hello/webhook-deliveries/{oldest['id']}"
    assert api.get(path).data == oldest
    (attempt,) = api.get(f"{path}/attempts").data
    assert attempt["error"] == "Nobody is there."
    event = api.get(f"/apps/hello/webhook-events/{oldest['event']['id']}").data
    assert event["payload"]["data"]["quantity"] == 2
    assert event["payload"]["actor"]["email"] == app.owner.email
    events = api.get("/apps/hello/webhook-events", headers={"Range": "seq ..; max=1"})
    assert (events.status_code, len(events.data)) == (206, 1)
    failed = api.get("/apps/hello/webhook-deliveries?eq[status]=failed")
    assert failed.data == []


def test_what_failed_is_delivered_again_and_a_webhook_switched_on(api, app, outbound):
    webhook_id = api.post("/apps/hello/webhooks", NEW | {"level": "notify"}).data["id"]
    outbound.answers = [500]
    scale(app, {"web": 2}, by=app.owner)
    take_events()
    deliver(webhook_id)
    delivery = api.get("/apps/hello/webhook-deliveries").data[0]
    assert delivery["status"] == "failed"
    again = api.post(f"/apps/hello/webhook-deliveries/{delivery['id']}/redeliver")
    assert again.data["status"] == "pending"
    deliver(webhook_id)
    assert Delivery.objects.get().status == "succeeded"
    (details,) = api.get("/apps/hello/webhook-details").data
    assert (details["failures"], details["waiting"]) == (0, 0)
    assert api.post(f"/apps/hello/webhooks/{webhook_id}/switch-on").data["switched_off_at"] is None


def test_a_drain_is_found_by_id_token_and_whole_url(api, app):
    made = api.post("/apps/hello/log-drains", {"url": DRAIN})
    assert made.status_code == 201
    assert made.data["token"].startswith("d.")
    for identity in (made.data["id"], made.data["token"], quote(DRAIN, safe=""), DRAIN.replace("?", "%3F")):
        assert api.get(f"/apps/hello/log-drains/{identity}").data == made.data
    assert api.get("/apps/hello/log-drains").data == [made.data]
    assert api.delete(f"/apps/hello/log-drains/{quote(DRAIN, safe='')}").status_code == 200
    assert not Drain.objects.exists()
    assert api.get(f"/apps/hello/log-drains/{quote(DRAIN, safe='')}").status_code == 404
    assert "pw" not in str([(each.before, each.after, each.text) for each in AuditEvent.objects.all()])


def test_how_far_a_drain_is_stands_in_its_details(api, app):
    api.post("/apps/hello/log-drains", {"url": DRAIN})
    (details,) = api.get("/apps/hello/drain-details").data
    assert (details["sent"], details["error"]) == (0, None)
    assert "pw" not in details["url"]


def test_drains_of_all_apps_are_the_admins_affair(api, app):
    assert api.get("/log-drains").status_code == 403
    admin = ApiClient(make_user("admin", is_admin=True))
    made = admin.post("/log-drains", {"url": "syslog+tls://logs.example.com:6514"})
    assert (made.status_code, made.data["app"]) == (201, None)
    assert admin.get("/log-drains").data == [made.data]
    assert admin.delete(f"/log-drains/{made.data['token']}").status_code == 200


def test_notifications_are_made_tested_changed_and_removed(api, app, outbound):
    room = {"kind": "chat", "url": "https://chat.example.com/hooks/sesame", "name": "#deploys", "topics": ["deployed"]}
    made = api.post("/apps/hello/notifications", room)
    assert (made.status_code, made.data["name"]) == (201, "#deploys")
    assert "sesame" not in str(made.data)
    path = f"/apps/hello/notifications/{made.data['id']}"
    assert api.post(f"{path}/test").data["last_sent_at"]
    assert len(outbound.requests) == 1
    assert api.patch(path, {"topics": ["deploy_failed"]}).data["topics"] == ["deploy_failed"]
    listed = api.get("/apps/hello/notifications").data
    assert (len(listed["channels"]), listed["mail"]) == (1, False)
    assert api.delete(path).status_code == 200


def test_a_viewer_gets_mail_and_changes_nothing_else(viewer, operator, app):
    mine = viewer.post("/apps/hello/notifications", {"kind": "email", "topics": ["deployed"]})
    assert mine.data["email"] == "carol@example.com"
    room = {"kind": "chat", "url": "https://chat.example.com/", "topics": ["deployed"]}
    assert viewer.post("/apps/hello/notifications", room).status_code == 403
    theirs = operator.post("/apps/hello/notifications", room).data["id"]
    assert viewer.delete(f"/apps/hello/notifications/{theirs}").status_code == 403
    assert operator.delete(f"/apps/hello/notifications/{mine.data['id']}").status_code == 403
    assert viewer.delete(f"/apps/hello/notifications/{mine.data['id']}").status_code == 200
    assert viewer.get("/notifications").status_code == 403


@pytest.mark.parametrize("path", ["webhooks", "webhook-deliveries", "log-drains", "webhook-details", "drain-details"])
def test_urls_may_hold_secrets_so_a_viewer_does_not_see_them(viewer, operator, path):
    assert viewer.get(f"/apps/hello/{path}").status_code == 403
    assert operator.get(f"/apps/hello/{path}").status_code == 200


def test_a_stranger_is_told_that_there_is_no_such_app(app):
    stranger = ApiClient(make_user("charlie"))
    for method, path in (
        ("GET", "webhooks"), ("POST", "webhooks"), ("GET", "webhook-events"), ("GET", "log-drains"),
        ("DELETE", "log-drains/d.x"), ("GET", "notifications"), ("POST", "notifications"),
    ):  # fmt: skip
        body = {"POST": {**NEW, "kind": "chat", "topics": []}}.get(method)
        assert stranger.request(method, f"/apps/hello/{path}", body).status_code == 404
