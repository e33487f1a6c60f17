"""Who asks, and what their token is good for."""

from __future__ import annotations

import base64
import binascii
import threading
from collections import OrderedDict
from typing import cast

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja.security.http import HttpAuthBase

from paas.accounts import throttle
from paas.accounts.models import ApiToken, Scope, User
from paas.accounts.services import active_token, hash_token
from paas.api import limits
from paas.api.errors import Refusal, missing
from paas.api.versions import variant_of
from paas.apps.models import App, Role
from paas.apps.selectors import apps_visible_to, get_app
from paas.core.middleware import client_address

SAFE = ("GET", "HEAD", "OPTIONS")
MOST_REMEMBERED = 1000


class ApiRequest(HttpRequest):
    """A request as views get it: the door and `TokenAuth` have put these on it."""

    user: User
    token: ApiToken
    variant: str  # of the Accept header: "sdk" for version=3.sdk, "" for version=3
    is_sdk: bool
    next_range: str  # there is more of this list: the answer is a 206
    answer_headers: dict[str, str]


class TokenAuth(HttpAuthBase):
    """`Bearer TOKEN`, or `Basic` with any user name and the token as the password."""

    openapi_scheme = "bearer"

    def __init__(
        self,
        *,
        reading: Scope = Scope.READ,
        writing: Scope = Scope.WRITE,
        for_one_app: bool = False,
        is_free: bool = False,
    ) -> None:
        super().__init__()
        self.reading, self.writing, self.for_one_app, self.is_free = reading, writing, for_one_app, is_free

    def __call__(self, request: HttpRequest) -> ApiToken:
        asked = cast("ApiRequest", request)
        token = checked_token(request)
        asked.user, asked.token = token.user, token
        asked.variant = variant_of(request)
        asked.is_sdk = asked.variant == "sdk"
        # Without an address it came from this machine past the router: from root's own command line.
        is_free = self.is_free or not client_address(request.META)
        remaining = limits.take(token, 0 if is_free else 1)
        asked.answer_headers["RateLimit-Remaining"] = str(remaining)
        self._check_scope(request, token)
        return token

    def _check_scope(self, request: HttpRequest, token: ApiToken) -> None:
        needed = self.reading if request.method in SAFE else self.writing
        if not token.allows(needed):
            raise Refusal(
                403,
                "forbidden",
                f"The token {token.name!r} has not the scope {needed}, which this takes.",
                hint=f"Make one that has: paas tokens:create --scope {needed}",
                code="token_scope",
            )
        if token.app_id is not None and not self.for_one_app and not request.path.startswith("/apps/"):
            raise Refusal(
                403,
                "forbidden",
                f"The token {token.name!r} is good for one app alone.",
                hint="Use one that was not made for an app.",
                code="token_scope",
            )


def secret_of(request: HttpRequest) -> str:
    """The token of the Authorization header; "" without one."""
    scheme, _, value = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        return basic_credentials(value)[1]
    return ""


def basic_credentials(value: str) -> tuple[str, str]:
    """User name and password; both "" when it can't be read."""
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return "", ""
    name, _, password = text.partition(":")
    return name, password


class _Known:
    """Digests of the last few tokens. Kept so that somebody who tries tokens from an address slows down nobody else
    behind it, and so that a program that repeats one old token is no guesser."""

    def __init__(self) -> None:
        self._digests: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, digest: str) -> bool:
        return digest in self._digests

    def add(self, digest: str) -> None:
        with self._lock:
            self._digests[digest] = None
            self._digests.move_to_end(digest)
            if len(self._digests) > MOST_REMEMBERED:
                self._digests.popitem(last=False)


_right, _wrong = _Known(), _Known()


def checked_token(request: HttpRequest) -> ApiToken:
    """Raises `Refusal` with 401, or `TooManyAttempts` where too many others were tried. Looked up by its SHA-256, so the
    time it takes tells nothing about the tokens there are."""
    secret, address = secret_of(request), client_address(request.META)
    if not secret:
        raise _unauthorized("There were no credentials.")
    digest = hash_token(secret)
    if digest not in _right and digest not in _wrong:
        throttle.check(token_address=address)
    token = active_token(secret, address=address)
    if token is None:
        if digest not in _wrong:
            _wrong.add(digest)
            throttle.attempt(token_address=address)
        raise _unauthorized("Invalid credentials provided.")
    _right.add(digest)
    return token


def _unauthorized(message: str) -> Refusal:
    return Refusal(401, "unauthorized", message, hint="Send a token: paas tokens:create makes one.")


def find_app(request: ApiRequest, identity: str, role: Role = Role.VIEWER) -> App:
    """By name or id. Raises `NotFound`, also when it is somebody else's or the token is for another app, and `Forbidden`
    when the user's role is a smaller one."""
    app = get_app(request.user, identity, role)
    if request.token.app_id not in (None, app.pk):
        raise missing("app")
    return app


def visible_apps(request: ApiRequest) -> QuerySet[App]:
    """All that the user sees, or the one that the token is for."""
    apps = apps_visible_to(request.user)
    return apps if request.token.app_id is None else apps.filter(pk=request.token.app_id)


def own_user(request: ApiRequest, identity: str) -> User:
    """Who asks, called `~`, by id or by address; nobody else has a place here."""
    user = request.user
    if identity.lower() not in {"~", str(user.pk), user.email.lower()}:
        raise missing("user")
    return user
