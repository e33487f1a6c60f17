"""Nothing may be pushed to the registry while its garbage is collected, and the other way round.

A lock on a file, as it is let go of when its holder dies, whatever it dies of; a garbage collection that outlives
whoever started it holds on to it itself.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings

_PAUSE_SECONDS = 0.1


@contextmanager
def pushing(check: Callable[[], None] = lambda: None, *, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Any number at a time. Waits for a collection to end: `on_wait` is called when it has to, and `check`, which may
    raise, meanwhile."""
    with _file() as file:
        if not _locked(file, fcntl.LOCK_SH):
            on_wait()
        while not _locked(file, fcntl.LOCK_SH):
            check()
            time.sleep(_PAUSE_SECONDS)
        yield


@contextmanager
def collecting(wait_seconds: float) -> Iterator[int | None]:
    """Alone. Yields a descriptor that holds the lock, for a child process to inherit; None when others push for longer
    than `wait_seconds`."""
    with _file() as file:
        deadline = time.monotonic() + wait_seconds
        while not _locked(file, fcntl.LOCK_EX) or _is_pushed_to(file):
            if time.monotonic() > deadline:
                yield None
                return
            time.sleep(_PAUSE_SECONDS)
        yield file


def allow_push(seconds: float) -> bool:
    """Somebody's own client may push from now on for so long: no collection begins before that is over. False while one
    goes on."""
    with _file() as file:
        if not _locked(file, fcntl.LOCK_SH):
            return False
        until = max(time.time() + seconds, os.fstat(file).st_mtime)
        os.utime(file, (until, until))
        return True


def _is_pushed_to(file: int) -> bool:
    """If so, others may go on: the lock is let go of."""
    if os.fstat(file).st_mtime <= time.time():
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return True


@contextmanager
def _file() -> Iterator[int]:
    path = settings.ENV.home / "run" / "registry.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def _locked(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
