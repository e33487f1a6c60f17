"""A route as the JSON document that is kept in a file and pushed into nginx's memory; and what may be in one.

The same rules are checked again in `lua/router.lua`, which trusts no file.
"""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any

from runtime.errors import InvalidInput, RouterError
from runtime.router.api import Binding, PortProtocol, Route, RouteState

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# They belong to a connection or frame the body: set by us, they would break answers.
HOP_HEADERS = frozenset(
    ("connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "x-request-id")
)
MAX_TIMEOUT_SECONDS = 86_400
MAX_PAGE_BYTES = 64 * 1024


def normal_host(text: str) -> str:
    """`Bücher.Example.` -> `xn--bcher-kva.example`. A leading `*.` stands for every name below. Raises `InvalidInput`."""
    name = text.strip().removesuffix(".")
    wildcard = name.startswith("*.")
    name = name.removeprefix("*.")
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError as exc:
            raise _bad_host(text) from exc
    name = ("*." if wildcard else "") + name.lower()
    if not is_host(name):
        raise _bad_host(text)
    return name


def _bad_host(text: str) -> InvalidInput:
    return InvalidInput(
        f"{text[:100]!r} is not a host name.",
        hint="Use letters, digits and hyphens between dots, such as shop.example.com.",
        id="bad_host",
    )


def is_host(name: str) -> bool:
    """Whether it is a host name in normal form."""
    return len(name) <= 253 and all(LABEL.fullmatch(label) for label in name.removeprefix("*.").split("."))


def is_address(text: str) -> bool:
    """ "10.0.0.2:8000" or "[fd00::2]:8000"."""
    ip, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        return False
    try:
        if ip.startswith("[") and ip.endswith("]"):
            return "%" not in ip and ipaddress.IPv6Address(ip[1:-1]) is not None
        return ipaddress.IPv4Address(ip) is not None
    except ValueError:
        return False


def check(route: Route) -> None:
    """Raises `RouterError` with id "bad_route"."""
    problem = _problem(route)
    if problem:
        raise RouterError(f"The route of {route.app[:63]!r} is no good: {problem}.", id="bad_route")


def _problem(route: Route) -> str:
    if not SLUG.fullmatch(route.app):
        return "the app's name"
    for host in route.hosts:
        if not is_host(host):
            return f"the host {host[:100]!r}"
    for address in route.addresses:
        if not is_address(address):
            return f"the address {address[:100]!r}"
    if not 1 <= route.timeout_seconds <= MAX_TIMEOUT_SECONDS:
        return f"a timeout of {route.timeout_seconds} s"
    if not 0 <= route.max_body_bytes < 2**53:
        return f"a body limit of {route.max_body_bytes} bytes"
    for name, value in route.headers.items():
        if not HEADER_NAME.fullmatch(name) or name.lower() in HOP_HEADERS or CONTROL.search(value):
            return f"the header {name[:100]!r}"
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"the header {name[:100]!r}"
    try:
        if len(route.page.encode()) > MAX_PAGE_BYTES:
            return f"a page of more than {MAX_PAGE_BYTES} bytes"
    except UnicodeEncodeError:
        return "the page"
    return ""


def check_binding(binding: Binding) -> None:
    """Raises `RouterError` with id "bad_binding"."""
    problem = ""
    if not SLUG.fullmatch(binding.app):
        problem = "the app's name"
    elif not 1 <= binding.port <= 65535:
        problem = f"the port {binding.port}"
    else:
        problem = next((f"the address {each[:100]!r}" for each in binding.addresses if not is_address(each)), "")
    if problem:
        raise RouterError(f"The binding of {binding.app[:63]!r} is no good: {problem}.", id="bad_binding")


def dump_binding(binding: Binding) -> bytes:
    """Raises `RouterError` with id "bad_binding"."""
    check_binding(binding)
    document = {"app": binding.app, "to": list(binding.addresses)}
    return json.dumps(document, separators=(",", ":")).encode()


def load_binding(protocol: PortProtocol, port: int, content: bytes) -> Binding:
    """Raises ValueError for a broken file."""
    try:
        document = json.loads(content)
        binding = Binding(str(document["app"]), protocol, port, tuple(document["to"]))
        check_binding(binding)
    except (ValueError, KeyError, TypeError, AttributeError, RouterError) as exc:
        raise ValueError(f"{protocol} {port}: {exc}") from exc
    return binding


def dump(route: Route) -> bytes:
    """Raises `RouterError` with id "bad_route"."""
    check(route)
    document = {
        "app": route.app,
        "hosts": list(dict.fromkeys(route.hosts)),
        "state": route.state.value,
        "to": list(route.addresses),
        "timeout": route.timeout_seconds,
        "body": route.max_body_bytes,
        "headers": dict(route.headers),
        "buffered": route.buffered,
        "https": route.force_https,
    }
    if route.page:
        document["page"] = route.page
    return json.dumps(document, separators=(",", ":")).encode()


def load(document: dict[str, Any]) -> Route:
    return Route(
        app=document["app"],
        hosts=tuple(document["hosts"]),
        state=RouteState(document["state"]),
        addresses=tuple(document["to"]),
        timeout_seconds=document["timeout"],
        max_body_bytes=document["body"],
        headers=dict(document["headers"]),
        buffered=document["buffered"],
        force_https=document["https"],
        page=document.get("page", ""),
    )


def normal(route: Route) -> Route:
    """The route as it comes back from a router: equal routes compare equal."""
    return load(json.loads(dump(route)))
