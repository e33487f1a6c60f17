"""The file `secret.key`: a key a line. The first is in use; those after it still open what was closed with them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

THROW_AWAY = b"not-for-production"
Keys = tuple[bytes, ...]


class KeyLost(Exception):
    """A platform was started here, and its key is gone."""


def new_key() -> str:
    return secrets.token_hex(32)


def read_keys(file: Path, *, made_before: Path | None = None) -> Keys:
    """Without the file (tests, checks) a throw-away key. Raises `KeyLost` when `made_before` says that there was one."""
    try:
        keys = tuple(file.read_bytes().split())
    except FileNotFoundError:
        keys = ()
    if not keys and made_before is not None and made_before.exists():
        raise KeyLost(f"{file} is gone, and with it the key of everything encrypted. Restore it from the backup.")
    return keys or (THROW_AWAY,)


def derive(key: bytes, purpose: str) -> str:
    return hmac.new(key, purpose.encode(), hashlib.sha256).hexdigest()


def session_secrets(keys: Keys) -> tuple[str, list[str]]:
    """Django's SECRET_KEY and SECRET_KEY_FALLBACKS."""
    first, *others = (derive(key, "django") for key in keys)
    return first, others
