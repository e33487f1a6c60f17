"""What may be a domain or a public port. All raise `InvalidInput`."""

from __future__ import annotations

import ipaddress
import re

from django.conf import settings

from paas.accounts.models import User
from paas.apps.models import App
from paas.releases.models import Release
from runtime.errors import InvalidInput
from runtime.router.api import PortProtocol
from runtime.router.document import normal_host

PROCESS = re.compile(r"[A-Za-z0-9_-]{1,40}")
LOWEST_PORT = 1024  # of public ports: those below belong to the machine
MAX_PORTS = 20
MAX_DOMAINS = 100


def checked_domain(text: str) -> str:
    """In normal form."""
    if len(text) > 300:
        raise InvalidInput("A host name has at most 253 characters.", hint="Shorten it.", id="bad_host")
    name = normal_host(text)
    bare = name.removeprefix("*.")
    if "." not in bare or _is_address(bare):
        raise InvalidInput(
            f"{bare!r} can't be a domain.",
            hint="Give a whole host name, such as shop.example.com or *.example.com.",
            id="bad_host",
        )
    platform = settings.ENV.domain
    if bare == platform or bare.endswith(f".{platform}"):
        raise InvalidInput(
            f"{name} is one of the platform's own names.",
            hint=f"Apps have their name below {platform} already; add a domain of your own.",
            id="reserved_domain",
        )
    return name


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return text.rpartition(".")[2].isdigit()
    return True


def checked_process(app: App, release: Release | None, process: str) -> str:
    """One of the app's process types; before the first deploy any that could become one."""
    known = release.process_types if release is not None and release.image is not None else None
    names = sorted(known or {"web": ""})
    if not PROCESS.fullmatch(process) or (known is not None and process not in names):
        raise InvalidInput(
            f"{app.name} has no process type {process[:40]!r}.",
            hint=f"It has: {', '.join(names)}.",
            id="unknown_process_type",
        )
    return process


def checked_port(port: int) -> int:
    if not 1 <= port <= 65535:
        raise InvalidInput(f"{port} is no port.", hint="Choose 1 to 65535.", id="invalid_port")
    return port


def checked_public_port(port: int, *, by: User) -> int:
    """Of the platform's range; an admin may give any other that is not the machine's own."""
    low, high = port_range()
    if low <= port <= high:
        return port
    if not by.is_admin:
        raise InvalidInput(
            f"The public port {port} is not one of {low} to {high}.",
            hint="Choose one of these, or ask an admin of the platform for another.",
            id="invalid_port",
        )
    if not LOWEST_PORT <= port <= 65535:
        raise InvalidInput(f"{port} can't be a public port.", hint=f"Choose {LOWEST_PORT} to 65535.", id="invalid_port")
    return port


def port_range() -> tuple[int, int]:
    span: tuple[int, int] | None = settings.ENV.port_range
    if span is None:
        raise InvalidInput(
            "This platform serves no TCP and UDP ports.",
            hint="An admin can start it anew with PAAS_PORT_RANGE set.",
            id="ports_off",
        )
    return span


def checked_protocol(text: str) -> PortProtocol:
    try:
        return PortProtocol(text.lower())
    except ValueError:
        raise InvalidInput(
            f"{text[:20]!r} is no protocol for a public port.",
            hint="Choose tcp or udp; HTTP reaches the web process by its host names.",
            id="invalid_protocol",
        ) from None
