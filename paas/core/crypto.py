"""Encryption at rest. Keys derive from `PAAS_HOME/secret.key`: each line is one, the first encrypts, all decrypt."""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import models

from runtime.errors import PlatformError


class CannotDecrypt(PlatformError):
    id = "cannot_decrypt"


@lru_cache(maxsize=4)
def _cipher(master: bytes) -> MultiFernet:
    def key(line: bytes) -> Fernet:
        raw = HKDF(algorithm=SHA256(), length=32, salt=b"paas", info=b"config at rest").derive(line)
        return Fernet(base64.urlsafe_b64encode(raw))

    return MultiFernet([key(line) for line in master.split() or [b"not-for-production"]])


def encrypt(text: str) -> str:
    return _cipher(settings.MASTER_KEY).encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    try:
        return _cipher(settings.MASTER_KEY).decrypt(token.encode()).decode()
    except InvalidToken as exc:
        raise CannotDecrypt(
            "A stored secret could not be decrypted.",
            hint="The file secret.key is not the one it was written with. Restore it from the backup of PAAS_HOME.",
        ) from exc


class EncryptedJSONField(models.TextField):  # type: ignore[type-arg]  # not subscriptable at run time
    """A JSON value, encrypted as one piece."""

    def from_db_value(self, value: str | None, *_: object) -> Any:
        return None if value is None else json.loads(decrypt(value))

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else encrypt(json.dumps(value, separators=(",", ":")))
