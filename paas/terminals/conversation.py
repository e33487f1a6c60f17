"""A client on one side, the terminal or the pipes of a container on the other, in one thread."""

from __future__ import annotations

import select
import time
from contextlib import suppress

from paas.runs.services import Session
from paas.terminals.line import Line
from runtime.engine.api import Attached
from runtime.errors import EngineError

PIECE = 4096  # a socket that says it is writable takes so much without waiting
END_OF_INPUT = b"\x04"  # in a terminal
SETTLED_SECONDS = 0.3
LOOK_SECONDS = 5.0


def converse(session: Session, line: Line, *, says_end: bool = False) -> int:
    """Until the process ends; its exit code. A client that goes away ends it: -1.

    `says_end`: a client without a terminal writes `\\x04` when its input has ended, and keeps the connection open."""
    with suppress(OSError):  # the client has gone
        _relay(session.attached, line, has_terminal=session.run.has_terminal, says_end=says_end)
    while not line.is_lost:
        with suppress(TimeoutError):  # it has closed its output, and goes on
            return session.wait(LOOK_SECONDS)
    return -1


def _relay(attached: Attached, line: Line, *, has_terminal: bool, says_end: bool) -> None:
    poll = select.poll()
    source = _Input(line, has_terminal=has_terminal, says_end=says_end)
    container = attached.fileno()
    shown: tuple[int, int] | None = None
    with line.bell() as bell:
        poll.register(bell, select.POLLIN)
        while not line.is_lost:
            if has_terminal and line.window not in {None, shown}:
                shown = line.window
                _resize(attached, shown)
            source.look(attached)
            poll.register(container, select.POLLIN | (select.POLLOUT if source.waiting else 0))
            ready = dict(poll.poll(source.milliseconds))
            if bell in ready:
                line.heed(bell)
            if ready.get(container, 0) & ~select.POLLOUT:
                stream, data = attached.receive()
                if not data:
                    return
                line.write(data, is_error=stream == "stderr")
            if ready.get(container, 0) & select.POLLOUT:
                source.send(attached)


def _resize(attached: Attached, window: tuple[int, int] | None) -> None:
    if window is not None:
        with suppress(EngineError):  # it has ended
            attached.resize(*window)


class _Input:
    """What the client has sent and the container has not taken yet."""

    def __init__(self, line: Line, *, has_terminal: bool, says_end: bool) -> None:
        self._line = line
        self._has_terminal = has_terminal
        self._says_end = says_end and not has_terminal
        self._end_at: float | None = None  # an end was said, unless something follows
        self._is_closed = False
        self.waiting = b""

    @property
    def milliseconds(self) -> float:
        if self._end_at is None:
            return LOOK_SECONDS * 1000
        return max(1.0, (self._end_at - time.monotonic()) * 1000)

    def look(self, attached: Attached) -> None:
        if self._is_closed or self.waiting:
            return
        self.waiting = self._line.take()
        if self._says_end:
            self._hold_back()
        if not self.waiting and (self._line.has_ended or self._is_over()):
            self._close(attached)

    def _hold_back(self) -> None:
        """A last `\\x04` may be data, when more comes."""
        if not self.waiting:
            return
        if self._end_at is not None:
            self._end_at, self.waiting = None, END_OF_INPUT + self.waiting
        if self.waiting.endswith(END_OF_INPUT):
            self._end_at, self.waiting = time.monotonic() + SETTLED_SECONDS, self.waiting[:-1]

    def _is_over(self) -> bool:
        return self._end_at is not None and time.monotonic() >= self._end_at

    def _close(self, attached: Attached) -> None:
        self._is_closed, self._end_at = True, None
        if self._has_terminal:
            self.waiting = END_OF_INPUT
        else:
            attached.close_stdin()

    def send(self, attached: Attached) -> None:
        piece, self.waiting = self.waiting[:PIECE], self.waiting[PIECE:]
        try:
            attached.send(piece)
        except EngineError:  # it takes no input any more; what it says is still read
            self._is_closed, self.waiting = True, b""
