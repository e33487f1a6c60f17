"""What views ask of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from django.http import HttpRequest, QueryDict

from paas.accounts.models import User
from paas.apps.models import App, Role
from paas.apps.selectors import role_in
from paas.metrics.selectors import WINDOWS, Window


def current_user(request: HttpRequest) -> User:
    """Whoever is signed in. For views behind `login_required`."""
    assert isinstance(request.user, User)
    return request.user


@dataclass(frozen=True, slots=True)
class Access:
    """What to offer: buttons that would be refused are not drawn. The views decide by `get_app`, whatever was drawn."""

    role: Role

    @property
    def can_operate(self) -> bool:
        return self.role >= Role.OPERATOR

    @property
    def can_develop(self) -> bool:
        return self.role >= Role.DEVELOPER

    @property
    def can_own(self) -> bool:
        return self.role >= Role.OWNER


def access_to(app: App, user: User) -> Access:
    return Access(role_in(app, user) or Role.VIEWER)


class LogFields(TypedDict):
    source: str
    process: str
    release: str
    since: str
    until: str
    text: str
    is_pattern: bool


def log_fields(given: QueryDict) -> LogFields:
    """The fields of the form that filters a log, for `paas.logs.selectors.log_filter`."""
    return {
        "source": given.get("source", ""),
        "process": given.get("process", ""),
        "release": given.get("release", ""),
        "since": given.get("since", ""),
        "until": given.get("until", ""),
        "text": given.get("q", ""),
        "is_pattern": given.get("regex") == "1",
    }


def window_of(request: HttpRequest) -> Window:
    """The stretch of time that charts are asked for; the last hour when it is none of ours."""
    return WINDOWS.get(request.GET.get("window", ""), WINDOWS["1h"])
