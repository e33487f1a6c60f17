"""The OpenAPI document as a page for people: one file, no script, nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string

from paas.api.openapi import document, operations

POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
STYLES = ("tokens", "base", "components", "utilities", "reference")
FONTS = re.compile(r"\s*@font-face \{.*?\n  \}", re.DOTALL)  # they are the dashboard's; here the system's will do
DEEPEST = 3


@dataclass(frozen=True, slots=True)
class Field:
    """One line of what comes in or goes out. `depth`: how far inside."""

    name: str
    kind: str
    text: str
    depth: int
    is_required: bool


@dataclass(frozen=True, slots=True)
class Operation:
    anchor: str
    method: str
    path: str
    text: str
    parameters: Sequence[Field]
    body: Sequence[Field]
    status: str
    answer: Sequence[Field]
    answer_kind: str


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    anchor: str
    operations: Sequence[Operation]


@lru_cache(maxsize=1)
def page() -> str:
    made = document()
    groups: dict[str, list[Operation]] = {}
    for path, method, each in operations(made):
        groups.setdefault(each["tags"][0], []).append(_operation(made, path, method, each))
    shown = [Group(name, f"group-{_anchor(name)}", found) for name, found in sorted(groups.items())]
    count = sum(len(group.operations) for group in shown)
    return render_to_string(
        "api/reference.html", {"groups": shown, "count": count, "text": made["info"]["description"].split("\n\n")}
    )


@lru_cache(maxsize=1)
def style() -> str:
    folder = Path(settings.BASE_DIR) / "static" / "css"
    return "\n".join(FONTS.sub("", (folder / f"{name}.css").read_text()) for name in STYLES)


def _operation(made: dict[str, Any], path: str, method: str, each: dict[str, Any]) -> Operation:
    status, answer = next(iter(each["responses"].items()))
    shown = answer.get("content", {})
    media_type, content = next(iter(shown.items())) if shown else ("", {})
    schema = content.get("schema", {})
    body = each.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return Operation(
        anchor=_anchor(each["operationId"]),
        method=method.upper(),
        path=path,
        text=each.get("description", ""),
        parameters=[
            Field(
                parameter["name"],
                f"{_kind(made, parameter['schema'])}, {parameter['in']}",
                parameter.get("description", ""),
                0,
                parameter.get("required", False),
            )
            for parameter in each["parameters"]
            if parameter["in"] != "header"
        ],
        body=list(_fields(made, body)),
        status=status,
        answer=list(_fields(made, schema)),
        answer_kind=_kind(made, schema) if media_type == "application/json" else media_type,
    )


def _anchor(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower())


def _resolved(made: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Without the way there: references followed, lists entered, null left out, the first of several."""
    while True:
        if "$ref" in schema:
            found: dict[str, Any] = made["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            schema = found
        elif schema.get("type") == "array":
            schema = schema.get("items", {})
        elif schema.get("anyOf"):
            schema = next((each for each in schema["anyOf"] if each.get("type") != "null"), {})
        else:
            return schema


def _fields(made: dict[str, Any], schema: dict[str, Any], depth: int = 0) -> Iterator[Field]:
    whole = _resolved(made, schema)
    for name, inner in whole.get("properties", {}).items():
        is_required = name in whole.get("required", ())
        yield Field(name, _kind(made, inner), inner.get("description", ""), depth, is_required)
        if depth + 1 < DEEPEST:
            yield from _fields(made, inner, depth + 1)


def _kind(made: dict[str, Any], schema: dict[str, Any]) -> str:
    """`text`, `list of number`, `object or null`."""
    if "$ref" in schema:
        return _kind(made, made["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(made, each) for each in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return " or ".join(str(value) for value in schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "array":
            return f"list of {_kind(made, schema.get('items', {}))}"
        case "string":
            words = {"uuid": "id", "date-time": "time"}
            return words.get(schema.get("format", ""), "text")
        case "integer" | "number":
            return "number"
        case "boolean":
            return "true or false"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"object of {_kind(made, schema['additionalProperties'])}"
        case "null":
            return "null"
        case "object":
            return "object"
        case _:
            return "anything"
