"""Record one audit event for each change. The door (cli, git, ssh, dashboard, system) is bound at the edge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from paas.core.applog import say_event
from paas.core.models import AuditEvent

MASK = "••••••"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a change comes from."""

    door: str = "system"
    request_id: str = ""
    address: str = ""


_origin: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039  # frozen


@contextmanager
def through(door: str, request_id: str = "", address: str = "") -> Iterator[None]:
    """Everything inside came through this door."""
    token = _origin.set(Origin(door, request_id, address))
    with structlog.contextvars.bound_contextvars(**({"request_id": request_id} if request_id else {})):
        try:
            yield
        finally:
            _origin.reset(token)


@contextmanager
def resumed(action: str, *, app_id: UUID, **detail: Any) -> Iterator[None]:
    """For a worker that goes on with what an event began: it came through the same door, from the same place."""
    known = {f"detail__{name}": value for name, value in detail.items()}
    began = AuditEvent.objects.filter(action=action, app_id=app_id, **known).first()
    origin = Origin(began.door, began.request_id, began.address) if began else _origin.get()
    with through(origin.door, origin.request_id, origin.address):
        yield


def door() -> str:
    """Through which door the present work came: cli, dashboard, git …"""
    return _origin.get().door


def record(
    action: str,
    *,
    by: Any,
    app_id: UUID | None = None,
    app_name: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    **detail: Any,
) -> AuditEvent:
    """`before` and `after`: what moved, by the same names, secrets through `masked`. `detail`: what tells it apart."""
    origin = _origin.get()
    email = getattr(by, "email", "")
    words = [action, app_name, email, *_words(before), *_words(after), *_words(detail)]
    if app_id is not None:
        say_event(action, by=by, app_id=app_id, app_name=app_name, detail=detail)
    return AuditEvent.objects.create(
        actor=by,
        actor_email=email,
        door=origin.door,
        address=origin.address,
        action=action,
        app_id=app_id,
        app_name=app_name,
        request_id=origin.request_id,
        before=None if before is None else dict(before),
        after=None if after is None else dict(after),
        detail=detail,
        text=" ".join(filter(None, words)).lower()[:4000],
    )


def masked(names: Iterable[str]) -> dict[str, str]:
    """For `before` and `after` of secrets: that there is a value, not which."""
    return dict.fromkeys(sorted(names), MASK)


def forget_before(moment: datetime) -> int:
    """Drop what is older: the only way events ever go, and only all of a time at once."""
    old = AuditEvent.objects.filter(at__lt=moment)
    return old._raw_delete(old.db)  # noqa: SLF001  # the queryset's own delete() refuses on purpose


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name)
            yield from _words(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _words(inner)
    elif value is not None and value != MASK:
        yield str(value)
