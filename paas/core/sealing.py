"""What encrypts at rest, for processes with and without Django."""

from __future__ import annotations

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from paas.core.keys import Keys


@lru_cache(maxsize=16)
def fernet(key: bytes) -> Fernet:
    raw = HKDF(algorithm=SHA256(), length=32, salt=b"paas", info=b"config at rest").derive(key)
    return Fernet(base64.urlsafe_b64encode(raw))


def unseal(token: str, keys: Keys) -> str:
    """Raises `InvalidToken` when it was closed with none of these."""
    return MultiFernet([fernet(key) for key in keys]).decrypt(token.encode()).decode()


__all__ = ["InvalidToken", "fernet", "unseal"]
