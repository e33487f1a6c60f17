"""What an app and the platform around it said, as far as this person may read it."""

from __future__ import annotations

from django.conf import settings
from django.utils import timezone

from paas.accounts.models import User
from paas.apps.models import App, Role
from paas.apps.selectors import role_in
from runtime.errors import InvalidInput
from runtime.logs.read import AppLogReader, Filter, parse_moment
from runtime.logs.record import Source


def app_log(app: App) -> AppLogReader:
    return AppLogReader(settings.ENV.app_logs / str(app.pk))


def log_filter(
    app: App,
    user: User,
    *,
    source: str = "",
    process: str = "",
    release: str = "",
    since: str = "",
    until: str = "",
    text: str = "",
    is_pattern: bool = False,
) -> Filter:
    """From what people write into fields and options. Raises `InvalidInput`, which says what would do."""
    now = timezone.now()
    number = release.strip().lower().removeprefix("v")
    if number and not (number.isascii() and number.isdigit() and len(number) < 10):
        raise InvalidInput(f"{release[:40]!r} is no release.", hint="Write v12, or 12.", id="invalid_log_filter")
    if source and source not in set(Source):
        raise InvalidInput(
            f"{source[:40]!r} is no source.", hint=f"There are: {', '.join(Source)}.", id="invalid_log_filter"
        )
    wanted = Filter(
        sources=frozenset({Source(source)} if source else ()),
        process=process.strip(),
        release=int(number or 0),
        since=parse_moment(since, now=now) if since.strip() else None,
        until=parse_moment(until, now=now) if until.strip() else None,
        text=text,
        is_pattern=is_pattern,
        without=hidden_processes(app, user),
    )
    wanted.check()
    return wanted


def hidden_processes(app: App, user: User) -> frozenset[str]:
    """A command run by hand may print the config, which a viewer may not see."""
    role = role_in(app, user) or Role.VIEWER
    return frozenset() if role >= Role.OPERATOR else frozenset({"run"})
