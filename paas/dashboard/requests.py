"""What views ask of a request."""

from __future__ import annotations

from django.http import HttpRequest

from paas.accounts.models import User


def current_user(request: HttpRequest) -> User:
    """Whoever is signed in. For views behind `login_required`."""
    assert isinstance(request.user, User)
    return request.user
