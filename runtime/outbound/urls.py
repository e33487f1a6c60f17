"""Addresses as people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from runtime.errors import InvalidInput

MAX_URL = 2000
_HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,253}")


@dataclass(frozen=True, slots=True)
class Target:
    scheme: str
    host: str
    port: int
    path: str  # with the query
    user: str = ""
    password: str = ""

    @property
    def is_encrypted(self) -> bool:
        return self.scheme in {"https", "syslog+tls"}


PORTS = {"https": 443, "http": 80, "syslog": 514, "syslog+tls": 6514}


def parse_url(text: str, schemes: tuple[str, ...] = ("https", "http")) -> Target:
    """Raises `InvalidInput`, which says what would do."""
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    example = f"{schemes[0]}://hooks.example.com" + ("/paas" if schemes[0].startswith("http") else ":6514")
    bad = InvalidInput(
        f"{shown_url(text)[:100]!r} is no address we can send to.",
        hint=f"Write a URL that begins with {wanted}, such as {example}.",
        id="invalid_url",
    )
    if len(text) > MAX_URL or not text.isascii() or not text.isprintable() or any(each in text for each in ' "<>\\^`{|}'):
        raise bad
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise bad from exc
    host = parts.hostname or ""
    if parts.scheme not in schemes or not _HOST.fullmatch(host) or parts.fragment or port == 0:
        raise bad
    return Target(
        scheme=parts.scheme,
        host=host,
        port=port or PORTS[parts.scheme],
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def shown_url(text: str) -> str:
    """Without the password, for people."""
    return re.sub(r"(://[^/@:\s]*):[^/@\s]*@", r"\1:••••••@", text)
