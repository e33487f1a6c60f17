"""Deliveries: signed, in order, tried again, given up; and what people see of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from datetime import timedelta

import pytest

from paas.apps.services import destroy_app
from paas.core.models import AuditEvent, Event
from paas.formation.services import scale
from paas.hooks import rules
from paas.hooks.models import Attempt, Delivery, DeliveryStatus, Webhook
from paas.hooks.services import delivering, sweeping
from paas.hooks.services.webhooks import add_webhook, change_webhook, redeliver, remove_webhook, switch_on
from runtime.errors import Conflict, InvalidInput
from runtime.outbound.api import NotReached
from tests.factories import make_app, make_config, make_release, make_user

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.com/paas"
AWAY = NotReached("Nobody is there.", id="connection_refused")


@pytest.fixture
def app():
    app = make_app()
    make_release(app)
    Event.objects.update(is_taken=True)
    return app


def subscribe(app, *include, level="sync", **more):
    return add_webhook(app, url=URL, include=include or ["api:formation"], level=level, by=app.owner, **more)[0]


def happen(app, *quantities):
    for quantity in quantities:
        assert scale(app, {"web": quantity}, by=app.owner)


def sent(outbound):
    return [json.loads(each.body)["data"]["quantity"] for each in outbound.requests]


def states(webhook):
    return list(webhook.deliveries.order_by("number").values_list("status", flat=True))


def test_the_signature_is_that_of_a_published_vector():
    # RFC 4231, test case 2: HMAC-SHA-256 with the key "Jefe".
    digest = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    assert rules.signature("Jefe", b"what do ya want for nothing?") == base64.b64encode(digest).decode()


def test_a_delivery_is_signed_as_heroku_does_and_with_the_time(app, outbound, work):
    _webhook, secret = add_webhook(app, url=URL, include=["api:formation"], authorization="Bearer x", by=app.owner)
    happen(app, 2)
    work()
    (request,) = outbound.requests
    assert request.url == URL

    def made(message: bytes) -> str:
        return base64.b64encode(hmac.new(secret.encode(), message, hashlib.sha256).digest()).decode()

    headers = request.headers
    assert headers["Heroku-Webhook-Hmac-SHA256"] == made(request.body)
    assert headers["Paas-Webhook-Signature"] == made(headers["Paas-Webhook-Timestamp"].encode() + b"." + request.body)
    assert headers["Authorization"] == "Bearer x"
    body = json.loads(request.body)
    assert (body["resource"], body["action"], body["data"]["quantity"]) == ("formation", "update", 2)
    assert body["previous_data"] == {"quantity": 1}
    assert body["actor"]["email"] == app.owner.email
    assert body["webhook_metadata"]["event"] == {"id": body["id"], "include": "api:formation"}
    assert body["webhook_metadata"]["attempt"]["id"] == str(Attempt.objects.get().pk)


def test_only_what_was_asked_for_is_told_and_in_order(app, outbound, work):
    subscribe(app)
    other = make_app("other")
    make_release(other)
    make_config(app, COLOUR="blue")
    happen(app, 2, 3, 4)
    happen(other, 5)
    work()
    assert sent(outbound) == [2, 3, 4]


def test_what_happened_before_a_webhook_was_added_is_not_told(app, outbound, work):
    happen(app, 2)
    subscribe(app)
    happen(app, 3)
    work()
    assert sent(outbound) == [3]


def test_an_absent_receiver_gets_everything_in_order_when_it_is_back(app, outbound, work, later):
    webhook = subscribe(app)
    outbound.answers = [AWAY]
    happen(app, 2, 3)
    work()
    assert sent(outbound) == [2]
    assert states(webhook) == ["retrying", "pending"]
    later(minutes=1)
    work()
    assert sent(outbound) == [2, 2, 3]
    assert states(webhook) == ["succeeded", "succeeded"]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_receiver_that_is_overloaded_is_as_good_as_absent(app, outbound, work, later, status):
    webhook = subscribe(app)
    outbound.answers = [status] * 4
    happen(app, 2, 3)
    for _ in range(4):
        work()
        later(hours=1)
    assert sent(outbound) == [2] * 4
    assert states(webhook) == ["retrying", "pending"]


@pytest.mark.parametrize("status", [400, 404, 410, 500, 302])
def test_one_that_the_receiver_does_not_want_holds_up_the_others_three_times(app, outbound, work, later, status):
    webhook = subscribe(app)
    outbound.answers = [status] * 3
    happen(app, 2, 3)
    for _ in range(3):
        work()
        later(hours=1)
    work()
    assert sent(outbound) == [2, 2, 2, 3, 2]
    assert states(webhook) == ["succeeded", "succeeded"]


def test_something_new_makes_us_look_whether_an_absent_receiver_is_back(app, outbound, work, later):
    webhook = subscribe(app)
    outbound.answers = [AWAY] * 5
    happen(app, 2)
    for pause in (0, 1, 6, 16):
        later(minutes=pause)
        work()
    assert webhook.deliveries.get().tries == 4
    outbound.answers = []
    later(minutes=5)  # the next try would be in an hour
    happen(app, 3)
    work()
    assert sent(outbound) == [2, 2, 2, 2, 2, 3]


def test_a_delivery_is_given_up_after_ten_tries_within_a_day(app, outbound, work, later):
    webhook = subscribe(app)
    outbound.answers = [500] * 20
    happen(app, 2)
    for pause in rules.PAUSES:
        work()
        assert states(webhook) == ["retrying"]
        later(seconds=pause * 1.11)
    work()
    assert states(webhook) == ["failed"]
    later(days=1)
    work()
    assert len(outbound.requests) == rules.MAX_TRIES == 10
    assert sum(rules.PAUSES) * 1.11 < timedelta(days=1).total_seconds()


def test_pauses_grow_and_differ_a_little():
    pauses = [rules.pause(tries, jitter=1) for tries in range(1, 10)]
    assert all(a <= b for a, b in itertools.pairwise(pauses))
    assert len({rules.pause(3) for _ in range(20)}) > 1
    assert rules.pause(99, jitter=1) == pauses[-1]


def test_a_webhook_to_notify_is_tried_once(app, outbound, work, later):
    webhook = subscribe(app, level="notify")
    outbound.answers = [AWAY]
    happen(app, 2, 3)
    work()
    assert states(webhook) == ["failed", "succeeded"]
    assert sent(outbound) == [2, 3]


def test_a_webhook_that_fails_for_long_is_switched_off_and_the_owner_told(app, outbound, work):
    webhook = subscribe(app, level="notify")
    outbound.answers = [500] * 100
    for quantity in [2, 3] * (rules.MAX_FAILURES // 2):
        happen(app, quantity)
    happen(app, 4)
    work()
    webhook.refresh_from_db()
    assert webhook.switched_off_at is not None
    assert len(outbound.requests) == rules.MAX_FAILURES
    happen(app, 5)
    work()
    assert len(outbound.requests) == rules.MAX_FAILURES
    switch_on(webhook, by=app.owner)
    outbound.answers = []
    happen(app, 6)
    work()
    assert sent(outbound)[-1] == 6
    assert Webhook.objects.get().failures == 0


def test_what_was_given_up_can_be_delivered_again(app, outbound, work):
    webhook = subscribe(app, level="notify")
    outbound.answers = [AWAY]
    happen(app, 2)
    work()
    delivery = webhook.deliveries.get()
    redeliver(delivery, by=app.owner)
    with pytest.raises(Conflict):
        redeliver(delivery, by=app.owner)
    work()
    assert states(webhook) == ["succeeded"]
    assert [each.has_succeeded for each in delivery.attempts.all()] == [False, True]
    assert AuditEvent.objects.filter(action="webhooks.redeliver").count() == 1


def test_that_an_app_is_destroyed_is_told_after_it_is_gone(app, outbound, work):
    webhook = subscribe(app, "api:app")
    destroy_app(app, by=app.owner)
    app.delete()
    work()
    (request,) = outbound.requests
    assert json.loads(request.body)["action"] == "destroy"
    Webhook.objects.filter(pk=webhook.pk).update(updated_at=webhook.created_at - timedelta(hours=1))
    sweeping.forget_old()
    assert not Webhook.objects.exists()


def test_the_sweep_finds_what_a_lost_message_left(app, sent_tasks):
    webhook = subscribe(app)
    happen(app, 2)
    sent_tasks.clear()
    sweeping.sweep()
    assert ("hooks.take_events", ()) in sent_tasks
    Delivery.objects.create(webhook=webhook, event=Event.objects.latest("number"))
    sweeping.sweep()
    assert ("hooks.deliver", (str(webhook.pk),)) in sent_tasks


def test_an_event_is_taken_once_whoever_asks(app, outbound, work):
    subscribe(app)
    happen(app, 2)
    work()
    work()
    assert Delivery.objects.count() == 1
    assert len(outbound.requests) == 1


def test_old_deliveries_and_events_are_forgotten_and_waiting_ones_are_not(app, outbound, work, later):
    webhook = subscribe(app)
    happen(app, 2)
    work()
    outbound.answers = [AWAY]
    happen(app, 3)
    work()
    Event.objects.update(at=webhook.created_at - timedelta(days=30))
    Delivery.objects.update(created_at=webhook.created_at - timedelta(days=30))
    sweeping.forget_old()
    assert [each.event.data["quantity"] for each in Delivery.objects.all()] == [3]
    assert Event.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"url": "ftp://example.com"}, "invalid_url"),
        ({"url": "https://127.0.0.1/"}, "address_refused"),
        ({"url": "https://[::ffff:169.254.169.254]/"}, "address_refused"),
        ({"include": []}, "invalid_include"),
        ({"include": ["api:weather"]}, "invalid_include"),
        ({"level": "often"}, "invalid_level"),
        ({"secret": "short"}, "weak_secret"),
        ({"secret": "with a\nline break in it"}, "invalid_header"),
        ({"authorization": "Bearer x\r\nHost: y"}, "invalid_header"),
    ],
)
def test_a_webhook_that_makes_no_sense_is_refused(app, fields, error):
    with pytest.raises(InvalidInput) as caught:
        add_webhook(app, **({"url": URL, "include": ["api:app"], "by": app.owner} | fields))
    assert caught.value.id == error
    assert not Webhook.objects.exists()


def test_changes_are_audited_without_secrets(app):
    webhook = subscribe(app, secret="sesame-sesame-sesame", authorization="Bearer sesame")
    change_webhook(webhook, url="https://me:sesame@other.example.com/", secret="sesame-sesame-sesame-2", by=app.owner)
    change_webhook(webhook, level="sync", by=app.owner)
    remove_webhook(webhook, by=app.owner)
    events = AuditEvent.objects.filter(action__startswith="webhooks.").order_by("pk")
    assert [each.action for each in events] == ["webhooks.add", "webhooks.change", "webhooks.remove"]
    assert "sesame" not in "".join(json.dumps([each.before, each.after, each.detail]) + each.text for each in events)


def test_deliveries_have_a_bounded_share_of_the_workers_threads(app, work, sent_tasks, monkeypatch):
    webhook = subscribe(app)
    happen(app, 2)
    for _ in range(4):
        assert delivering._places.acquire(blocking=False)
    try:
        sent_tasks.clear()
        work()
    finally:
        for _ in range(4):
            delivering._places.release()
    assert states(webhook) == [DeliveryStatus.PENDING]
    assert ("hooks.deliver", (str(webhook.pk),)) in sent_tasks


def test_a_stranger_has_no_part_in_it(app):
    from paas.hooks.selectors import get_webhook
    from runtime.errors import NotFound

    webhook = subscribe(app)
    other = make_app("other", owner=make_user("charlie"))
    with pytest.raises(NotFound):
        get_webhook(other, webhook.pk)
