"""Make users, passwords and tokens."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone

from paas.accounts.models import ApiToken, User
from paas.core import audit
from runtime.errors import Conflict, InvalidInput

TOKEN_PREFIX = "paas_"  # noqa: S105  # lets secret scanners recognise ours


def hash_token(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@transaction.atomic
def create_user(*, email: str, password: str | None = None, is_admin: bool = False, by: User | None = None) -> User:
    """Raises `InvalidInput` for a bad address or a weak password, `Conflict` for a second one with that address."""
    email = email.strip().lower()
    try:
        validate_email_of_platform(email)
        user = User(email=email, is_admin=is_admin)
        if password is not None:
            validate_password(password, user)
    except ValidationError as exc:
        raise InvalidInput(" ".join(exc.messages)) from exc
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError as exc:
        raise Conflict(f"There is already a user {email}.", id="name_taken") from exc
    audit.record("user.create", by=by, email=email, is_admin=is_admin)
    return user


def validate_email_of_platform(email: str) -> None:
    """An e-mail address; `admin@localhost` counts, as a fresh machine has no other name."""
    if email.endswith("@localhost") and email.count("@") == 1 and email[0] != "@":
        return
    validate_email(email)


@transaction.atomic
def set_password(user: User, password: str, *, by: User | None) -> None:
    try:
        validate_password(password, user)
    except ValidationError as exc:
        raise InvalidInput(" ".join(exc.messages)) from exc
    user.set_password(password)
    user.save(update_fields=["password", "updated_at"])
    audit.record("user.password", by=by, email=user.email)


@transaction.atomic
def create_token(user: User, *, name: str, by: User | None, lifetime: timedelta | None = None) -> tuple[ApiToken, str]:
    """The row and the secret, which is shown once and kept nowhere."""
    secret = TOKEN_PREFIX + secrets.token_hex(20)
    expires_at = timezone.now() + lifetime if lifetime else None
    token = ApiToken.objects.create(user=user, name=name, digest=hash_token(secret), expires_at=expires_at)
    audit.record("token.create", by=by, email=user.email, name=name)
    return token, secret


def user_of_token(secret: str) -> User | None:
    """The active user whose token this is, or None. Marks the token as used, at most once a minute."""
    token = ApiToken.objects.select_related("user").filter(digest=hash_token(secret)).first()
    if token is None or token.is_expired or not token.user.is_active:
        return None
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > timedelta(minutes=1):
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token.user
