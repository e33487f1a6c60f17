"""What views ask of a request."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest

from paas.accounts.models import User
from paas.apps.models import App, Role
from paas.apps.selectors import role_in


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
