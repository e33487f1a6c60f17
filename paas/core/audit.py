"""Record one audit event for each change. The door (cli, git, dashboard, system) is bound at the edge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

import structlog

from paas.core.models import AuditEvent

_door: ContextVar[str] = ContextVar("door", default="system")
_request_id: ContextVar[str] = ContextVar("request_id", default="")


@contextmanager
def through(door: str, request_id: str = "") -> Iterator[None]:
    """Everything inside came through this door."""
    tokens = _door.set(door), _request_id.set(request_id)
    with structlog.contextvars.bound_contextvars(**({"request_id": request_id} if request_id else {})):
        try:
            yield
        finally:
            _door.reset(tokens[0])
            _request_id.reset(tokens[1])


def door() -> str:
    """Through which door the present work came: cli, web, git …"""
    return _door.get()


def record(action: str, *, by: Any, app_id: UUID | None = None, app_name: str = "", **detail: Any) -> AuditEvent:
    return AuditEvent.objects.create(
        actor=by,
        door=_door.get(),
        action=action,
        app_id=app_id,
        app_name=app_name,
        request_id=_request_id.get(),
        detail=detail,
    )
