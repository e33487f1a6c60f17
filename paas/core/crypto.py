"""Encryption at rest. Keys derive from `PAAS_HOME/secret.key`: each line is one, the first encrypts, all decrypt.

The file is looked at again whenever it is used, so that every process of a running platform follows a rotation at once.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models

from paas.core.keys import KeyLost, Keys, read_keys, session_secrets
from paas.core.sealing import InvalidToken, fernet, unseal
from runtime.errors import PlatformError

Mark = tuple[int, int, int]
_seen: dict[Path, tuple[Mark, Keys]] = {}  # what the file was when we read it, and said
_lock = threading.Lock()


class CannotDecrypt(PlatformError):
    id = "cannot_decrypt"


def keys() -> Keys:
    """As the file says now. It is replaced, never written into: a look at it tells whether it is still the same."""
    file = settings.ENV.secret_file
    try:
        stat = file.stat()
        mark: Mark | None = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError:
        mark = None
    if file in _seen and (mark is None or _seen[file][0] == mark):
        return _seen[file][1]  # also when it went away under a running process: what that knows still serves
    try:
        found = read_keys(file, made_before=settings.ENV.saved_file)
    except KeyLost as exc:
        raise CannotDecrypt(str(exc)) from exc
    if mark is not None:
        _seen[file] = (mark, found)
    return found


def follow_keys(**_: object) -> None:
    """At the start of each request: sessions are signed with the key that is first now."""
    first, others = session_secrets(keys())
    if first != settings.SECRET_KEY or others != settings.SECRET_KEY_FALLBACKS:
        with _lock:
            settings.SECRET_KEY_FALLBACKS = [*others, settings.SECRET_KEY]  # never without the one in use
            settings.SECRET_KEY = first
            settings.SECRET_KEY_FALLBACKS = others


def encrypt(text: str) -> str:
    return fernet(keys()[0]).encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    try:
        return unseal(token, keys())
    except InvalidToken as exc:
        raise CannotDecrypt(
            "A stored secret could not be decrypted.",
            hint="The file secret.key is not the one it was written with. Restore it from the backup of PAAS_HOME.",
        ) from exc


def is_current(token: str) -> bool:
    """It was closed with the first key."""
    try:
        fernet(keys()[0]).decrypt(token.encode())
    except InvalidToken:
        return False
    return True


class EncryptedJSONField(models.TextField):  # type: ignore[type-arg]  # not subscriptable at run time
    """A JSON value, encrypted as one piece."""

    def from_db_value(self, value: str | None, *_: object) -> Any:
        return None if value is None else json.loads(decrypt(value))

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else encrypt(json.dumps(value, separators=(",", ":")))
