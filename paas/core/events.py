"""What happened to an app, for whoever outside wants to hear of it: webhooks, notifications.

The packages of the domain say it here, in the transaction in which it happens; `paas.hooks` takes it from the rows. What
is said has the names and the shape of Heroku's webhook events, as far as we know it where it happens. Names of config
vars may be in it, their values and tokens never.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from django.db import transaction

from paas.core.models import Event
from paas.core.queue import send

Action = Literal["create", "update", "destroy"]


class Include(StrEnum):
    """What one can subscribe to. `api:config-vars` and `api:port-binding` are our own, the others Heroku's."""

    APP = "api:app"
    BUILD = "api:build"
    CONFIG = "api:config-vars"
    DOMAIN = "api:domain"
    FORMATION = "api:formation"
    PORT = "api:port-binding"
    RELEASE = "api:release"
    INSTANCE = "dyno"


def tell(
    include: Include,
    action: Action,
    data: Mapping[str, Any],
    *,
    app_id: UUID,
    app_name: str,
    by: Any = None,
    previous: Mapping[str, Any] | None = None,
) -> None:
    """Within the transaction of what happened. `previous`: what moved, as it was."""
    Event.objects.create(
        include=include,
        action=action,
        app_id=app_id,
        app_name=app_name,
        actor_id=getattr(by, "pk", None),
        actor_email=getattr(by, "email", ""),
        data=dict(data),
        previous=dict(previous or {}),
    )
    transaction.on_commit(wake)


def wake() -> None:
    send("hooks.take_events")


def moment(at: datetime) -> str:
    """`2026-11-25T09:00:00Z`: no fraction, as clients of the Platform API read it."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def person(user: Any) -> dict[str, str] | None:
    return None if user is None else {"id": str(user.pk), "email": user.email}
