"""Webhooks, drains and notifications on the command line."""

from __future__ import annotations

import pytest

from paas import wiring
from paas.formation.services import scale
from paas.hooks.models import Channel, Drain, Webhook
from paas.hooks.services.delivering import deliver
from paas.hooks.services.events import take_events
from runtime.outbound.memory import MemoryOutbound
from tests.factories import make_release

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.com/paas"


@pytest.fixture(autouse=True)
def outbound():
    made = MemoryOutbound()
    with wiring.replaced(outbound=made):
        yield made


def test_a_webhook_from_its_secret_to_its_end(paas, app, outbound):
    make_release(app)
    assert "No webhooks" in paas("webhooks", "-a", "hello").err
    secret = paas("webhooks:add", URL, "-i", "api:formation,api:app", "-a", "hello").out.strip()
    webhook = Webhook.objects.get()
    assert (webhook.secret, webhook.level) == (secret, "sync")
    outbound.answers = [500]
    scale(app, {"web": 2}, by=app.owner)
    take_events()
    deliver(str(webhook.pk))
    listed = paas("webhooks:deliveries", "-a", "hello").out
    assert "retrying" in listed
    assert "500" in listed
    delivery = str(webhook.deliveries.get().uuid)
    assert paas("webhooks:deliveries:info", delivery, "-a", "hello").json["attempts"][0]["code"] == 500
    assert "still being tried" in paas("webhooks:redeliver", delivery, "-a", "hello", code=1).err
    paas("webhooks:update", str(webhook.pk), "-l", "notify", "-a", "hello")
    webhook.refresh_from_db()
    assert webhook.level == "notify"
    paas("webhooks:on", str(webhook.pk), "-a", "hello")
    assert paas("webhooks", "-a", "hello", "--json").json[0]["url"] == URL
    paas("webhooks:remove", str(webhook.pk), "-a", "hello")
    assert not Webhook.objects.exists()


def test_a_drain_is_removed_by_its_url_and_its_password_is_not_shown(paas, app):
    url = "https://me:sesame@logs.example.com/in?x=y"
    token = paas("drains:add", url, "-a", "hello").out.strip()
    assert Drain.objects.get().token == token
    listed = paas("drains", "-a", "hello").out
    assert token in listed
    assert "sesame" not in listed
    paas("drains:remove", url, "-a", "hello")
    assert not Drain.objects.exists()


def test_drains_of_the_whole_machine(paas):
    token = paas("drains:add", "syslog+tls://logs.example.com:6514", "--host").out.strip()
    assert token in paas("drains", "--host").out
    paas("drains:remove", token, "--host")
    assert not Drain.objects.exists()


def test_notifications_are_added_tested_and_removed(paas, app, outbound):
    channel = paas("notifications:add", "https://chat.example.com/x", "--name", "#deploys", "-a", "hello").out.strip()
    assert Channel.objects.get().topics == ["deploy_failed", "crash_loop", "recovered"]
    assert "Sent to #deploys." in paas("notifications:test", channel, "-a", "hello").err
    assert len(outbound.requests) == 1
    listed = paas("notifications", "-a", "hello")
    assert "#deploys" in listed.out
    assert "Mail is off" in listed.err
    paas("notifications:remove", channel, "-a", "hello")
    assert not Channel.objects.exists()
    mine = paas("notifications:add", "mail", "--host").out.strip()
    assert "disk" in paas("notifications", "--host").out
    paas("notifications:remove", mine, "--host")
