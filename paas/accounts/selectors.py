"""Who there is, and what a user has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypedDict
from uuid import UUID

from django.db.models import Count, Q, QuerySet

from paas.accounts.models import ApiToken, Session, SSHKey, TwoFactor, User
from paas.accounts.sessions import digest_of
from runtime.errors import Forbidden, NotFound

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations


class Numbers(TypedDict):
    """How many apps somebody owns, how many they share, and whether a second step is on (0 or 1)."""

    app_count: int
    shared_count: int
    two_factor_count: int


BROWSERS = (
    ("Edg/", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser/", "Samsung Internet"), ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"), ("Version/", "Safari"), ("curl/", "curl"), ("python", "a Python program"),
)  # fmt: skip
SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip


def check_admin(user: User) -> None:
    """Raises `Forbidden`."""
    if not user.is_admin:
        raise Forbidden("This takes an admin of the platform.", hint="Ask one of them to do it, or to make you one.")


def users_with_numbers() -> QuerySet[WithAnnotations[User, Numbers]]:
    """For the list of all people."""
    return User.objects.annotate(
        app_count=Count("apps", filter=Q(apps__destroyed_at__isnull=True), distinct=True),
        shared_count=Count("collaborations", distinct=True),
        two_factor_count=Count("two_factor", filter=Q(two_factor__confirmed_at__isnull=False), distinct=True),
    ).order_by("email")


def find_user(email: str) -> User | None:
    return User.objects.filter(email__iexact=email.replace("\0", "").strip()).first()  # Postgres takes no NUL


def get_user(email: str) -> User:
    """Raises `NotFound`."""
    user = find_user(email)
    if user is None:
        raise NotFound(f"There is no user {email.strip()!r}.", hint="See all with: paas users", id="user_not_found")
    return user


def first_admin() -> User:
    """Root on the machine acts as this one. Raises `NotFound`."""
    user = User.objects.filter(is_admin=True, is_active=True).order_by("created_at").first()
    if user is None:
        raise NotFound("This platform has no admin yet.", hint="Start it once with: bin/up")
    return user


def user_by_id(user_id: UUID) -> User:
    """Raises `NotFound`."""
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such user.", id="user_not_found")
    return user


def get_token(user: User, token_id: UUID) -> ApiToken:
    """Of the user's own. Raises `NotFound`."""
    token = user.tokens.filter(pk=token_id).first()
    if token is None:
        raise NotFound("You have no such token.", hint="It may have been revoked already.")
    return token


def get_key(user: User, key_id: UUID) -> SSHKey:
    """Of the user's own. Raises `NotFound`."""
    key = user.ssh_keys.filter(pk=key_id).first()
    if key is None:
        raise NotFound("You have no such key.", hint="It may have been removed already.")
    return key


def active_key(fingerprint: str) -> SSHKey | None:
    """Whose user is active, or None."""
    return SSHKey.objects.select_related("user").filter(fingerprint=fingerprint, user__is_active=True).first()


def get_session(user: User, session_id: UUID) -> Session:
    """Of the user's own. Raises `NotFound`."""
    session = user.sessions.filter(pk=session_id).first()
    if session is None:
        raise NotFound("You have no such session.", hint="It may have ended already.")
    return session


def is_session(session: Session, session_key: str) -> bool:
    return session.digest == digest_of(session_key)


def two_factor_of(user: User) -> TwoFactor | None:
    """Confirmed, or begun."""
    return TwoFactor.objects.filter(user=user).first()


def browser_in_words(user_agent: str) -> str:
    """ "Firefox 132 on Linux"."""
    if not user_agent:
        return "Unknown browser"
    lowered = user_agent.lower()
    browser = "Unknown browser"
    for mark, name in BROWSERS:
        at = lowered.find(mark.lower())
        if at >= 0:
            number = re.match(r"\d+", user_agent[at + len(mark) :])
            browser = f"{name} {number.group()}" if number else name
            break
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    return f"{browser} on {system}" if system else browser
