"""One-time codes as the second step of the sign-in, with codes for when the phone is lost."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time

import pyotp
from django.db import transaction
from django.utils import timezone

from paas.accounts.models import RecoveryCode, TwoFactor, User
from paas.core import audit
from runtime.errors import Conflict, InvalidInput

STEP_SECONDS = 30
DRIFT_STEPS = 1  # clocks differ, and people take a moment to type
RECOVERY_CODES = 10


def has_two_factor(user: User) -> bool:
    return TwoFactor.objects.filter(user=user, confirmed_at__isnull=False).exists()


@transaction.atomic
def begin_two_factor(user: User, *, by: User) -> TwoFactor:
    """A new secret, which does not count before `confirm_two_factor`. Raises `Conflict` when it is on."""
    if has_two_factor(user):
        raise Conflict("Two-factor authentication is on already.", id="two_factor_on")
    TwoFactor.objects.filter(user=user).delete()
    row = TwoFactor.objects.create(user=user, secret=pyotp.random_base32())
    audit.record("two_factor.begin", by=by, email=user.email)
    return row


def provisioning_uri(two_factor: TwoFactor, issuer: str) -> str:
    """What the QR code says."""
    return pyotp.TOTP(two_factor.secret).provisioning_uri(name=two_factor.user.email, issuer_name=issuer)


@transaction.atomic
def confirm_two_factor(user: User, code: str) -> list[str]:
    """Shows that the app on the phone has the secret; from now on a code is asked for. The recovery codes, shown once.
    Raises `InvalidInput`."""
    row = TwoFactor.objects.select_for_update().filter(user=user, confirmed_at__isnull=True).first()
    if row is None:
        raise Conflict("There is nothing to confirm.", hint="Begin with the set-up.", id="two_factor_not_begun")
    if not _take(row, code):
        raise _wrong_code()
    row.confirmed_at = timezone.now()
    row.save(update_fields=["confirmed_at", "updated_at"])
    audit.record("two_factor.on", by=user, email=user.email, before={"two_factor": False}, after={"two_factor": True})
    return _new_recovery_codes(user)


@transaction.atomic
def renew_recovery_codes(user: User, *, proof: str) -> list[str]:
    """The old ones are void. `proof`: the password or a code. Raises `InvalidInput`."""
    _check_proof(user, proof)
    audit.record("two_factor.recovery_codes", by=user, email=user.email)
    return _new_recovery_codes(user)


@transaction.atomic
def disable_two_factor(user: User, *, proof: str) -> None:
    """`proof`: the password or a code. Raises `InvalidInput`."""
    _check_proof(user, proof)
    _remove(user, by=user)


@transaction.atomic
def reset_two_factor(user: User, *, by: User) -> None:
    """By an admin, for somebody who lost both the phone and the recovery codes."""
    if has_two_factor(user):
        _remove(user, by=by)


@transaction.atomic
def accept_second_step(user: User, code: str) -> str | None:
    """What it was, "code" or "recovery code"; None when it is wrong or was used before."""
    row = TwoFactor.objects.filter(user=user, confirmed_at__isnull=False).first()
    if row is not None and _take(row, code):
        return "code"
    used, _ = RecoveryCode.objects.filter(user=user, digest=_digest(code)).delete()
    if used:
        audit.record("two_factor.recovery_code_used", by=user, email=user.email, left=user.recovery_codes.count())
        return "recovery code"
    return None


def _take(row: TwoFactor, code: str) -> bool:
    """Compare-and-swap on the time step, so that of two with the same code one gets in."""
    code = "".join(code.split())
    if not (code.isascii() and code.isdigit() and len(code) == 6):
        return False
    totp = pyotp.TOTP(row.secret, interval=STEP_SECONDS)
    now = int(time.time()) // STEP_SECONDS
    for step in range(now - DRIFT_STEPS, now + DRIFT_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(step), code):
            return bool(TwoFactor.objects.filter(pk=row.pk, last_step__lt=step).update(last_step=step))
    return False


def _check_proof(user: User, proof: str) -> None:
    row = TwoFactor.objects.filter(user=user, confirmed_at__isnull=False).first()
    if row is None:
        raise Conflict("Two-factor authentication is not on.", id="two_factor_off")
    if not (_take(row, proof) or user.check_password(proof)):
        raise InvalidInput(
            "That is neither your password nor a fresh code.", hint="Each code works once; wait for the next one.",
            id="wrong_code",
        )  # fmt: skip


def _remove(user: User, *, by: User) -> None:
    TwoFactor.objects.filter(user=user).delete()
    user.recovery_codes.all().delete()
    audit.record("two_factor.off", by=by, email=user.email, before={"two_factor": True}, after={"two_factor": False})


def _new_recovery_codes(user: User) -> list[str]:
    user.recovery_codes.all().delete()
    raw = [base64.b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES)]
    codes = ["-".join(text[at : at + 4] for at in range(0, 16, 4)) for text in raw]
    RecoveryCode.objects.bulk_create(RecoveryCode(user=user, digest=_digest(code)) for code in codes)
    return codes


def _digest(code: str) -> str:
    return hashlib.sha256("".join(char for char in code.lower() if char.isalnum()).encode()).hexdigest()


def _wrong_code() -> InvalidInput:
    return InvalidInput(
        "That code is not right.",
        hint="Type the six digits that the app shows now. If they never fit, set the phone's clock by the network.",
        id="wrong_code",
    )
