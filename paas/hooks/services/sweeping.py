"""What a lost message, or a worker that died, has left: looked for every half minute, and old rows once an hour."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db.models import Exists, OuterRef
from django.utils import timezone

from paas.core import redis
from paas.core.events import wake
from paas.core.models import Event
from paas.core.queue import send
from paas.core.redis import lease
from paas.hooks.models import OPEN, Delivery, Message, Trouble, Webhook
from paas.hooks.services.delivering import webhooks_with_work
from paas.hooks.services.drains import publish_drains
from paas.hooks.services.notices import close_troubles, watch_disk
from paas.hooks.services.notifications import channels_with_work

KEEP = timedelta(days=14)
KEEP_DELIVERIES = 500  # of each webhook, those that are over


def sweep() -> None:
    with lease("hooks:sweep") as held:
        if held is None:
            return
        if Event.objects.filter(is_taken=False).exists():
            wake()
        for webhook_id in webhooks_with_work():
            send("hooks.deliver", str(webhook_id))
        for channel_id in channels_with_work():
            send("hooks.send_messages", channel_id)
        close_troubles()
        watch_disk(Path(settings.ENV.home))
        publish_drains()
        if redis.client().set("paas:hooks:tidied", 1, nx=True, ex=3600):
            forget_old()


def forget_old() -> None:
    """Deliveries and what they told; webhooks of apps that are gone, when their last words are out."""
    before = timezone.now() - KEEP
    Delivery.objects.exclude(status__in=OPEN).filter(created_at__lt=before).delete()
    for webhook in Webhook.objects.all():
        over = webhook.deliveries.exclude(status__in=OPEN).order_by("-number")
        last = over.values_list("number", flat=True)[KEEP_DELIVERIES : KEEP_DELIVERIES + 1].first()
        if last is not None:
            webhook.deliveries.exclude(status__in=OPEN).filter(number__lte=last).delete()
    unfinished = Delivery.objects.filter(webhook=OuterRef("pk"), status__in=OPEN)
    Webhook.objects.filter(~Exists(unfinished), app=None, updated_at__lt=timezone.now() - timedelta(minutes=10)).delete()
    still_told = Delivery.objects.filter(event=OuterRef("pk"))
    Event.objects.filter(~Exists(still_told), is_taken=True, at__lt=before).delete()
    Message.objects.filter(created_at__lt=before).delete()
    Trouble.objects.filter(over_at__lt=before).delete()
