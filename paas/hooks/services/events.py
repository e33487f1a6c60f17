"""From what happened to what has to be told: deliveries of webhooks, messages of channels."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from paas.core.models import Event
from paas.core.queue import send
from paas.core.redis import Lease, take_turn
from paas.hooks.models import OPEN, Delivery, DeliveryStatus, Webhook
from paas.hooks.services.notices import notice_of

log = structlog.get_logger()
BATCH = 100
TURN = "hooks:events"
PROBE_SECONDS = 60


def take_events() -> None:
    """One at a time: the order of events is that in which they are taken."""

    def take(held: Lease) -> None:
        while _take_batch():
            held.check()

    take_turn(TURN, take)


def _take_batch() -> bool:
    """False when there is nothing left."""
    events = list(Event.objects.filter(is_taken=False).order_by("number")[:BATCH])
    for event in events:
        woken = set()
        with transaction.atomic():
            if not Event.objects.filter(pk=event.pk, is_taken=False).update(is_taken=True):
                continue
            listening = Webhook.objects.filter(told_of=event.app_id, switched_off_at=None, created_at__lte=event.at)
            for webhook in listening:
                if event.include in webhook.include:
                    Delivery.objects.create(webhook=webhook, event=event)
                    _probe(webhook)
                    woken.add(webhook.pk)
            notice_of(event)
        for webhook_id in woken:
            send("hooks.deliver", str(webhook_id))
    return bool(events)


def _probe(webhook: Webhook) -> None:
    """What waits for an absent receiver is tried now, and not counted as a try: it may be back. So nothing new comes long
    after it has happened only because something old waits for hours."""
    now = timezone.now()
    head = webhook.deliveries.filter(status__in=OPEN, is_aside=False).order_by("number").first()
    if head is None or head.status != DeliveryStatus.RETRYING or head.next_attempt_at is None:
        return
    if head.next_attempt_at > now and head.updated_at < now - timedelta(seconds=PROBE_SECONDS):
        Delivery.objects.filter(pk=head.pk, tries__gt=0).update(next_attempt_at=now, tries=F("tries") - 1)
