"""Audit events for spreadsheets and programs."""

from __future__ import annotations

import json
from typing import Any

from paas.core.models import AuditEvent

COLUMNS = (
    "at", "actor", "door", "address", "action", "app", "app_id", "before", "after", "detail", "request_id",
)  # fmt: skip
# A spreadsheet takes a cell that begins so for a formula, and runs it.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def as_values(event: AuditEvent) -> dict[str, Any]:
    return {
        "at": event.at.isoformat(),
        "actor": event.actor_email or None,
        "door": event.door,
        "address": event.address or None,
        "action": event.action,
        "app": event.app_name or None,
        "app_id": str(event.app_id) if event.app_id else None,
        "before": event.before,
        "after": event.after,
        "detail": event.detail,
        "request_id": event.request_id or None,
    }


def as_cells(event: AuditEvent) -> list[str]:
    """For CSV; what a spreadsheet would run as a formula begins with an apostrophe."""
    return [_cell(value) for value in as_values(event).values()]


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
