"""Who did what: filtered, a page at a time, or exported whole."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from paas.accounts.selectors import browser_in_words
from paas.apps.selectors import audit_events, find_audit_events
from paas.core.audit_export import COLUMNS, as_cells, as_values
from paas.core.models import AuditEvent
from paas.dashboard.requests import current_user
from runtime.errors import InvalidInput

FILTERS = ("app", "actor", "action", "since", "until", "text")
PAGE = 50
CHUNK = 1000
PIECE = 64 * 1024
LONGEST = 80
HASH = re.compile(r"(?:sha256:)?\b([0-9a-f]{40}|[0-9a-f]{64})\b")


@require_GET
@login_required
def audit(request: HttpRequest) -> HttpResponse:
    visible = audit_events(current_user(request))
    problem = ""
    try:
        events = _chosen(request)
    except InvalidInput as exc:
        events, problem = visible.none(), str(exc)
    page = Paginator(events, PAGE).get_page(request.GET.get("page"))
    given = _given(request)
    actions = sorted(set(visible.order_by().values_list("action", flat=True).distinct()))
    query = urlencode(given)
    context = {
        "page": page,
        "rows": [_row(event) for event in page],
        "given": {name: request.GET.get(name, "") for name in FILTERS},
        "is_filtered": bool(given),
        "actions": actions,
        "groups": sorted({action.partition(".")[0] for action in actions}),
        "query": f"{query}&" if query else "",
        "problem": problem,
    }
    return render(request, "dashboard/audit.html", context, status=422 if problem else 200)


@require_GET
@login_required
def export_csv(request: HttpRequest) -> StreamingHttpResponse:
    events = _chosen(request)

    def lines() -> Iterator[str]:
        writer = csv.writer(_Echo())
        yield writer.writerow(COLUMNS)
        for event in events.iterator(chunk_size=CHUNK):
            yield writer.writerow(as_cells(event))

    return _download(lines(), "text/csv; charset=utf-8", "csv")


@require_GET
@login_required
def export_json(request: HttpRequest) -> StreamingHttpResponse:
    events = _chosen(request)

    def parts() -> Iterator[str]:
        before = "[\n"
        for event in events.iterator(chunk_size=CHUNK):
            yield before + json.dumps(as_values(event), ensure_ascii=False)
            before = ",\n"
        yield "[]\n" if before == "[\n" else "\n]\n"

    return _download(parts(), "application/json", "json")


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


def _download(parts: Iterator[str], content_type: str, ending: str) -> StreamingHttpResponse:
    name = f"audit-{timezone.now():%Y-%m-%d}.{ending}"
    return StreamingHttpResponse(
        _in_pieces(parts), content_type=content_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _in_pieces(parts: Iterator[str]) -> Iterator[str]:
    """Many lines at a time: each piece is compressed and sent by itself."""
    waiting, size = [], 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= PIECE:
            yield "".join(waiting)
            waiting, size = [], 0
    yield "".join(waiting)


def _given(request: HttpRequest) -> dict[str, str]:
    return {name: value for name in FILTERS if (value := request.GET.get(name, "").strip())}


def _chosen(request: HttpRequest) -> QuerySet[AuditEvent]:
    """Raises `InvalidInput` for a time that is none."""
    return find_audit_events(audit_events(current_user(request)), **_given(request))


def _row(event: AuditEvent) -> dict[str, Any]:
    facts = list(_facts(event))
    return {"event": event, "facts": facts, "words": [_short(fact) for fact in facts]}


@dataclass(frozen=True, slots=True)
class Fact:
    name: str
    before: str
    after: str


def _facts(event: AuditEvent) -> Iterator[Fact]:
    """A fact for each value that moved, and for each detail; of a mapping, for each of its names."""
    before, after = _flat(event.before or {}), _flat(event.after or {})
    for name in before | after:
        old, new = before.get(name) or "", after.get(name) or ""
        if old or new:
            yield Fact(name.replace("_", " "), old, new)
    yield from (Fact(name.replace("_", " "), "", value) for name, value in _flat(event.detail).items() if value)


def _short(fact: Fact) -> Fact:
    """As much as people compare at a glance."""

    def shorten(text: str) -> str:
        if fact.name == "user agent":
            return browser_in_words(text)
        text = HASH.sub(lambda match: match.group(1)[:12], text)
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"

    return Fact(fact.name, shorten(fact.before) if fact.before else "", shorten(fact.after) if fact.after else "")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name} ")
        else:
            found[prefix + name] = _text(value)
    return found


def _text(value: object) -> str | None:
    match value:
        case None | "" | []:
            return None
        case bool():
            return "yes" if value else "no"
        case str() | int() | float():
            return str(value)
        case list() if all(isinstance(item, str | int) for item in value):
            return ", ".join(map(str, value))
        case _:
            return json.dumps(value, ensure_ascii=False, sort_keys=True)


urlpatterns = [
    path("audit", audit, name="audit"),
    path("audit/export.csv", export_csv, name="audit-csv"),
    path("audit/export.json", export_json, name="audit-json"),
]
