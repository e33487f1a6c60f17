"""What a stream is made of. A reader is pulled from, so that a slow connection holds up nobody and keeps nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from paas.streams import sse
from paas.streams.watch import Changes, EntryId, Files, write_id
from runtime.errors import UserError
from runtime.logs.read import AppLogReader, Filter
from runtime.logs.record import Line, Position

CHUNK = 64 * 1024
MOST_LINES = 500


@dataclass(frozen=True, slots=True)
class Manner:
    """How a stream is written: its type, what comes first, and what is said when there is nothing to say."""

    content_type: bytes
    opening: bytes = b""
    keepalive: bytes = b""


EVENTS = Manner(b"text/event-stream; charset=utf-8", sse.RETRY, sse.KEEPALIVE)
# Clients of the API read every byte as part of an event's id or of a line.
EVENTS_OF_THE_API = Manner(b"text/event-stream; charset=utf-8", keepalive=sse.KEEPALIVE)
LINES = Manner(b"text/plain; charset=utf-8")


class Reader(Protocol):
    manner: Manner
    woken: asyncio.Event  # set when there may be something to pull, or to ask the web process about

    def watching(self) -> Any:
        """A context in which `woken` is set."""
        ...

    async def pull(self) -> bytes:
        """The next events; empty when there is nothing more for now."""
        ...

    def renew(self, grant: Mapping[str, Any]) -> None:
        """What the web process says now."""
        ...

    def wants_renewal(self) -> bool:
        """Something happened after which the web process may say something else."""
        ...

    def last_words(self) -> bytes | None:
        """When nothing can follow any more: the closing event, if any. None: something may follow."""
        ...


class FileReader:
    """The log of a build, a release or a run: a file that grows until its `outcome` is known. An event's id is the
    number of lines up to its end."""

    manner = EVENTS

    def __init__(
        self, folder: Path, grant: Mapping[str, Any], after: str, *, files: Files, changes: Changes, seen: EntryId
    ) -> None:
        self._path = folder / f"{UUID(grant['file'])}.log"
        self._app = str(grant["app"])
        self._files, self._changes = files, changes
        self._outcome: Mapping[str, object] | None = grant["outcome"]
        self._skip = int(after) if after.isascii() and after.isdigit() and len(after) < 12 else 0
        self._offset = self._lines = 0
        self._seen = seen  # of the changes, before the grant was given
        self.woken = asyncio.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self._files.watching(self._path, self.woken))
            stack.enter_context(self._changes.watching(self.woken, self._is_about))
            yield

    def _is_about(self, app: str) -> bool:
        return app == self._app

    async def pull(self) -> bytes:
        if self._lines < self._skip:
            await asyncio.to_thread(self._pass_over)
        texts = self._read()
        if not texts:
            return b""
        self._lines += len(texts)
        return self._told(texts)

    def _told(self, texts: Sequence[str]) -> bytes:
        return sse.event("message", texts, id=str(self._lines))

    def _pass_over(self) -> None:
        """To the end of line `_skip`, or of what there is."""
        while self._lines < self._skip:
            ends = [found.end() for found in re.finditer(b"\n", self._chunk())][: self._skip - self._lines]
            if not ends:
                self._skip = self._lines
                return
            self._offset += ends[-1]
            self._lines += len(ends)

    def _read(self) -> list[str]:
        """Whole lines; a last one without an end only when nobody writes any more."""
        data = self._chunk()
        end = len(data) if self._outcome is not None and len(data) < CHUNK else data.rfind(b"\n") + 1
        if not end and len(data) == CHUNK:
            end = CHUNK
        self._offset += end
        return data[:end].decode(errors="replace").removesuffix("\n").split("\n") if end else []

    def _chunk(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                return file.read(CHUNK)
        except FileNotFoundError:
            return b""

    def renew(self, grant: Mapping[str, Any]) -> None:
        self._outcome = grant["outcome"]

    def wants_renewal(self) -> bool:
        self._seen, apps = self._changes.after(self._seen, self._is_about)
        return bool(apps)

    def last_words(self) -> bytes | None:
        return None if self._outcome is None else sse.event("end", self._outcome, id=str(self._lines))


class OutputReader(FileReader):
    """The same for clients of the API: the lines as they are, until there is an outcome."""

    manner = LINES

    def _told(self, texts: Sequence[str]) -> bytes:
        return "".join(f"{text}\n" for text in texts).encode()

    def last_words(self) -> bytes | None:
        return None if self._outcome is None else b""


class LogReader:
    """The tail of an app's log, filtered; of a run, until its `outcome` is known. An event's id is the position after its
    last line."""

    manner = EVENTS

    def __init__(
        self, folder: Path, grant: Mapping[str, Any], after: str, *, files: Files, changes: Changes, seen: EntryId
    ) -> None:
        self._app = str(UUID(grant["app"]))
        self._folder = folder / self._app
        self._outcome: Mapping[str, object] | None = grant.get("outcome")
        self._ends = "outcome" in grant
        self._changes, self._seen = changes, seen
        self._log = AppLogReader(self._folder)
        self._wanted = Filter.load(grant["filter"])
        self._position = Position.parse(after) or self._log.end()
        self._files = files
        self.woken = asyncio.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self._files.watching(self._folder, self.woken, self._log.end))
            if self._ends:
                stack.enter_context(self._changes.watching(self.woken, self._is_about))
            yield

    def _is_about(self, app: str) -> bool:
        return app == self._app

    async def pull(self) -> bytes:
        try:
            before = self._position
            lines, self._position = await asyncio.to_thread(self._log.after, before, self._wanted, MOST_LINES)
        except UserError as exc:  # a pattern that takes too long
            return sse.event("refused", {"message": exc.message})
        return self._told(lines) if lines else b""

    def _told(self, lines: Sequence[Line]) -> bytes:
        told = [
            {"at": line.stamp, "label": line.label, "source": line.source, "text": line.plain, "release": line.release}
            for line in lines
        ]
        return sse.event("log", {"lines": told}, id=str(self._position))

    def renew(self, grant: Mapping[str, Any]) -> None:
        self._wanted = Filter.load(grant["filter"])
        self._outcome = grant.get("outcome")

    def wants_renewal(self) -> bool:
        if not self._ends:
            return False
        self._seen, apps = self._changes.after(self._seen, self._is_about)
        return bool(apps)

    def last_words(self) -> bytes | None:
        return None if self._outcome is None else sse.event("end", self._outcome, id=str(self._position))


class SessionReader(LogReader):
    """A log session of the API: some lines of the past, and, for a tail, what comes. One event or one line for each."""

    def __init__(
        self,
        folder: Path,
        grant: Mapping[str, Any],
        after: str,
        *,
        files: Files,
        changes: Changes,
        seen: EntryId,
        as_events: bool,
    ) -> None:
        super().__init__(folder, grant, after, files=files, changes=changes, seen=seen)
        self.manner = EVENTS_OF_THE_API if as_events else LINES
        self._past = 0 if Position.parse(after) else int(grant["lines"])
        self._is_tail = bool(grant["tail"])

    async def pull(self) -> bytes:
        if self._past:
            past, self._past = self._past, 0
            page = await asyncio.to_thread(self._log.newest, self._wanted, past, before=self._position)
            return self._told(page.lines) if page.lines else b""
        return await super().pull() if self._is_tail else b""

    def _told(self, lines: Sequence[Line]) -> bytes:
        if self.manner is LINES:
            return "".join(f"{line}\n" for line in lines).encode()
        *others, last = (str(line) for line in lines)
        events = [sse.event("message", each) for each in others]
        return b"".join([*events, sse.event("message", last, id=str(self._position))])

    def last_words(self) -> bytes | None:
        return None if self._is_tail else b""


class ChangesReader:
    """`changed` whenever something happened to one of the apps. Nothing of what; the page asks for that."""

    manner = EVENTS

    def __init__(self, grant: Mapping[str, Any], after: EntryId, changes: Changes) -> None:
        self._apps = self._of(grant)
        self._changes = changes
        self._last = after
        self.woken = asyncio.Event()

    @staticmethod
    def _of(grant: Mapping[str, Any]) -> frozenset[str] | None:
        """None: all, also those to come."""
        return None if grant["apps"] is None else frozenset(grant["apps"])

    def watching(self) -> Any:
        return self._changes.watching(self.woken, self._is_about)

    def _is_about(self, app: str) -> bool:
        return self._apps is None or app in self._apps

    async def pull(self) -> bytes:
        self._last, apps = self._changes.after(self._last, self._is_about)
        return sse.event("changed", {"apps": apps}, id=write_id(self._last)) if apps else b""

    def renew(self, grant: Mapping[str, Any]) -> None:
        self._apps = self._of(grant)

    def wants_renewal(self) -> bool:
        return False

    def last_words(self) -> bytes | None:
        return None
