"""Sign a program in through the browser: it asks, a signed-in person confirms, it fetches its token.

What the program shows and the page shows is the same code, so that nobody confirms what somebody else has begun."""

from __future__ import annotations

import secrets
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from paas.accounts.models import LoginRequest, User
from paas.accounts.services.tokens import create_token, hash_token
from paas.accounts.throttle import TooManyAttempts
from paas.core import audit
from runtime.errors import Forbidden, NotFound
from runtime.git.text import plain

State = LoginRequest.State
LIFETIME = timedelta(minutes=10)
TOKEN_LIFETIME = timedelta(days=90)
MOST_PER_ADDRESS = 10
MOST = 1000
ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, no words; nothing that looks like something else


def begin_login(description: str, *, address: str) -> tuple[LoginRequest, str]:
    """By anybody. The row and the secret that the program fetches its token with. Raises `TooManyAttempts`."""
    alive = LoginRequest.objects.filter(expires_at__gt=timezone.now())
    if alive.filter(address=address).count() >= MOST_PER_ADDRESS or alive.count() >= MOST:
        raise TooManyAttempts("There are too many logins that nobody has confirmed.", hint="Try again in ten minutes.")
    secret = secrets.token_urlsafe(24)
    row = LoginRequest.objects.create(
        code="-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(2)),
        digest=hash_token(secret),
        description=plain(description)[:100] or "A program",
        address=address,
        expires_at=timezone.now() + LIFETIME,
    )
    return row, secret


def pending_login(code: str) -> LoginRequest:
    """Raises `NotFound`."""
    row = LoginRequest.objects.filter(code=code.upper(), state=State.PENDING, expires_at__gt=timezone.now()).first()
    if row is None:
        raise _gone()
    return row


@transaction.atomic
def approve_login(row: LoginRequest, *, by: User) -> None:
    """Whoever began it gets a token for everything that `by` may do. Raises `NotFound` when it is too late."""
    _answer(row, State.APPROVED, by=by)
    audit.record("login.approve", by=by, description=row.description, from_address=row.address)


@transaction.atomic
def deny_login(row: LoginRequest, *, by: User) -> None:
    """Raises `NotFound` when it is too late."""
    _answer(row, State.DENIED, by=by)
    audit.record("login.deny", by=by, description=row.description, from_address=row.address)


@transaction.atomic
def collect_login(login_id: UUID, secret: str) -> str | None:
    """The token's secret, once; None as long as nobody has confirmed. Raises `NotFound`, or `Forbidden` when it was
    refused."""
    row = LoginRequest.objects.select_related("user").filter(pk=login_id, expires_at__gt=timezone.now()).first()
    if row is None or not constant_time_compare(row.digest, hash_token(secret)) or row.state == State.COLLECTED:
        raise _gone()
    if row.state == State.PENDING:
        return None
    if row.state == State.DENIED or row.user is None or not row.user.is_active:
        raise Forbidden("The login was refused in the browser.", id="login_refused")
    if not LoginRequest.objects.filter(pk=row.pk, state=State.APPROVED).update(state=State.COLLECTED):
        raise _gone()
    _, token = create_token(row.user, name=row.description, by=row.user, lifetime=TOKEN_LIFETIME)
    return token


def _answer(row: LoginRequest, state: LoginRequest.State, *, by: User) -> None:
    alive = LoginRequest.objects.filter(pk=row.pk, state=State.PENDING, expires_at__gt=timezone.now())
    if not alive.update(state=state, user=by, updated_at=timezone.now()):
        raise _gone()


def _gone() -> NotFound:
    return NotFound(
        "There is no such login to confirm, or it is too late.", hint="Begin again in the terminal.", id="login_not_found"
    )
