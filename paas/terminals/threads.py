"""Bounded pools of threads for what blocks: rows, the engine, pushes, commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Threads are made as they are needed; who comes when all are busy waits for one. Each piece of work is done inside
    `around`."""

    def __init__(self, name: str, most: int, around: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix=name)
        self._around = around
        self.most = most
        self.busy = 0
        self.idle = asyncio.Event()
        self.idle.set()

    @property
    def is_full(self) -> bool:
        return self.busy >= self.most

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In a thread, with the context of whoever asks. It goes on there when nobody waits for it any longer."""

        def work() -> T:
            with self._around():
                return function(*args, **kwargs)

        self.busy += 1
        self.idle.clear()
        future = asyncio.get_running_loop().run_in_executor(self._pool, copy_context().run, work)
        future.add_done_callback(self._done)
        return await asyncio.shield(future)

    def _done(self, future: asyncio.Future[T]) -> None:
        self.busy -= 1
        if not self.busy:
            self.idle.set()
        if not future.cancelled():
            future.exception()  # nobody may be left to see it; whoever works in here says what went wrong
