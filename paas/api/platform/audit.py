"""Who did what: filtered, in parts, or all of it as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from ninja import Router

from paas.accounts.models import Scope
from paas.api.auth import ApiRequest, TokenAuth
from paas.api.ranges import page
from paas.api.schemas import Answer
from paas.apps.selectors import audit_events, find_audit_events
from paas.core.audit_export import COLUMNS, as_cells, as_values
from paas.core.models import AuditEvent

router = Router(tags=["Audit"], auth=TokenAuth(reading=Scope.GLOBAL))
CHUNK = 1000
CSV = {"responses": {200: {"description": "OK", "content": {"text/csv": {"schema": {"type": "string"}}}}}}


class AuditEventAnswer(Answer):
    """`before` and `after` have the same names: those that moved. Secrets are masked in both."""

    id: int
    at: str
    actor: str | None
    door: str
    address: str | None
    action: str
    app: str | None
    app_id: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    detail: dict[str, Any]
    request_id: str | None


@router.get("/audit-events", response=list[AuditEventAnswer])
def list_events(
    request: ApiRequest,
    *,
    app: str = "",
    actor: str = "",
    action: str = "",
    since: str = "",
    until: str = "",
    text: str = "",
) -> list[AuditEventAnswer]:
    """Newest first with `Range: id ..; order=desc,max=50`. `action` may be the first part of one: release. Admins
    see everything, others what happened to the apps they own and what they did themselves."""
    visible = audit_events(request.user)
    rows = page(
        request, find_audit_events(visible, app=app, actor=actor, action=action, since=since, until=until, text=text)
    )
    return [AuditEventAnswer(id=event.pk, **as_values(event)) for event in rows]


@router.get("/audit-events.csv", openapi_extra=CSV)
def export_events(
    request: ApiRequest,
    *,
    app: str = "",
    actor: str = "",
    action: str = "",
    since: str = "",
    until: str = "",
    text: str = "",
) -> StreamingHttpResponse:
    """All of them, newest first, for a spreadsheet."""
    visible = audit_events(request.user)
    events = find_audit_events(visible, app=app, actor=actor, action=action, since=since, until=until, text=text)
    return StreamingHttpResponse(_lines(events), content_type="text/csv; charset=utf-8")


def _lines(events: QuerySet[AuditEvent]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for number, event in enumerate(events.iterator(chunk_size=CHUNK), start=1):
        writer.writerow(as_cells(event))
        if number % CHUNK == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()
