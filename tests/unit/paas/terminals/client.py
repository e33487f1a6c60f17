"""The other end of a line."""

from __future__ import annotations

import asyncio


class Client:
    """The connection of a line, and what arrived at its other end."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, bool]] = []
        self.news = asyncio.Event()
        self.is_paused = False
        self.is_closed = False

    def send(self, data: bytes, *, is_error: bool) -> None:
        if self.is_closed:
            raise BrokenPipeError
        self.got.append((data, is_error))
        self.news.set()

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def abort(self) -> None:
        self.is_closed = True
