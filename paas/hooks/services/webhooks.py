"""Subscribe URLs to what happens to an app."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any

from django.db import transaction
from django.utils import timezone

from paas.accounts.models import User
from paas.apps.models import App
from paas.core import audit
from paas.core.queue import send
from paas.hooks.models import OPEN, Delivery, DeliveryStatus, Webhook
from paas.hooks.rules import MAX_WEBHOOKS, checked_header, checked_include, checked_level, checked_target
from runtime.errors import Conflict, InvalidInput
from runtime.outbound.urls import shown_url

MIN_SECRET = 16


@transaction.atomic
def add_webhook(
    app: App,
    *,
    url: str,
    include: Collection[str],
    level: str = "notify",
    secret: str | None = None,
    authorization: str | None = None,
    by: User,
) -> tuple[Webhook, str]:
    """The row, and the secret that its requests are signed with: a new one unless given. Raises `InvalidInput` and
    `Conflict`."""
    checked_target(url)
    App.objects.select_for_update().get(pk=app.pk)
    if app.webhooks.count() >= MAX_WEBHOOKS:
        raise Conflict(f"{app.name} has {MAX_WEBHOOKS} webhooks, which is the limit.", id="too_many_webhooks")
    secret = checked_secret(secret) if secret else secrets.token_hex(32)
    webhook = Webhook.objects.create(
        app=app,
        told_of=app.pk,
        url=url,
        include=checked_include(include),
        level=checked_level(level),
        secret=secret,
        authorization=checked_header("The authorization", authorization) if authorization else None,
        created_by=by,
    )
    _record(webhook, app, "webhooks.add", by, after=_told(webhook))
    return webhook, secret


def checked_secret(secret: str) -> str:
    if len(secret) < MIN_SECRET:
        raise InvalidInput(
            f"A secret has at least {MIN_SECRET} characters.",
            hint="Leave it out, and a good one is made.",
            id="weak_secret",
        )
    return checked_header("The secret", secret)


@transaction.atomic
def change_webhook(webhook: Webhook, *, by: User, **changes: Any) -> None:
    """`url`, `include`, `level`, `secret`, `authorization`: those that are given. Raises `InvalidInput`."""
    before = _told(webhook)
    if "url" in changes:
        checked_target(changes["url"])
        webhook.url = changes["url"]
    if "include" in changes:
        webhook.include = checked_include(changes["include"])
    if "level" in changes:
        webhook.level = checked_level(changes["level"])
    if changes.get("secret"):
        webhook.secret = checked_secret(changes["secret"])
    if "authorization" in changes:
        given = changes["authorization"]
        webhook.authorization = checked_header("The authorization", given) if given else None
    webhook.save(update_fields=["url", "include", "level", "secret", "authorization", "updated_at"])
    after = _told(webhook) | ({"secret": audit.MASK} if changes.get("secret") else {})
    after |= {"authorization": audit.MASK} if changes.get("authorization") else {}
    if after != before:
        assert webhook.app is not None
        moved = {name for name in after if after[name] != before.get(name)}
        _record(
            webhook,
            webhook.app,
            "webhooks.change",
            by,
            before={name: before.get(name) for name in moved},
            after={name: after[name] for name in moved},
        )


@transaction.atomic
def remove_webhook(webhook: Webhook, *, by: User) -> None:
    """What has not been delivered yet is not delivered any more."""
    assert webhook.app is not None
    _record(webhook, webhook.app, "webhooks.remove", by, before=_told(webhook))
    webhook.delete()


@transaction.atomic
def switch_on(webhook: Webhook, *, by: User) -> None:
    """After many failures it had been switched off. What happened meanwhile is not told."""
    if not Webhook.objects.filter(pk=webhook.pk, switched_off_at__isnull=False).update(switched_off_at=None, failures=0):
        return
    assert webhook.app is not None
    _record(webhook, webhook.app, "webhooks.switch_on", by)


@transaction.atomic
def redeliver(delivery: Delivery, *, by: User) -> None:
    """Once more, at once, beside what else is to be delivered. Raises `Conflict` while it is not over."""
    again = Delivery.objects.filter(pk=delivery.pk).exclude(status__in=OPEN)
    now = timezone.now()
    if not again.update(status=DeliveryStatus.PENDING, tries=0, is_aside=True, next_attempt_at=now, updated_at=now):
        raise Conflict("This delivery is still being tried.", id="delivery_not_over")
    webhook = delivery.webhook
    assert webhook.app is not None
    _record(webhook, webhook.app, "webhooks.redeliver", by, delivery=str(delivery.uuid))
    webhook_id = str(webhook.pk)
    transaction.on_commit(lambda: send("hooks.deliver", webhook_id))


def _told(webhook: Webhook) -> dict[str, Any]:
    """For the audit log."""
    return {"url": shown_url(webhook.url), "include": webhook.include, "level": str(webhook.level)}


def _record(webhook: Webhook, app: App, action: str, by: User, **moved: Any) -> None:
    audit.record(action, by=by, app_id=app.pk, app_name=app.name, webhook=str(webhook.pk), **moved)
