"""Where logs go as well. The agent reads what is written down here, and writes how far it is: `runtime.logs.drains`."""

from __future__ import annotations

import json
import uuid
from datetime import UTC
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import TextField
from django.db.models.functions import Cast

from paas.accounts.models import User
from paas.apps.models import App
from paas.core import audit
from paas.core.files import write
from paas.hooks.models import Drain
from paas.hooks.rules import checked_target, drain_digest
from runtime.errors import Conflict
from runtime.logs.drains import LIST, SCHEMES, State, load_state
from runtime.outbound.urls import shown_url

MAX_DRAINS = 5


def add_drain(app: App | None, url: str, *, by: User) -> Drain:
    """From now on. Raises `InvalidInput` and `Conflict`."""
    checked_target(url, SCHEMES)
    name = app.name if app else "The platform"
    try:
        with transaction.atomic():
            if Drain.objects.filter(app=app).count() >= MAX_DRAINS:
                raise Conflict(f"{name} has {MAX_DRAINS} drains, which is the limit.", id="too_many_drains")
            if Drain.objects.filter(app=app, digest=drain_digest(url)).exists():
                raise Conflict(f"{name} has this drain already.", id="drain_taken")
            drain = Drain.objects.create(
                app=app, url=url, digest=drain_digest(url), token=f"d.{uuid.uuid4()}", created_by=by
            )
            _record(drain, "drains.add", by, after={"url": shown_url(url)})
    except IntegrityError as exc:
        raise Conflict(f"{name} has this drain already.", id="drain_taken") from exc
    return drain


@transaction.atomic
def remove_drain(drain: Drain, *, by: User) -> None:
    _record(drain, "drains.remove", by, before={"url": shown_url(drain.url)})
    drain.delete()


def _record(drain: Drain, action: str, by: User, **moved: Any) -> None:
    app = drain.app
    audit.record(
        action, by=by, app_id=app.pk if app else None, app_name=app.name if app else "", drain=drain.token, **moved
    )
    transaction.on_commit(publish_drains)


def folder() -> Path:
    return Path(settings.ENV.home) / "drains"


def publish_drains() -> None:
    """For the agent, which has no database: all drains, the URLs encrypted as they lie in the rows. The sweep does it
    again, so that nothing is lost when a process dies in between."""
    rows = Drain.objects.filter(app__destroyed_at=None).annotate(sealed=Cast("url", TextField()))
    drains = [
        {
            "token": row["token"],
            "app": str(row["app"]) if row["app"] else None,
            "sealed_url": row["sealed"],
            "since": row["created_at"].astimezone(UTC).isoformat(),
        }
        for row in rows.order_by("token").values("token", "app", "sealed", "created_at")
    ]
    file = folder() / LIST
    if drains or file.exists():
        folder().mkdir(mode=0o700, exist_ok=True)
        write(file, json.dumps({"drains": drains}, indent=1), mode=0o600)


def state_of(drain: Drain) -> State:
    """What the agent wrote down last."""
    return load_state(folder() / f"{drain.token}.json")
