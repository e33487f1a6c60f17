"""Tokens: made, looked up, revoked."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from paas.accounts.models import ApiToken, Scope, User
from paas.core import audit
from runtime.errors import InvalidInput

TOKEN_PREFIX = "paas_"  # noqa: S105  # lets secret scanners recognise ours
USED_EVERY = timedelta(minutes=1)


def hash_token(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@transaction.atomic
def create_token(
    user: User,
    *,
    name: str,
    by: User | None,
    lifetime: timedelta | None = None,
    scopes: Sequence[str] = (Scope.GLOBAL,),
    app_id: UUID | None = None,
    app_name: str = "",
) -> tuple[ApiToken, str]:
    """The row and the secret, which is shown once and kept nowhere. With an app it is good for that one alone.
    Raises `InvalidInput`."""
    name = _checked_name(name)
    if not scopes or any(scope not in Scope.values for scope in scopes):
        raise InvalidInput(
            "A token needs at least one scope.", hint=f"Choose from {', '.join(Scope.values)}.", id="invalid_scope"
        )
    if app_id is not None and Scope.GLOBAL in scopes:
        raise InvalidInput(
            "A token for one app can't be global.", hint="Choose write, read or git for it.", id="invalid_scope"
        )
    secret = _new_secret()
    token = ApiToken.objects.create(
        user=user,
        name=name,
        digest=hash_token(secret),
        prefix=secret[:10],
        scopes=[scope for scope in Scope.values if scope in scopes],
        app_id=app_id,
        expires_at=timezone.now() + lifetime if lifetime else None,
    )
    audit.record("token.create", by=by, app_id=app_id, app_name=app_name, after=_described(token), email=user.email)
    return token, secret


def active_token(secret: str, *, address: str = "") -> ApiToken | None:
    """Whose user is active, or None; ask it what it `allows`. Marks it as used, at most once a minute."""
    token = ApiToken.objects.select_related("user").filter(digest=hash_token(secret)).first()
    if token is None or token.is_expired or not token.user.is_active:
        return None
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > USED_EVERY or token.last_used_from != address:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now, last_used_from=address)
    return token


@transaction.atomic
def rename_token(token: ApiToken, name: str, *, by: User) -> None:
    """Raises `InvalidInput`."""
    before, token.name = token.name, _checked_name(name)
    if token.name == before:
        return
    token.save(update_fields=["name", "updated_at"])
    audit.record(
        "token.rename", by=by, app_id=token.app_id, email=token.user.email, before={"name": before},
        after={"name": token.name},
    )  # fmt: skip


@transaction.atomic
def regenerate_token(token: ApiToken, *, by: User) -> str:
    """Another secret for the same token, which is shown once. The one before is worthless from now on."""
    before = {"prefix": token.prefix}
    secret = _new_secret()
    token.digest, token.prefix = hash_token(secret), secret[:10]
    token.last_used_at, token.last_used_from = None, ""
    token.save(update_fields=["digest", "prefix", "last_used_at", "last_used_from", "updated_at"])
    audit.record(
        "token.regenerate", by=by, app_id=token.app_id, email=token.user.email, name=token.name, before=before,
        after={"prefix": token.prefix},
    )  # fmt: skip
    return secret


@transaction.atomic
def revoke_token(token: ApiToken, *, by: User) -> None:
    audit.record("token.revoke", by=by, app_id=token.app_id, before=_described(token), email=token.user.email)
    token.delete()


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > 100:
        raise InvalidInput("A token needs a name of at most 100 characters.", hint="Say where you use it.")
    return name


def _new_secret() -> str:
    return TOKEN_PREFIX + secrets.token_hex(20)


def _described(token: ApiToken) -> dict[str, object]:
    return {
        "name": token.name,
        "prefix": token.prefix,
        "scopes": token.scopes,
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
    }
