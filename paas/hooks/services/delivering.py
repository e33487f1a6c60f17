"""Make deliveries: in the order of what happened, one webhook at a time, several webhooks at once.

While a receiver is absent (no connection, no answer in time, 408, 425, 429, 502, 503, 504), what is to be delivered waits
in its order, for a day. A receiver that answers something else three times is passed the next one; the one it did not
want goes on being tried beside.
"""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from paas.core.events import moment
from paas.core.queue import send
from paas.core.redis import Lease, raise_flag, take_turn
from paas.hooks.models import OPEN, Attempt, Delivery, DeliveryStatus, Level, Webhook
from paas.hooks.rules import (
    ABSENT,
    LIFETIME,
    MAX_FAILURES,
    MAX_TRIES,
    TRIES_IN_PLACE,
    actor_of,
    pause,
    signature,
    timed_signature,
)
from paas.hooks.services.notices import notice_of_switched_off
from paas.wiring import outbound
from runtime.errors import InvalidInput
from runtime.outbound.api import Answer, NotReached

log = structlog.get_logger()
SECONDS = 10.0  # for one request, whatever the receiver does meanwhile
TURN_SECONDS = 30.0  # after which somebody else gets our place
SOON_SECONDS = 60
# The threads of the worker are for convergence first.
_places = threading.BoundedSemaphore(4)


def deliver(webhook_id: str) -> None:
    """All that is due. Returns at once when somebody is at it: they look again. Without a place, it comes back later."""
    turn = f"hooks:webhook:{webhook_id}"
    raise_flag(turn)  # also without a place
    if not _places.acquire(blocking=False):
        send("hooks.deliver", webhook_id, countdown=1)
        return
    began = time.monotonic()

    def deliver_due(held: Lease) -> bool:
        while delivery := next_delivery(webhook_id):
            held.check()
            if time.monotonic() - began > TURN_SECONDS:
                send("hooks.deliver", webhook_id)
                return False
            attempt(delivery)
        _come_back(webhook_id)
        return True

    try:
        take_turn(turn, deliver_due)
    finally:
        _places.release()


def _come_back(webhook_id: str) -> None:
    """Sooner than the sweep would."""
    now = timezone.now()
    due = Delivery.objects.filter(
        webhook_id=webhook_id,
        status__in=OPEN,
        next_attempt_at__gt=now,
        next_attempt_at__lt=now + timedelta(seconds=SOON_SECONDS),
    )
    first = due.order_by("next_attempt_at").values_list("next_attempt_at", flat=True).first()
    if first is not None:
        send("hooks.deliver", webhook_id, countdown=max(0.0, (first - now).total_seconds()) + 0.05)


def next_delivery(webhook_id: str | UUID) -> Delivery | None:
    """The first in order; when that is not due, none behind it is. What stands aside comes when it is due."""
    waiting = (
        Delivery.objects.filter(webhook_id=webhook_id, webhook__switched_off_at=None, status__in=OPEN)
        .select_related("webhook", "webhook__app", "event")
        .order_by("number")
    )
    now = timezone.now()
    head = waiting.filter(is_aside=False).first()
    if head is not None and _is_due(head, now):
        return head
    return waiting.filter(is_aside=True, next_attempt_at__lte=now).first()


def _is_due(delivery: Delivery, now: datetime) -> bool:
    return delivery.next_attempt_at is not None and delivery.next_attempt_at <= now


def webhooks_with_work() -> list[UUID]:
    """For the sweep: those that have something due, whether or not a message said so."""
    due = Delivery.objects.filter(status__in=OPEN, webhook__switched_off_at=None, next_attempt_at__lte=timezone.now())
    return list(due.order_by().values_list("webhook", flat=True).distinct())


def attempt(delivery: Delivery) -> None:
    """One request."""
    made = Attempt.objects.create(delivery=delivery)
    began = time.monotonic()
    try:
        answer = _send(delivery, made)
        made.status, made.excerpt = answer.status, answer.excerpt
        retry_after = answer.retry_after
        if 300 <= answer.status < 400:
            made.error_id, made.error = "redirect", "It answered with a redirect, which is not followed."
    except (NotReached, InvalidInput) as exc:
        made.error_id, made.error, retry_after = exc.id, exc.message[:300], None
    made.milliseconds = round((time.monotonic() - began) * 1000)
    made.save()
    if made.has_succeeded:
        _succeeded(delivery)
    else:
        _failed(delivery, made, retry_after)
    log.info(
        "webhook_delivered" if made.has_succeeded else "webhook_not_delivered",
        webhook=str(delivery.webhook_id),
        delivery=str(delivery.uuid),
        status=made.status,
        error=made.error_id,
        milliseconds=made.milliseconds,
    )


def _send(delivery: Delivery, made: Attempt) -> Answer:
    """Raises `NotReached`, or `InvalidInput` for a URL that was good once."""
    webhook = delivery.webhook
    body = json.dumps(body_of(delivery, made), separators=(",", ":")).encode()
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "paas-webhooks/1",
        "Heroku-Webhook-Hmac-SHA256": signature(webhook.secret, body),
        "Paas-Webhook-Timestamp": timestamp,
        "Paas-Webhook-Signature": timed_signature(webhook.secret, timestamp, body),
    }
    if webhook.authorization:
        headers["Authorization"] = webhook.authorization
    return outbound().post(webhook.url, body, headers, seconds=SECONDS)


def body_of(delivery: Delivery, made: Attempt) -> dict[str, Any]:
    """As Heroku sends it. `sequence` counts the events of the platform: a later one has a higher number."""
    event = delivery.event
    return {
        "action": event.action,
        "actor": actor_of(event),
        "created_at": moment(event.at),
        "data": event.data,
        "id": str(event.uuid),
        "previous_data": event.previous,
        "published_at": moment(event.at),
        "resource": event.include.removeprefix("api:"),
        "sequence": event.number,
        "updated_at": moment(event.at),
        "version": "application/vnd.heroku+json; version=3",
        "webhook_metadata": {
            "attempt": {"id": str(made.pk)},
            "delivery": {"id": str(delivery.uuid)},
            "event": {"id": str(event.uuid), "include": event.include},
            "webhook": {"id": str(delivery.webhook_id)},
        },
    }


@transaction.atomic
def _succeeded(delivery: Delivery) -> None:
    now = timezone.now()
    Delivery.objects.filter(pk=delivery.pk).update(
        status=DeliveryStatus.SUCCEEDED, next_attempt_at=None, tries=F("tries") + 1, updated_at=now
    )
    Webhook.objects.filter(pk=delivery.webhook_id, failures__gt=0).update(failures=0)


@transaction.atomic
def _failed(delivery: Delivery, made: Attempt, retry_after: float | None) -> None:
    now = timezone.now()
    tries = delivery.tries + 1
    webhook = delivery.webhook
    is_over = webhook.level == Level.NOTIFY or tries >= MAX_TRIES or now - delivery.created_at > LIFETIME
    values: dict[str, Any] = {"tries": tries, "updated_at": now}
    if is_over:
        values |= {"status": DeliveryStatus.FAILED, "next_attempt_at": None}
    else:
        wait = max(pause(tries), timedelta(seconds=min(retry_after or 0, 3600)))
        values |= {"status": DeliveryStatus.RETRYING, "next_attempt_at": now + wait}
        if tries >= TRIES_IN_PLACE and made.status and made.status not in ABSENT:
            values["is_aside"] = True
    Delivery.objects.filter(pk=delivery.pk).update(**values)
    if is_over:
        Webhook.objects.filter(pk=webhook.pk).update(failures=F("failures") + 1)
        off = Webhook.objects.filter(pk=webhook.pk, failures__gte=MAX_FAILURES, switched_off_at=None)
        if off.update(switched_off_at=now):
            log.warning("webhook_switched_off", webhook=str(webhook.pk))
            webhook.deliveries.filter(status__in=OPEN).update(
                status=DeliveryStatus.FAILED, next_attempt_at=None, updated_at=now
            )
            notice_of_switched_off(webhook)
