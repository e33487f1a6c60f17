"""Whether an answer of the API is what Heroku's own clients were made for: the official hyper-schemas, as an oracle.

They are draft 4 in a dialect of their own: `strictProperties` says that an object has all of its listed properties and no
others. Which of the two documents applies depends on the variant that the client accepts. They are in tests/data/heroku.
"""

from __future__ import annotations

import functools
import json
import operator
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from jsonschema import Draft4Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

FOLDER = Path(__file__).resolve().parents[3] / "data" / "heroku"
DOCUMENTS = {"3": "schema-v3.json", "3.sdk": "schema-v3-sdk.json"}

VERSION = re.compile(r"^application/vnd\.heroku\+json\s*;\s*version=3(?P<variant>\.\w[\w-]*)?\s*$")
PARAMETER = re.compile(r"\{[^}]*\}")
# Rules that allow nothing but Heroku's own host names and data centres, and one that no host name fits.
PINNED = {
    ("app", "git_url"): "pattern",
    ("app", "web_url"): "pattern",
    ("domain", "hostname"): "format",
    ("region", "provider"): "properties.region.enum",
}
ERROR = {"id", "message"}
ERROR_MAY_HAVE = {"url", "resource", "app", "code", "hint"}  # the last two are ours

FORMATS = {
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),  # UTC, to the second: what the clients were made for
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "email": re.compile(r"[^@\s]+@[^@\s]+"),
    "uri": re.compile(r"[a-z][a-z0-9+.-]*://\S+"),
    "ipv4": re.compile(r"\d{1,3}(\.\d{1,3}){3}"),
}
formats = FormatChecker(formats=())


def _fits(pattern: re.Pattern[str], value: object) -> bool:
    return not isinstance(value, str) or pattern.fullmatch(value) is not None


for _name, _pattern in FORMATS.items():
    formats.checks(_name)(functools.partial(_fits, _pattern))


class NonconformingAnswer(AssertionError):
    """An answer that the official clients may not understand."""


@dataclass(frozen=True)
class Link:
    """One endpoint of a document."""

    name: str
    method: str
    path: re.Pattern[str]
    literal_characters: int
    validator: Draft4Validator | None


def check(method: str, path: str, accept: str, status: int, body: object) -> bool:
    """Raise if the answer isn't as documented; False if no schema describes it. `body` is bytes, or parsed JSON."""
    where = f"{method} {path} [{accept}] -> {status}"
    if status in {204, 304}:
        if body:
            raise NonconformingAnswer(f"{where}: an answer with this status has no body, this one has {body!r}")
        return True
    if isinstance(body, bytes):
        body = _parse(where, body)
    if status >= 400:
        return _check_error(where, body)
    link = _find(method.upper(), urlsplit(path).path, accept)
    if link is None or link.validator is None:
        return False
    faults = sorted(link.validator.iter_errors(body), key=lambda fault: list(map(str, fault.absolute_path)))
    if faults:
        lines = "\n".join(f"  {line}" for fault in faults[:12] for line in _explain(fault))
        raise NonconformingAnswer(f"{where} is no {link.name} of the official schema:\n{lines}")
    return True


def _parse(where: str, body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        raise NonconformingAnswer(f"{where}: the body is not JSON: {body[:200]!r}") from None


def _check_error(where: str, body: object) -> bool:
    if not isinstance(body, dict):
        raise NonconformingAnswer(f"{where}: an error is an object with id and message, not {body!r}")
    faults = [f"  {name}: is missing" for name in sorted(ERROR - body.keys())]
    faults += [f"  {name}: is not a property of an error" for name in sorted(body.keys() - ERROR - ERROR_MAY_HAVE)]
    faults += [
        f"  {name}: {value!r} is not text" for name, value in body.items() if name in ERROR and not _is_text(value)
    ]
    if not faults and not re.fullmatch(r"[a-z][a-z0-9_]*", str(body["id"])):
        faults.append(f"  id: {body['id']!r} is not like_this")
    if faults:
        raise NonconformingAnswer(f"{where} is no proper error:\n" + "\n".join(faults))
    return True


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _explain(fault: ValidationError) -> list[str]:
    """One line for each thing that is wrong, led by where it is in the answer."""
    at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault.absolute_path).lstrip(".")
    names = {".".join(filter(None, (at, name))) for name in _names(fault)}
    match fault.validator:
        case "required":
            return [f"{name}: is missing" for name in sorted(names)]
        case "additionalProperties":
            return [f"{name}: is not in the schema" for name in sorted(names)]
        case "type":
            return [
                f"{at or 'the answer'}: {_short(fault.instance)} is not {' or '.join(_as_list(fault.validator_value))}"
            ]
        case "enum":
            return [f"{at}: {_short(fault.instance)} is none of {', '.join(map(str, fault.validator_value))}"]
        case "format" | "pattern":
            return [f"{at}: {_short(fault.instance)} does not have the {fault.validator} {fault.validator_value}"]
    return [f"{at or 'the answer'}: {fault.message[:300]}"]


def _names(fault: ValidationError) -> set[str]:
    """The properties that a fault is about. jsonschema reports the missing ones one by one, the extra ones together."""
    if fault.validator == "required":
        return {name for name in fault.validator_value if fault.message.startswith(repr(name))}
    if fault.validator == "additionalProperties":
        known = fault.schema.get("properties", {})
        patterns = list(fault.schema.get("patternProperties", {}))
        return {n for n in fault.instance if n not in known and not any(re.search(p, n) for p in patterns)}
    return set()


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


# Finding the endpoint


def _find(method: str, path: str, accept: str) -> Link | None:
    found = VERSION.match(accept)
    variant = f"3{(found and found['variant']) or ''}"
    first = "3.sdk" if variant == "3.sdk" else "3"
    for document in (first, *(DOCUMENTS.keys() - {first})):  # a few endpoints are described by one of them alone
        candidates = [link for link in _links(document) if link.method == method and link.path.fullmatch(path)]
        if candidates:
            return max(candidates, key=lambda link: link.literal_characters)
    return None


@functools.cache
def _links(variant: str) -> tuple[Link, ...]:
    document = json.loads((FOLDER / DOCUMENTS[variant]).read_text())
    described = [
        (name, link) for name, definition in document["definitions"].items() for link in definition.get("links", ())
    ]
    del document["id"], document["links"]
    for (name, field), rule in PINNED.items():
        *path, last = rule.split(".")
        holder = functools.reduce(operator.getitem, path, document["definitions"][name]["definitions"][field])
        del holder[last]
    targets = [link.get("targetSchema") for _, link in described]
    document["targets"] = {str(number): target for number, target in enumerate(targets) if target is not None}
    base = f"urn:platform-api:{variant}"
    resource = Resource.from_contents(_in_plain_draft_4(document), default_specification=DRAFT4)
    registry: Registry[Any] = Registry().with_resource(base, resource)

    links = []
    for number, (name, link) in enumerate(described):
        href = unquote(link["href"])
        validator = None
        if targets[number] is not None:
            target = {"$ref": f"{base}#/targets/{number}"}
            validator = Draft4Validator(target, registry=registry, format_checker=formats)
        links.append(
            Link(
                name=name if link.get("rel") != "instances" else f"list of {name}",
                method=link["method"].upper(),
                path=_pattern_of(href),
                literal_characters=len(PARAMETER.sub("", href)),
                validator=validator,
            )
        )
    return tuple(links)


def _pattern_of(href: str) -> re.Pattern[str]:
    """The last identity may hold slashes: a log drain is named by its whole address."""
    fixed = [re.escape(part) for part in PARAMETER.split(href)]
    pattern = "([^/]+)".join(fixed)
    if href.endswith("}") and "/log-drains/" in href:
        pattern = f"{pattern.removesuffix('([^/]+)')}(.+)"
    return re.compile(pattern)


def _in_plain_draft_4(schema: Any) -> Any:
    """The dialect's own words in those that jsonschema knows."""
    if isinstance(schema, list):
        return [_in_plain_draft_4(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _in_plain_draft_4(value) for key, value in schema.items() if key != "$schema"}
    if plain.pop("strictProperties", False) is True and "properties" in plain:
        plain |= {"required": sorted(plain["properties"]), "additionalProperties": False}
    return plain
