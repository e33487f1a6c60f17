"""The pages about webhooks, notifications and drains."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from paas.apps.models import Role
from paas.apps.services import add_collaborator
from paas.formation.services import scale
from paas.hooks.models import Channel, Drain, Webhook
from paas.hooks.services.webhooks import add_webhook
from runtime.outbound.api import NotReached
from tests.factories import make_app, make_release, make_user

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.com/paas"
ROOM = "https://chat.example.com/hooks/sesame"


@pytest.fixture
def app():
    app = make_app(owner=make_user("alice"))
    make_release(app)
    return app


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def alice(app):
    return signed_in(app.owner)


def text(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_a_webhook_is_added_and_its_secret_shown_once(alice, app):
    assert "No webhooks" in text(alice.get("/apps/hello/settings/webhooks"))
    form = {"url": URL, "include": ["api:release"], "level": "sync"}
    response = alice.post("/apps/hello/settings/webhooks/add", form, follow=True)
    webhook = Webhook.objects.get()
    assert webhook.secret in text(response)
    page = alice.get(f"/apps/hello/settings/webhooks/{webhook.pk}")
    assert webhook.secret not in text(page)
    assert URL in text(alice.get("/apps/hello/settings/webhooks"))


def test_a_webhook_that_is_refused_keeps_what_was_typed(alice, app):
    response = alice.post(
        "/apps/hello/settings/webhooks/add", {"url": "https://10.0.0.1/x", "include": ["api:app"], "level": "sync"}
    )
    assert response.status_code == 422
    assert "not public" in text(response)
    assert "https://10.0.0.1/x" in response.content.decode()


def test_the_log_of_deliveries_says_what_came_of_each_and_one_can_be_delivered_again(alice, app, outbound, work):
    webhook, _ = add_webhook(app, url=URL, include=["api:formation"], level="notify", by=app.owner)
    outbound.answers = [500, NotReached("hooks.example.com refused the connection.", id="connection_refused")]
    scale(app, {"web": 2}, by=app.owner)
    scale(app, {"web": 3}, by=app.owner)
    work()
    path = f"/apps/hello/settings/webhooks/{webhook.pk}"
    page = text(alice.get(path))
    assert "500" in page
    assert "refused the connection" in page
    assert "None is succeeded" in text(alice.get(f"{path}?status=succeeded"))
    delivery = webhook.deliveries.first()
    response = alice.post(f"/apps/hello/settings/deliveries/{delivery.uuid}/again", follow=True)
    assert "delivered again" in text(response)
    work()
    assert "1 of 1" not in page
    delivery.refresh_from_db()
    assert delivery.status == "succeeded"


def test_a_webhook_is_changed_switched_on_and_removed(alice, app):
    webhook, _ = add_webhook(app, url=URL, include=["api:app"], by=app.owner)
    Webhook.objects.update(switched_off_at=webhook.created_at, failures=20)
    path = f"/apps/hello/settings/webhooks/{webhook.pk}"
    assert "switched off" in text(alice.get(path))
    alice.post(f"{path}/on")
    alice.post(f"{path}/change", {"url": URL, "include": ["api:release", "dyno"], "level": "notify"})
    webhook.refresh_from_db()
    assert (webhook.include, webhook.switched_off_at) == (["api:release", "dyno"], None)
    alice.post(f"{path}/remove")
    assert not Webhook.objects.exists()


def test_a_room_is_added_tested_and_removed(alice, app, outbound):
    form = {"kind": "chat", "url": ROOM, "name": "#deploys", "topics": ["deploy_failed"]}
    page = text(alice.post("/apps/hello/settings/notifications/add", form, follow=True))
    assert "#deploys" in page
    assert "sesame" not in page
    channel = Channel.objects.get()
    assert "has been sent" in text(alice.post(f"/apps/hello/settings/notifications/{channel.pk}/test", follow=True))
    outbound.answers = [404]
    assert "answered 404" in text(alice.post(f"/apps/hello/settings/notifications/{channel.pk}/test", follow=True))
    alice.post(f"/apps/hello/settings/notifications/{channel.pk}/remove")
    assert not Channel.objects.exists()


def test_ones_own_mails_are_chosen_changed_and_ended(alice, app):
    page = alice.get("/apps/hello/settings/notifications")
    assert "This platform sends no mail." in text(page)
    path = "/apps/hello/settings/notifications/mail"
    alice.post(path, {"topics": ["deployed"]})
    alice.post(path, {"topics": ["deployed", "crash_loop"]})
    assert Channel.objects.get().topics == ["crash_loop", "deployed"]
    alice.post(path, {})
    assert not Channel.objects.exists()


def test_notifications_of_the_machine_are_for_admins(alice, app):
    assert alice.get("/host/notifications").status_code == 403
    admin = signed_in(make_user("admin", is_admin=True))
    assert "of the machine" in text(admin.get("/host/notifications"))
    admin.post("/host/notifications/mail", {"topics": ["disk"]})
    assert Channel.objects.get().app is None


def test_a_drain_is_added_and_removed_and_its_password_not_shown(alice, app):
    assert "No log drains" in text(alice.get("/apps/hello/settings/drains"))
    url = "https://me:sesame@logs.example.com/in"
    page = text(alice.post("/apps/hello/settings/drains/add", {"url": url}, follow=True))
    assert "logs.example.com" in page
    assert "sesame" not in page
    assert alice.post("/apps/hello/settings/drains/add", {"url": "ftp://x"}).status_code == 422
    alice.post("/apps/hello/settings/drains/remove", {"token": Drain.objects.get().token})
    assert not Drain.objects.exists()


def test_a_viewer_sees_no_urls_and_changes_nothing(app):
    webhook, _ = add_webhook(app, url=URL, include=["api:app"], by=app.owner)
    add_collaborator(app, carol := make_user("carol"), Role.VIEWER, by=app.owner)
    viewer = signed_in(carol)
    assert URL not in text(viewer.get("/apps/hello/settings/webhooks"))
    assert viewer.get(f"/apps/hello/settings/webhooks/{webhook.pk}").status_code == 403
    for path in ("webhooks/add", "drains/add", "notifications/add", f"webhooks/{webhook.pk}/remove"):
        assert viewer.post(f"/apps/hello/settings/{path}", {"url": URL}).status_code == 403
    assert viewer.post("/apps/hello/settings/notifications/mail", {"topics": ["deployed"]}).status_code == 302


def test_a_stranger_finds_no_such_pages(app):
    stranger = signed_in(make_user("charlie"))
    for page in ("webhooks", "notifications", "drains"):
        assert stranger.get(f"/apps/hello/settings/{page}").status_code == 404
