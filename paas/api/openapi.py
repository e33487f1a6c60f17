"""The OpenAPI 3.1 document of the API: what ninja knows of the views, and what all of them have in common."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, cast

METHODS = ("get", "post", "put", "patch", "delete")
DESCRIPTION = """\
Version 3 of Heroku's Platform API, as far as one machine has what it is about, and what that API has no words for.

Send `Accept: application/vnd.heroku+json; version=3` and a token: `Authorization: Bearer TOKEN`, or Basic with any user
name and the token as the password. Identities in paths are ids or names. Lists come in parts: 206 and `Next-Range`.
Whatever fails has an `id`, a `message`, and in most cases a `code` that docs/reference/errors.md lists.
"""
FAILURE = {
    "type": "object",
    "title": "Failure",
    "description": "Why it was not done. Nothing was changed, unless it says so.",
    "required": ["id", "message"],
    "properties": {
        "id": {"type": "string", "description": "As Heroku's clients know it: not_found, invalid_params …"},
        "message": {"type": "string", "description": "What happened, and what to do next."},
        "resource": {"type": "string", "description": "What was not found."},
        "code": {"type": "string", "description": "What exactly is wrong; it does not change."},
        "hint": {"type": "string", "description": "The part of the message that says what to do next."},
    },
}
RANGE = {
    "in": "header",
    "name": "Range",
    "required": False,
    "schema": {"type": "string"},
    "description": "Which part of the list, in which order: `id ..; order=desc,max=200`.",
    "example": "id ..; max=200",
}
IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "description": "The same key with the same body within a day is carried out once.",
}
NEXT_RANGE = {"schema": {"type": "string"}, "description": "Send it as `Range` for the next part."}
OWN_MODULE = re.compile(r"paas_api_(?:v3|platform)_(\w+)")


@lru_cache(maxsize=1)
def text() -> str:
    """Made once in each process that is asked for it; as text, which takes the least memory."""
    return json.dumps(document(), ensure_ascii=False)


def document() -> dict[str, Any]:
    from paas.api.app import api  # it collects the views, and one of them asks for this

    made = cast("dict[str, Any]", json.loads(json.dumps(api.get_openapi_schema(path_prefix=""))))
    made["info"] |= {"description": DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}}
    made["servers"] = [{"url": "/"}]
    made["components"]["securitySchemes"] = {
        "Bearer": {"type": "http", "scheme": "bearer", "description": "A token: `paas tokens:create`."},
        "Basic": {"type": "http", "scheme": "basic", "description": "Any user name; the token is the password."},
    }
    made["components"]["schemas"]["Failure"] = FAILURE
    made["paths"] = dict(sorted(made["paths"].items()))
    for _, method, operation in operations(made):
        _complete(method, operation)
    made["tags"] = [{"name": name} for name in sorted({tag for *_, each in operations(made) for tag in each["tags"]})]
    return made


def operations(made: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, method, operation)."""
    for path, item in made["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _complete(method: str, operation: dict[str, Any]) -> None:
    operation["operationId"] = OWN_MODULE.sub(r"\1", operation["operationId"])
    operation.setdefault("tags", ["Others"])
    if operation.pop("security", None):
        operation["security"] = [{"Bearer": []}, {"Basic": []}]
    parameters = operation.setdefault("parameters", [])
    answers = operation["responses"]
    shown = answers.get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if method == "get" and shown.get("type") == "array":
        parameters.append(RANGE)
        answers["206"] = {**answers["200"], "description": "There is more", "headers": {"Next-Range": NEXT_RANGE}}
    if method == "post":
        parameters.append(IDEMPOTENCY_KEY)
    failure = {"schema": {"$ref": "#/components/schemas/Failure"}}
    answers["default"] = {"description": "It was not done", "content": {"application/json": failure}}
