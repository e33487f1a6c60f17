"""The one connection pool to Redis: locks with a lease, live streams, signals."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import redis
from django.conf import settings
from django.db import transaction
from redis.exceptions import LockError, LockNotOwnedError

from runtime.errors import Abandoned


@lru_cache(maxsize=1)
def client() -> redis.Redis:
    # Block for less than the socket's time-out (5 s by default): XREAD BLOCK would be cut otherwise.
    return redis.Redis.from_url(
        settings.ENV.redis_url, decode_responses=True, socket_timeout=10, health_check_interval=30
    )


class LeaseLost(Abandoned):
    """Somebody else may hold the lock by now: stop changing things."""


class Lease:
    """A held lock, renewed in the background; `still_held` says whether it can be relied on."""

    def __init__(self, lock: redis.lock.Lock, seconds: float) -> None:
        self._lock, self._seconds = lock, seconds
        self._done = threading.Event()
        self._renewed = time.monotonic()
        self.lost = False
        self._thread = threading.Thread(target=self._renew, daemon=True, name=f"lease {lock.name}")
        self._thread.start()

    def _renew(self) -> None:
        while not self._done.wait(self._seconds / 3):
            began = time.monotonic()
            try:
                self._lock.reacquire()
                self._renewed = began
            except LockNotOwnedError:
                self.lost = True
                return
            except redis.RedisError:
                continue  # Redis restarts: the lease may survive; the next round tells

    def check(self) -> None:
        if self.lost or time.monotonic() - self._renewed > self._seconds:
            raise LeaseLost(self._lock.name)

    def release(self) -> None:
        self._done.set()
        try:
            self._lock.release()
        except (LockError, redis.RedisError):
            pass  # expired or Redis is away: it is free either way


@contextmanager
def lease(name: str, *, seconds: float = 20, wait_seconds: float = 0) -> Iterator[Lease | None]:
    """Hold the lock `name` while inside; None when somebody else has it. Without renewal it is free after `seconds`."""
    lock = client().lock(f"paas:lock:{name}", timeout=seconds, sleep=0.02, thread_local=False)
    if not lock.acquire(blocking=wait_seconds > 0, blocking_timeout=wait_seconds or None):
        yield None
        return
    held = Lease(lock, seconds)
    try:
        yield held
    finally:
        held.release()


def remember(key: str, values: dict[str, Any]) -> None:
    """For pages. Without Redis it is forgotten."""
    try:
        client().set(key, json.dumps(values))
    except redis.RedisError:
        pass


def raise_flag(name: str, *, lifetime_seconds: int = 600) -> None:
    client().set(f"paas:flag:{name}", 1, ex=lifetime_seconds)


def is_raised(name: str) -> bool:
    return bool(client().exists(f"paas:flag:{name}"))


def take_flag(name: str) -> bool:
    """Lower it; True for the one who did."""
    return bool(client().delete(f"paas:flag:{name}"))


def take_turn(flag: str, work: Callable[[Lease], bool | None], *, lock: str = "") -> None:
    """Do the work; when somebody is at it already, they do it once more when they are done. It may end the turn by False.
    `lock`: what is held meanwhile, named as the flag unless told otherwise."""
    raise_flag(flag)
    while is_raised(flag):  # also when it was raised after the last look and before the lock was let go of
        with lease(lock or flag) as held:
            if held is None:
                return
            while take_flag(flag):
                if work(held) is False:
                    return


def count_up(name: str, *, lifetime_seconds: int) -> int:
    """How many times it was said, this one included, with less than the lifetime between one and the next."""
    key = f"paas:count:{name}"
    pipe = client().pipeline()
    pipe.incr(key)
    pipe.expire(key, lifetime_seconds)
    return int(pipe.execute()[0])


def forget_count(name: str) -> None:
    client().delete(f"paas:count:{name}")


def append_to_stream(key: str, fields: dict[str, str], *, keep: int, lifetime_seconds: int) -> None:
    """Losing an entry does no harm to our callers, so a Redis that is away is not an error."""
    values: Any = fields
    try:
        pipe = client().pipeline(transaction=False)
        pipe.xadd(key, values, maxlen=keep, approximate=keep > 1)
        pipe.expire(key, lifetime_seconds)
        pipe.execute()
    except redis.RedisError:
        pass


def read_stream(key: str, *, after: str, wait_seconds: float, count: int = 500) -> list[tuple[str, dict[str, str]]]:
    """(id, fields) of the entries after an id; waits up to `wait_seconds` (at most 5) for the first. Empty when none
    came; without Redis empty after half a second."""
    try:
        answer: Any = client().xread({key: after}, count=count, block=max(1, int(min(wait_seconds, 5) * 1000)))
    except redis.RedisError:
        threading.Event().wait(min(wait_seconds, 0.5))
        return []
    streams = answer.items() if isinstance(answer, dict) else answer or ()
    return [entry for _key, entries in streams for entry in entries]


def signal(topic: str) -> None:
    """Wake whoever waits for `topic`. Losing one does no harm: waiters look again by themselves."""
    append_to_stream(f"paas:signal:{topic}", {"": ""}, keep=1, lifetime_seconds=600)


def announce_change(app_id: object) -> None:
    """After the commit, tell the pages that show this app that something about it has changed."""
    fields = {"app": str(app_id)}
    transaction.on_commit(lambda: append_to_stream("paas:changes", fields, keep=1000, lifetime_seconds=24 * 3600))


def wait_until_collected(container_id: str) -> None:
    """What a container that has ended said is in the log store then; or a second has passed, or no agent lives."""
    try:
        is_collecting = bool(client().exists("paas:agent"))
    except redis.RedisError:
        return
    if is_collecting:
        Waiter(f"collected:{container_id}").wait(1)


class Waiter:
    """Remembers what it has seen, so that a signal between two waits is not lost."""

    def __init__(self, topic: str) -> None:
        self._key = f"paas:signal:{topic}"
        self._seen = "0"

    def wait(self, seconds: float) -> bool:
        """True when a signal came; False after `seconds` (at most 5), and at once when Redis does not answer."""
        entries = read_stream(self._key, after=self._seen, wait_seconds=seconds)
        if entries:
            self._seen = entries[-1][0]
        return bool(entries)
