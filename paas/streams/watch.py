"""Wakes readers: when a file has grown, and when something happened to an app."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
CHANGES = "paas:changes"
KEEP = 1000
EntryId = tuple[int, int]  # milliseconds, and a number within them
BEGINNING: EntryId = (0, 0)


class Files:
    """One look each tenth of a second at something that grows, however many read it."""

    def __init__(self) -> None:
        self._events: dict[Path, set[asyncio.Event]] = {}
        self._tasks: dict[Path, asyncio.Task[None]] = {}

    @contextmanager
    def watching(self, path: Path, event: asyncio.Event, end: Callable[[], object] | None = None) -> Iterator[None]:
        """`end` tells how far it goes; without one `path` is a file. It answers at once: all of it is in memory."""
        self._events.setdefault(path, set()).add(event)
        if path not in self._tasks:
            self._tasks[path] = asyncio.create_task(self._look(path, end or (lambda: _size(path))))
        try:
            yield
        finally:
            self._events[path].discard(event)
            if not self._events[path]:
                del self._events[path]
                self._tasks.pop(path).cancel()

    async def _look(self, path: Path, end: Callable[[], object]) -> None:
        seen: object = None
        while True:
            with suppress(OSError):
                now = end()
                if now != seen:
                    seen = now
                    for event in self._events.get(path, ()):
                        event.set()
            await asyncio.sleep(LOOK_SECONDS)


def _size(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_ino, facts.st_size


class Changes:
    """The latest changes of apps, as `paas.core.redis.announce_change` tells them: (id, app's id), oldest first."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._recent: deque[tuple[EntryId, str]] = deque(maxlen=KEEP)
        self._events: dict[asyncio.Event, Callable[[str], bool]] = {}
        self._last = "0-0"
        self.is_connected = False

    async def run(self) -> None:
        """For ever. While Redis is away nothing is told; what it still has is told afterwards."""
        while True:
            try:
                if not self.is_connected:  # the question below waits for something to happen
                    await self._client.ping()
                    self.is_connected = True
                answer: Any = await self._client.xread({CHANGES: self._last}, count=KEEP, block=5000)
                self._take(answer)
            except RedisError as exc:
                if self.is_connected:
                    log.warning("changes_lost: %s", exc)
                self.is_connected = False
                await asyncio.sleep(1)

    def _take(self, answer: Mapping[str, Any] | Sequence[Any] | None) -> None:
        streams = list(answer.items()) if isinstance(answer, Mapping) else list(answer or ())
        for _key, entries in streams:
            for entry_id, fields in entries:
                self._last = entry_id
                app = str(fields.get("app", ""))
                self._recent.append((parse_id(entry_id), app))
                for event, is_about in list(self._events.items()):
                    if is_about(app):
                        event.set()

    @contextmanager
    def watching(self, event: asyncio.Event, is_about: Callable[[str], bool]) -> Iterator[None]:
        self._events[event] = is_about
        try:
            yield
        finally:
            del self._events[event]

    @property
    def newest(self) -> EntryId:
        return self._recent[-1][0] if self._recent else BEGINNING

    def after(self, last: EntryId, is_about: Callable[[str], bool]) -> tuple[EntryId, list[str]]:
        """The newest id, and the ids of the apps that changed since `last`."""
        found = []
        for entry_id, app in reversed(self._recent):
            if entry_id <= last:
                break
            if is_about(app):
                found.append(app)
        return max(self.newest, last), list(dict.fromkeys(reversed(found)))


def parse_id(text: str) -> EntryId:
    """`1764040000000-3`, or milliseconds alone: whatever happened in that one or later is news. Else the beginning."""
    found = re.fullmatch(r"([0-9]{1,15})(?:-([0-9]{1,15}))?", text, re.ASCII)
    if found is None:
        return BEGINNING
    return (int(found[1]), int(found[2])) if found[2] else (int(found[1]) - 1, sys.maxsize)


def write_id(entry_id: EntryId) -> str:
    return f"{entry_id[0]}-{entry_id[1]}"
