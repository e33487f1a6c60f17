"""Lists in parts: `Range: id ]LAST..; order=desc,max=200`, answered by 206 and `Next-Range` while there is more.

Clients send the attribute, the order and how many, and repeat with `Next-Range` as it came until they get a 200.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import Model, QuerySet

from paas.api.auth import ApiRequest
from paas.api.errors import Refusal

Row = TypeVar("Row", bound=Model)
Item = TypeVar("Item")
USUAL, MOST = 200, 1000
HEADER = re.compile(
    r"(?P<by>\w+)\s+(?P<from>[\[\]]?)(?P<first>[^\s;\[\]]*?)\.\.(?P<last>[^\s;\[\]]*)(?P<to>[\[\]]?)\s*(?:;(?P<options>.*))?"
)
OPTION = re.compile(r"(?P<name>max|order)\s*=\s*(?P<value>\w+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Range:
    by: str
    first: str = ""
    without_first: bool = False
    last: str = ""
    without_last: bool = False
    descending: bool = False
    most: int = USUAL

    def __str__(self) -> str:
        start = f"{']' if self.without_first else ''}{self.first}"
        end = f"{self.last}{'[' if self.without_last else ''}"
        return f"{self.by} {start}..{end}; order={'desc' if self.descending else 'asc'},max={self.most}"


def parse_range(header: str, known: Sequence[str]) -> Range:
    """The first of the attributes is meant without a header, and with one of the whole list by an attribute that we
    don't have. Raises `Refusal` with 416."""
    text = header.strip()
    if not text or text.lower().startswith("bytes="):  # for files; RFC 9110 says to ignore it elsewhere
        return Range(known[0])
    found = HEADER.fullmatch(text)
    if found is None:
        raise _unsatisfiable(known)
    options = {each["name"].lower(): each["value"].lower() for each in OPTION.finditer(found["options"] or "")}
    most, order = options.get("max", str(USUAL)), options.get("order", "asc")
    is_number = most.isascii() and most.isdigit() and len(most) < 10 and int(most) > 0
    by, whole = found["by"], not found["first"] and not found["last"]
    if not is_number or order not in {"asc", "desc"} or (by not in known and not whole):
        raise _unsatisfiable(known)
    return Range(
        by if by in known else known[0],
        first=found["first"],
        without_first=found["from"] == "]",
        last=found["last"],
        without_last=found["to"] == "[",
        descending=order == "desc",
        most=min(int(most), MOST),
    )


def page(request: ApiRequest, rows: QuerySet[Row], *, ordered_by: str = "", **unique: str) -> list[Row]:
    """That part of the rows. `unique`: further attributes that a client may order by, each with the field of the same
    values, no two rows having the same: `page(request, app.releases.all(), version="version")`. Without a header they
    are ordered by `ordered_by`, or by id."""
    fields = {"id": "id", **unique}
    asked = _asked(request, fields, ordered_by)
    field = fields[asked.by]
    conditions: dict[str, Any] = {}
    after, before = ("gt", "lt") if not asked.descending else ("lt", "gt")
    if asked.first:
        conditions[f"{field}__{after}{'' if asked.without_first else 'e'}"] = _value(rows, field, asked, asked.first)
    if asked.last:
        conditions[f"{field}__{before}{'' if asked.without_last else 'e'}"] = _value(rows, field, asked, asked.last)
    ordered = rows.filter(**conditions).order_by(f"{'-' if asked.descending else ''}{field}")
    return _answered(request, asked, list(ordered[: asked.most + 1]), lambda row: getattr(row, field))


def page_of(
    request: ApiRequest, items: Sequence[Item], *, ordered_by: str = "", **unique: Callable[[Item], Any]
) -> list[Item]:
    """The same for things that are no rows, by what tells two of them apart: `page_of(request, STACKS, id=…, name=…)`."""
    asked = _asked(request, unique, ordered_by)
    key = unique[asked.by]

    def is_in(item: Item) -> bool:
        value, sign = str(key(item)), -1 if asked.descending else 1
        after = not asked.first or _compared(value, asked.first) * sign >= (1 if asked.without_first else 0)
        before = not asked.last or _compared(value, asked.last) * sign <= (-1 if asked.without_last else 0)
        return after and before

    ordered = sorted(filter(is_in, items), key=lambda item: str(key(item)), reverse=asked.descending)
    return _answered(request, asked, ordered[: asked.most + 1], key)


def _asked(request: ApiRequest, attributes: Any, ordered_by: str) -> Range:
    names = sorted(attributes, key=lambda name: name != ordered_by)  # stable: the usual one first
    request.answer_headers["Accept-Ranges"] = ", ".join(attributes)
    return parse_range(request.headers.get("Range", ""), names)


def _answered(request: ApiRequest, asked: Range, found: list[Item], key: Callable[[Item], Any]) -> list[Item]:
    shown = found[: asked.most]
    if shown:
        request.answer_headers["Content-Range"] = f"{asked.by} {key(shown[0])}..{key(shown[-1])}"
    if len(found) > asked.most:
        request.next_range = str(replace(asked, first=str(key(shown[-1])), without_first=True))
    return shown


def _value(rows: QuerySet[Row], field: str, asked: Range, text: str) -> Any:
    try:
        return rows.model._meta.get_field(field).to_python(text)  # type: ignore[union-attr]  # noqa: SLF001
    except (ValidationError, FieldDoesNotExist):
        raise _unsatisfiable([asked.by]) from None


def _compared(one: str, other: str) -> int:
    return (one > other) - (one < other)


def _unsatisfiable(known: Sequence[str]) -> Refusal:
    return Refusal(
        416,
        "requested_range_not_satisfiable",
        "The header Range can't be understood.",
        hint=f"Write it like this: {known[0]} ..; order=desc,max={USUAL}. Lists here go by {' or '.join(known)}.",
    )
