"""What a webhook, a channel or a drain may be; how often something is tried again. Nothing here reads or writes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import random
import re
from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings

from paas.core.events import Include
from paas.core.models import Event
from paas.hooks.models import Level
from runtime.errors import InvalidInput
from runtime.outbound.addresses import Guard
from runtime.outbound.connect import refused
from runtime.outbound.urls import Target, parse_url

# The pauses between ten tries: a day, less the last pause.
PAUSES = (10, 60, 300, 900, 3600, 2 * 3600, 4 * 3600, 6 * 3600, 6 * 3600)
MAX_TRIES = len(PAUSES) + 1
LIFETIME = timedelta(hours=24)
# So many in place; then a receiver that answers, and does not want this one, gets the next.
TRIES_IN_PLACE = 3
MAX_FAILURES = 20
ABSENT = frozenset({408, 425, 429, 502, 503, 504})  # as good as no answer
MAX_WEBHOOKS = 20
HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,998}[\x21-\x7e])?")
# What Heroku's clients may ask for and we have nothing to say of.
SILENT = frozenset({"api:addon", "api:addon-attachment", "api:collaborator", "api:dyno", "api:sni-endpoint"})


def guard() -> Guard:
    return Guard(settings.ENV.hooks_allow)


def checked_target(url: str, schemes: Sequence[str] = ("https", "http")) -> Target:
    """Raises `InvalidInput`. What a name leads to is looked at when it is used; a plain address already now."""
    target = parse_url(url, tuple(schemes))
    try:
        ipaddress.ip_address(target.host)
    except ValueError:
        return target
    if not guard().permits(target.host):
        told = refused(target.host)
        raise InvalidInput(told.message, hint=told.hint, id="address_refused")
    return target


def checked_include(include: Collection[str]) -> list[str]:
    """Raises `InvalidInput`. Sorted, each once."""
    known = {*Include, *SILENT}
    strange = sorted(set(include) - known)
    if strange or not include:
        what = f"{strange[0][:40]!r} is nothing that happens here." if strange else "A webhook is told of something."
        raise InvalidInput(what, hint=f"Choose from: {', '.join(sorted(Include))}.", id="invalid_include")
    return sorted(set(include))


def checked_level(level: str) -> Level:
    if level not in set(Level):
        raise InvalidInput(
            f"{level[:40]!r} is no level.", hint="notify: one try. sync: until it arrives.", id="invalid_level"
        )
    return Level(level)


def checked_header(name: str, value: str) -> str:
    if not HEADER_VALUE.fullmatch(value):
        raise InvalidInput(
            f"{name} can't be sent in a header.",
            hint="Use up to 1000 plain characters, on one line.",
            id="invalid_header",
        )
    return value


def pause(tries: int, *, jitter: float | None = None) -> timedelta:
    """After so many tries. A tenth more or less, so that those who failed together don't come back together."""
    seconds = PAUSES[min(max(tries, 1), len(PAUSES)) - 1]
    return timedelta(seconds=seconds * (random.uniform(0.9, 1.1) if jitter is None else jitter))  # noqa: S311


def actor_of(event: Event) -> dict[str, str]:
    """Who did it; the platform itself where nobody did."""
    if event.actor_id is None:
        return {"email": f"paas@{settings.ENV.domain}", "id": str(UUID(int=0))}
    return {"email": event.actor_email, "id": str(event.actor_id)}


def signature(secret: str, body: bytes) -> str:
    """As Heroku makes it: HMAC-SHA256 of the body, base64."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def timed_signature(secret: str, timestamp: str, body: bytes) -> str:
    """Of the time as well, so that an old request can't be sent again as a new one."""
    return signature(secret, timestamp.encode() + b"." + body)


def drain_digest(url: str) -> str:
    """To find a drain by its URL, which is encrypted."""
    return hashlib.sha256(url.encode()).hexdigest()
