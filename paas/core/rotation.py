# ruff: noqa: SLF001  # _meta and _base_manager are names that Django documents
"""Give everything encrypted another key, while the platform runs.

1. The new key becomes the first line of `secret.key`. Every process looks at the file at each use (`paas.core.crypto`):
   from now on it writes with the new key and still reads what the old one has written.
2. What the old key has written is written again, a batch at a time, each value only if it is still what was read.
3. A transaction that took the old key may end after our look at its row. So we let those end, and look again until a
   whole look finds nothing of the old key.
4. Only then its line goes.

Killed at any point, everything stays readable, and the next call goes on from there: the file has a second line.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.core import signing
from django.db import models, transaction
from django.db.models import TextField, Value
from django.db.models.functions import Cast
from django.utils.crypto import constant_time_compare

from paas.core import audit, crypto
from paas.core.files import write
from paas.core.keys import new_key, read_keys
from runtime.errors import Conflict, NotFound

BATCH = 200
# Longer than any transaction of ours lasts: they never wait for the network or the engine, and for the database 20 s.
SETTLE_SECONDS = 30.0
Report = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was written again."""

    values: int
    sessions: int
    was_resumed: bool


def rotate_keys(
    *, by: Any, report: Report = lambda _what, _count: None, settle_seconds: float = SETTLE_SECONDS
) -> Rotated:
    """Raises `Conflict` while another rotation runs, `CannotDecrypt` (and drops no key) when a value fits none."""
    file = settings.ENV.secret_file
    if not file.exists():
        raise NotFound(f"{file} does not exist.", hint="bin/up makes it at the first start.", id="key_missing")
    with _alone():
        was_resumed = len(crypto.keys()) > 1
        if not was_resumed:
            _write_lines([new_key().encode(), *read_keys(file)])
        crypto.follow_keys()
        audit.record("secrets.rotate", by=by, step="resumed" if was_resumed else "begun")
        values, sessions = _rewrite_all(report)
        report("Waiting for what had begun with the old key", 0)
        time.sleep(max(0.0, file.stat().st_mtime + settle_seconds - time.time()))
        while any(late := _rewrite_all(report)):
            values, sessions = values + late[0], sessions + late[1]
        _write_lines(read_keys(file)[:1])
        crypto.follow_keys()
        audit.record("secrets.rotate", by=by, step="finished", values=values, sessions=sessions)
    return Rotated(values, sessions, was_resumed)


@contextmanager
def _alone() -> Iterator[None]:
    folder = os.open(settings.ENV.home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise Conflict("Another rotation is at work.", hint="Wait until it is done.", id="rotation_in_progress") from exc
    else:
        yield
    finally:
        os.close(folder)


def _write_lines(keys: Iterable[bytes]) -> None:
    write(settings.ENV.secret_file, "".join(f"{key.decode()}\n" for key in keys), mode=0o600)


def _rewrite_all(report: Report) -> tuple[int, int]:
    """(values, sessions) that had to be written again."""
    values = 0
    for model, name in encrypted_fields():
        values += _rewrite(model, name, report)
    sessions = _sign_sessions()
    report("sessions", sessions)
    return values, sessions


def encrypted_fields() -> list[tuple[type[models.Model], str]]:
    return [
        (model, field.attname)
        for model in apps.get_models()
        for field in model._meta.concrete_fields
        if isinstance(field, crypto.EncryptedJSONField)
    ]


def _rewrite(model: type[models.Model], name: str, report: Report) -> int:
    """Raises `CannotDecrypt`."""
    rows = model._base_manager.annotate(stored=Cast(name, TextField())).filter(stored__isnull=False).order_by("pk")
    written, after = 0, None
    while True:
        batch = list((rows if after is None else rows.filter(pk__gt=after)).values_list("pk", "stored")[:BATCH])
        if not batch:
            return written
        after = batch[-1][0]
        fresh = [(pk, old, crypto.encrypt(crypto.decrypt(old))) for pk, old in batch if not crypto.is_current(old)]
        with transaction.atomic():  # one for the batch, and short: others write meanwhile
            for pk, old, new in fresh:
                same = rows.filter(pk=pk, stored=old).order_by()
                written += same.update(**{name: Value(new, output_field=TextField())})
        report(f"{model._meta.verbose_name} {name}", written)


def _sign_sessions() -> int:
    """So that nobody has to sign in again. What can't be read is nobody's session any more."""
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    sessions = store.get_model_class()._base_manager
    signed = 0
    for key, stored in list(sessions.values_list("pk", "session_data")):
        try:
            signing.loads(stored, salt=store.key_salt, serializer=store.serializer, fallback_keys=[])
        except signing.BadSignature:
            content = store.decode(stored)
            if content:
                _renew_login(content)
                signed += sessions.filter(pk=key, session_data=stored).update(session_data=store.encode(content))
    return signed


def _renew_login(content: dict[str, Any]) -> None:
    """The hash that ties a session to the user's password is made with the key, too."""
    user = get_user_model().objects.filter(pk=content[SESSION_KEY]).first() if SESSION_KEY in content else None
    if user is None:
        return
    known: str = content.get(HASH_SESSION_KEY, "")
    if any(constant_time_compare(known, one) for one in user.get_session_auth_fallback_hash()):
        content[HASH_SESSION_KEY] = user.get_session_auth_hash()


__all__ = ["Rotated", "encrypted_fields", "rotate_keys"]
