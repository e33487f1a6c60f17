"""One client, as both sides see it: the event loop, which has its connection, and the thread that serves it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

MOST_UNREAD = 256 * 1024  # then the client has to wait
LOOK_SECONDS = 0.05
PATIENCE_SECONDS = 120.0  # with a client that takes nothing


class Connection(Protocol):
    """What the loop writes to: an SSH channel, a TLS transport."""

    def send(self, data: bytes, *, is_error: bool) -> None:
        """Raises `OSError` when it is closed."""
        ...

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abort(self) -> None: ...


class Line:
    """Also the `Stream` of runtime.git. Methods of the loop: `received`, `ended`, `lost`, `resized`, `pause`, `resume`,
    `say`, `read`; those of a thread: `expect`, `recv`, `take`, `write`, `bell`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._unread: deque[bytes] = deque()
        self._size = 0
        self._is_held = False
        self._guard = threading.Condition()
        self._news = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._bell: int | None = None
        self._heard = time.monotonic()
        self._stall_seconds = float("inf")
        self.has_ended = False  # it sends no more
        self.is_lost = False
        self.gone = asyncio.Event()  # the same, to be waited for
        self.window: tuple[int, int] | None = None  # rows and columns of its terminal

    # Of the loop

    def received(self, data: bytes) -> None:
        with self._guard:
            self._unread.append(data)
            self._size += len(data)
            self._heard = time.monotonic()
            if self._size > MOST_UNREAD and not self._is_held:
                self._is_held = True
                self._connection.pause_reading()
            self._ring()

    def ended(self) -> None:
        with self._guard:
            self.has_ended = True
            self._ring()

    def lost(self) -> None:
        with self._guard:
            self.has_ended = self.is_lost = True
            self._may_write.set()
            self.gone.set()
            self._ring()

    def resized(self, rows: int, columns: int) -> None:
        with self._guard:
            self.window = (rows, columns) if 0 < rows <= 1000 and 0 < columns <= 1000 else self.window
            self._ring()

    def pause(self) -> None:
        self._may_write.clear()

    def resume(self) -> None:
        self._may_write.set()

    async def read(self) -> bytes:
        """What has come; b"" at the end."""
        while not (data := self.take()) and not self.has_ended:
            self._news.clear()
            await self._news.wait()
        return data or self.take()

    async def say(self, data: bytes, *, is_error: bool = False) -> None:
        """Waits for a slow client. Raises `OSError` when it is gone."""
        if self.is_lost:
            raise BrokenPipeError("the client has gone")
        self._connection.send(data, is_error=is_error)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._may_write.wait()
        except TimeoutError as exc:
            self._connection.abort()
            raise BrokenPipeError("the client takes nothing any more") from exc

    def _ring(self) -> None:
        self._guard.notify_all()
        self._news.set()
        if self._bell is not None:
            os.eventfd_write(self._bell, 1)

    # Of a thread

    def take(self) -> bytes:
        """What has come so far, without waiting."""
        with self._guard:
            data = b"".join(self._unread)
            self._unread.clear()
            self._size = 0
            if self._is_held:
                self._is_held = False
                self._call(self._connection.resume_reading)
            return data

    def expect(self, within_seconds: float) -> None:
        """From now on a client that sends nothing for so long counts as gone, where it is waited for."""
        with self._guard:
            self._heard, self._stall_seconds = time.monotonic(), within_seconds

    def recv(self, limit: int) -> bytes | None:
        """1 to `limit` bytes; b"" at the end; None when nothing came within a moment."""
        with self._guard:
            if not self._unread and not self.has_ended:
                self._guard.wait(LOOK_SECONDS)
            if self._unread:
                block = self._unread.popleft()
                if len(block) > limit:
                    self._unread.appendleft(block[limit:])
                    block = block[:limit]
                self._size -= len(block)
                if self._is_held and self._size < MOST_UNREAD // 2:
                    self._is_held = False
                    self._call(self._connection.resume_reading)
                return block
            if self.has_ended or time.monotonic() - self._heard > self._stall_seconds:
                return b""
        return None

    def write(self, data: bytes, *, is_error: bool = False) -> None:
        """Returns when the client has room again. Raises `OSError` when it is gone."""
        try:
            asyncio.run_coroutine_threadsafe(self.say(data, is_error=is_error), self._loop).result()
        except RuntimeError as exc:  # the loop is closed: we are stopping
            raise BrokenPipeError(str(exc)) from exc

    @contextmanager
    def bell(self) -> Iterator[int]:
        """A descriptor that becomes readable whenever there is news."""
        with self._guard:
            self._bell = os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            yield self._bell
        finally:
            with self._guard:
                bell, self._bell = self._bell, None
            os.close(bell)

    @staticmethod
    def heed(bell: int) -> None:
        """It has been heard."""
        with suppress(BlockingIOError):
            os.eventfd_read(bell)

    def _call(self, function: object) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function)  # type: ignore[arg-type]
