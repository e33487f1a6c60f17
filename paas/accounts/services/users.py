"""Make users, change what they may do, set passwords."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from paas.accounts.models import User
from paas.accounts.services.sessions import end_sessions
from paas.core import audit
from runtime.errors import Conflict, Forbidden, InvalidInput

MAX_PASSWORD = 1000  # hashing takes time by length, and nobody types more


def check_password(password: str, user: User) -> None:
    """Raises `InvalidInput` with all that is wrong with it."""
    if len(password) > MAX_PASSWORD:
        raise InvalidInput(f"A password has at most {MAX_PASSWORD} characters.", id="weak_password")
    try:
        validate_password(password, user)
    except ValidationError as exc:
        raise InvalidInput(" ".join(exc.messages), id="weak_password") from exc


def checked_email(email: str) -> str:
    """In lower case; `admin@localhost` counts, as a fresh machine has no other name. Raises `InvalidInput`."""
    email = email.strip().lower()
    if email.endswith("@localhost") and email.count("@") == 1 and email[0] != "@":
        return email
    try:
        validate_email(email)
    except ValidationError as exc:
        raise InvalidInput(
            f"{email!r} is not an e-mail address.", hint="Write it like alice@example.com.", id="invalid_email"
        ) from exc
    return email


@transaction.atomic
def create_user(
    *, email: str, password: str | None = None, name: str = "", is_admin: bool = False, by: User | None = None
) -> User:
    """Raises `InvalidInput` for a bad address or a weak password, `Conflict` for a second one with that address."""
    user = User(email=checked_email(email), name=name.strip()[:100], is_admin=is_admin)
    if password is not None:
        check_password(password, user)
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError as exc:
        raise Conflict(f"There is already a user {user.email}.", id="name_taken") from exc
    audit.record("user.create", by=by, after={"email": user.email, "name": user.name, "is_admin": is_admin})
    return user


@transaction.atomic
def rename_user(user: User, name: str, *, by: User) -> None:
    name = " ".join(name.replace("\0", "").split())[:100]
    if name == user.name:
        return
    audit.record("user.rename", by=by, email=user.email, before={"name": user.name}, after={"name": name})
    user.name = name
    user.save(update_fields=["name", "updated_at"])


@transaction.atomic
def set_password(user: User, password: str, *, by: User | None, keep_session: str = "") -> None:
    """Ends all sessions but the one named, if any. Raises `InvalidInput` for a weak one."""
    check_password(password, user)
    user.set_password(password)
    user.save(update_fields=["password", "updated_at"])
    ended = end_sessions(user, keep=keep_session)
    hidden = audit.masked(["password"])
    audit.record("user.password", by=by, before=hidden, after=hidden, email=user.email, sessions_ended=ended)


def change_password(user: User, *, current: str, new: str, keep_session: str = "") -> None:
    """By the user, who has to know the present one. Raises `InvalidInput`."""
    if not user.check_password(current):
        raise InvalidInput("The present password is another one.", hint="Type it again.", id="wrong_password")
    set_password(user, new, by=user, keep_session=keep_session)


@transaction.atomic
def set_admin(user: User, is_admin: bool, *, by: User) -> None:
    """Raises `Conflict` for the last one, without whom nobody could make another."""
    if user.is_admin == is_admin:
        return
    if not is_admin:
        _check_not_the_last_admin(user)
    elif not user.is_active:
        raise Conflict(f"{user.email} is deactivated.", hint="Activate them first.", id="user_inactive")
    _change(user, "user.admin", by, is_admin=is_admin)


@transaction.atomic
def allow_creating_apps(user: User, allowed: bool, *, by: User) -> None:
    if user.can_create_apps != allowed:
        _change(user, "user.create_apps", by, can_create_apps=allowed)


@transaction.atomic
def deactivate_user(user: User, *, by: User) -> None:
    """Ends their sessions and tokens at once. What they own goes on running. Raises `Conflict` for the last admin."""
    if not user.is_active:
        return
    if user.pk == by.pk:
        raise Forbidden("You can't deactivate yourself.", hint="Another admin can.")
    _check_not_the_last_admin(user)
    ended = end_sessions(user)
    revoked, _ = user.tokens.all().delete()
    _change(user, "user.deactivate", by, is_active=False, detail={"sessions_ended": ended, "tokens_revoked": revoked})


@transaction.atomic
def activate_user(user: User, *, by: User) -> None:
    """With the password they had; tokens have to be made anew."""
    if not user.is_active:
        _change(user, "user.activate", by, is_active=True)


def _change(user: User, action: str, by: User, *, detail: dict[str, Any] | None = None, **values: bool) -> None:
    before = {name: getattr(user, name) for name in values}
    for name, value in values.items():
        setattr(user, name, value)
    user.save(update_fields=[*values, "updated_at"])
    audit.record(action, by=by, before=before, after=values, email=user.email, **(detail or {}))


def _check_not_the_last_admin(user: User) -> None:
    """Within a transaction."""
    admins = list(User.objects.select_for_update().filter(is_admin=True, is_active=True).values_list("pk", flat=True))
    if admins == [user.pk]:
        raise Conflict(f"{user.email} is the last admin.", hint="Make somebody else an admin first.", id="last_admin")
