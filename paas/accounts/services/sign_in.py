"""Passwords and second steps, checked wherever somebody shows them: slowly when many are tried."""

from __future__ import annotations

from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from paas.accounts import throttle
from paas.accounts.models import User
from paas.accounts.services.sessions import record_failed_sign_in
from paas.accounts.services.two_factor import accept_second_step, has_two_factor
from paas.accounts.services.users import MAX_PASSWORD
from runtime.errors import UserError

MAX_CODE = 100


class WrongCredentials(UserError):
    id = "wrong_credentials"


class WrongCode(UserError):
    id = "wrong_code"


class SecondStepNeeded(UserError):
    id = "second_step_needed"


def user_by_password(email: str, password: str, *, address: str) -> User:
    """Raises `WrongCredentials`, or `TooManyAttempts`. Whether there is such a user, and whether they may sign in, takes
    the same time and gets the same answer."""
    email = cleaned_email(email)
    throttle.attempt(account=email, address=address)
    user = authenticate(None, username=email, password=password[: MAX_PASSWORD + 1])
    if not isinstance(user, User):
        record_failed_sign_in(email if _looks_like_email(email) else "")
        raise WrongCredentials(
            "That e-mail and password don't match.",
            hint="Try again, or ask an admin for a new password. They set one on the machine: bin/paas users:password",
        )
    throttle.forgive(account=email, address=address)
    return user


def check_second_step(user: User, code: str, *, address: str) -> str:
    """What it was, "code" or "recovery code". Raises `WrongCode`, or `TooManyAttempts`."""
    account = f"second step of {user.pk}"
    throttle.attempt(account=account, address=address)
    kind = accept_second_step(user, code[:MAX_CODE])
    if kind is None:
        record_failed_sign_in(user.email, step="second step")
        raise WrongCode("That code is not right.", hint="Each works once: wait until the app shows the next one.")
    throttle.forgive(account=account, address=address)
    return kind


def user_by_all_steps(email: str, password: str, *, code: str, address: str) -> User:
    """At once, for clients that ask for a code when they hear `SecondStepNeeded`. Raises that, and the above."""
    user = user_by_password(email, password, address=address)
    if has_two_factor(user):
        if not code:
            raise SecondStepNeeded("A second step is needed.", hint="Send a code of your two-factor app as well.")
        check_second_step(user, code, address=address)
    return user


def cleaned_email(email: str) -> str:
    return email.replace("\0", "").strip()[:254]


def _looks_like_email(text: str) -> bool:
    """Some type their password there; it must not be kept."""
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True
