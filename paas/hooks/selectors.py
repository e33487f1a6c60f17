"""Which hooks an app has, and what became of them."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Prefetch, QuerySet

from paas.apps.models import App
from paas.core.ids import uuid_of
from paas.core.models import Event
from paas.hooks.models import Attempt, Channel, Delivery, DeliveryStatus, Drain, Webhook
from paas.hooks.rules import drain_digest
from runtime.errors import NotFound


def get_webhook(app: App, webhook_id: str | UUID) -> Webhook:
    """Raises `NotFound`."""
    found = app.webhooks.filter(pk=uuid_of(webhook_id)).first()
    if found is None:
        raise NotFound(
            f"{app.name} has no such webhook.", hint=f"See them with: paas webhooks -a {app.name}", id="webhook_not_found"
        )
    return found


def is_failing(webhook: Webhook) -> bool:
    """What was last given up, or is being tried again: nothing has arrived since."""
    return webhook.failures > 0 or webhook.deliveries.filter(status=DeliveryStatus.RETRYING).exists()


def deliveries_of(app: App) -> QuerySet[Delivery]:
    """Newest first, with their attempts."""
    attempts = Prefetch("attempts", Attempt.objects.order_by("created_at"))
    rows = Delivery.objects.filter(webhook__app=app).select_related("webhook", "webhook__app", "event")
    return rows.prefetch_related(attempts).order_by("-number")


def get_delivery(app: App, delivery_id: str | UUID) -> Delivery:
    """Raises `NotFound`."""
    found = deliveries_of(app).filter(uuid=uuid_of(delivery_id)).first()
    if found is None:
        raise NotFound("There is no such delivery.", hint="Old ones are forgotten.", id="delivery_not_found")
    return found


def events_of(app: App) -> QuerySet[Event]:
    """What was told, or could have been: the newest first."""
    return Event.objects.filter(app_id=app.pk).order_by("-number")


def get_event(app: App, event_id: str | UUID) -> Event:
    """Raises `NotFound`."""
    found = events_of(app).filter(uuid=uuid_of(event_id)).first()
    if found is None:
        raise NotFound("There is no such event.", hint="Old ones are forgotten.", id="event_not_found")
    return found


def channels_of(app: App | None) -> QuerySet[Channel]:
    return Channel.objects.filter(app=app).select_related("user", "app")


def get_channel(app: App | None, channel_id: str | UUID) -> Channel:
    """Raises `NotFound`."""
    found = channels_of(app).filter(pk=uuid_of(channel_id)).first()
    if found is None:
        raise NotFound("There is no such notification.", hint="It may have been removed.", id="notification_not_found")
    return found


def drains_of(app: App | None) -> QuerySet[Drain]:
    return Drain.objects.filter(app=app).select_related("app")


def get_drain(app: App | None, identity: str) -> Drain:
    """By its id, its token or the whole URL. Raises `NotFound`."""
    rows = drains_of(app)
    found = (
        rows.filter(pk=uuid_of(identity)).first()
        or rows.filter(token=identity).first()
        or rows.filter(digest=drain_digest(identity)).first()
    )
    if found is None:
        raise NotFound(
            f"{app.name if app else 'This platform'} has no such drain.",
            hint="Name it by its id, its token or its whole URL.",
            id="drain_not_found",
        )
    return found
