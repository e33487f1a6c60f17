"""Log sessions of the API: a choice of lines, kept under a secret that is part of an address. Whoever has the address may
read, as long as the person it was made for may; it is forgotten when nobody has read for a few minutes.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from uuid import UUID

from paas.accounts.models import ApiToken, User
from paas.accounts.services import hash_token
from paas.apps.models import App
from paas.apps.selectors import apps_visible_to
from paas.core import redis
from paas.logs.selectors import log_filter
from runtime.errors import NotFound
from runtime.logs.read import Filter
from runtime.logs.record import Source

SECONDS = 300
MOST_LINES = 1500
# What Heroku calls its own: requests, and what the platform did.
OURS = frozenset({Source.ROUTER, Source.PLATFORM})


@dataclass(frozen=True, slots=True)
class Choice:
    lines: int = 100
    tail: bool = False
    process: str = ""  # a process type or an instance; "router" for requests
    source: str = ""  # "app", "router", "platform", or any other word for the last two
    release: str = ""
    since: str = ""
    until: str = ""
    text: str = ""
    is_pattern: bool = False


def open_session(app: App, choice: Choice, *, by: User, token: ApiToken) -> str:
    """The secret. Raises `InvalidInput`."""
    _filter(app, by, choice)
    secret = secrets.token_hex(32)
    kept = {"app": str(app.pk), "user": str(by.pk), "token": str(token.pk), "choice": asdict(choice)}
    redis.client().set(_key(secret), json.dumps(kept), ex=SECONDS)
    return secret


def session_grant(secret: str) -> Mapping[str, object]:
    """What the streams process reads for it. Raises `NotFound` when it is over, or its person may not see the app now."""
    text = redis.client().getex(_key(secret), ex=SECONDS)
    if text is None:
        raise _over()
    kept = json.loads(str(text))
    user = User.objects.filter(pk=UUID(kept["user"]), is_active=True).first()
    token = ApiToken.objects.filter(pk=UUID(kept["token"]), user=user).first()
    if user is None or token is None or token.is_expired:
        raise _over()
    app = apps_visible_to(user).filter(pk=UUID(kept["app"])).first()
    if app is None:
        raise _over()
    choice = Choice(**kept["choice"])
    return {
        "kind": "session",
        "app": str(app.pk),
        "filter": _filter(app, user, choice).dump(),
        "lines": choice.lines,
        "tail": choice.tail,
    }


def _filter(app: App, user: User, choice: Choice) -> Filter:
    is_router = choice.process == "router"
    wanted = log_filter(
        app,
        user,
        process="" if is_router else choice.process,
        release=choice.release,
        since=choice.since,
        until=choice.until,
        text=choice.text,
        is_pattern=choice.is_pattern,
    )
    if is_router:
        return replace(wanted, sources=frozenset({Source.ROUTER}))
    if choice.source in list(Source):
        return replace(wanted, sources=frozenset({Source(choice.source)}))
    return replace(wanted, sources=OURS) if choice.source else wanted


def _over() -> NotFound:
    return NotFound("This log session is over.", hint="Open another one.", id="log_session_over")


def _key(secret: str) -> str:
    return f"paas:log-session:{hash_token(secret)}"
