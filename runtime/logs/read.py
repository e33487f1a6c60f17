"""Pages and tails of one app's log, filtered. Reading needs no lock: segments only grow, get packed, and go.

A search looks at raw records and makes values of those it returns alone: that is what makes it fast.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from isal import igzip

from runtime.errors import InvalidInput, PlatformError
from runtime.logs.record import STAMP_BYTES, Line, Position, Source, load
from runtime.logs.store import Segment, segments

SEARCH_SECONDS = 3.0
MAX_PATTERN = 200
PROCESS = re.compile(r"(?:[A-Za-z0-9_-]{1,40}(?:\.[0-9]{1,9})?)?")
_LABELS = {Source.APP: b" app[", Source.ROUTER: b" paas[router] ", Source.PLATFORM: b" paas["}
Check = Callable[[bytes], bool]
BEGINNING = Position(0, 0)
PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Filter:
    """What people ask for. Everything empty: all of it."""

    sources: frozenset[Source] = frozenset()
    process: str = ""  # a process type, or one instance: `web`, `web.1`
    release: int = 0
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""  # part of a line, in whatever case
    is_pattern: bool = False  # `text` is a regular expression
    without: frozenset[str] = frozenset()  # process types that the reader may not see

    def dump(self) -> dict[str, object]:
        """As JSON, for another process."""
        return {
            "sources": sorted(self.sources),
            "process": self.process,
            "release": self.release,
            "since": self.since.isoformat() if self.since else "",
            "until": self.until.isoformat() if self.until else "",
            "text": self.text,
            "is_pattern": self.is_pattern,
            "without": sorted(self.without),
        }

    @classmethod
    def load(cls, given: Mapping[str, Any]) -> Filter:
        return cls(
            sources=frozenset(Source(source) for source in given["sources"]),
            process=given["process"],
            release=given["release"],
            since=datetime.fromisoformat(given["since"]) if given["since"] else None,
            until=datetime.fromisoformat(given["until"]) if given["until"] else None,
            text=given["text"],
            is_pattern=given["is_pattern"],
            without=frozenset(given["without"]),
        )

    def check(self) -> None:
        """Raises `InvalidInput`."""
        if len(self.text) > MAX_PATTERN or not self.text.isprintable():
            raise InvalidInput(f"Search for up to {MAX_PATTERN} printable characters.", id="invalid_log_filter")
        if not PROCESS.fullmatch(self.process):
            raise InvalidInput(
                f"{self.process[:40]!r} is neither a process type nor an instance.",
                hint="Write web, or web.1.",
                id="invalid_log_filter",
            )
        if self.is_pattern and self.text:
            Pattern(self.text).matches([])


@dataclass(frozen=True, slots=True)
class Page:
    lines: Sequence[Line]  # oldest first
    older: Position | None  # ask for what is before this; None: there is no more


class AppLogReader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def newest(self, wanted: Filter, limit: int, *, before: Position | None = None) -> Page:
        """The last `limit` lines that match. Raises `InvalidInput` for a bad pattern."""
        found: list[Line] = []
        if limit <= 0:
            return Page(found, None)
        pattern = Pattern(wanted.text) if wanted.is_pattern and wanted.text else None
        for segment in reversed(segments(self._folder)):
            if before is not None and segment.number > before.segment:
                continue
            if wanted.since and segment.last and segment.last < wanted.since.timestamp() - 1:
                continue
            if wanted.until and segment.first and segment.first > wanted.until.timestamp():
                continue
            data = content(segment)
            end = before.offset if before is not None and before.segment == segment.number else len(data)
            for offset, record in _search(data, min(end, len(data)), wanted, pattern):
                line = load(record, Position(segment.number, offset))
                if line is not None:
                    found.append(line)
                if len(found) > limit:
                    return Page(found[limit - 1 :: -1], found[limit - 1].position)
        return Page(found[::-1], None)

    def after(self, position: Position, wanted: Filter, limit: int) -> tuple[Sequence[Line], Position]:
        """What came since, at most `limit` lines, and where to go on."""
        found: list[Line] = []
        accept = _check_of(wanted)
        pattern = Pattern(wanted.text) if wanted.is_pattern and wanted.text else None
        for segment in segments(self._folder):
            if segment.number < position.segment:
                continue
            begin = position.offset if segment.number == position.segment else 0
            data, start = content(segment, begin), 0
            while start < len(data):
                # Piece by piece: a tail wants little, a download everything.
                stop = data.rfind(b"\n", start, start + PIECE_BYTES) + 1 or data.find(b"\n", start) + 1
                records = data[start:stop].split(b"\n")[:-1]
                good = None if pattern is None else set(pattern.matches([_text(record) for record in records]))
                for number, record in enumerate(records):
                    at = Position(segment.number, begin + start)
                    start += len(record) + 1
                    if (good is None or number in good) and accept(record) and (line := load(record, at)):
                        found.append(line)
                        if len(found) >= limit:
                            return found, Position(segment.number, begin + start)
            position = Position(segment.number, begin + start)
        return found, position

    def end(self) -> Position:
        """Where the next line will be."""
        found = segments(self._folder)
        if not found:
            return BEGINNING
        last = found[-1]
        if last.is_packed:
            return Position(last.number + 1, 0)
        try:
            return Position(last.number, last.path.stat().st_size)
        except FileNotFoundError:
            return Position(last.number + 1, 0)

    def everything(self, wanted: Filter) -> Iterator[Line]:
        """For a download, oldest first, piece by piece."""
        position = BEGINNING
        while True:
            lines, position = self.after(position, wanted, 2000)
            yield from lines
            if len(lines) < 2000:
                return


def content(segment: Segment, offset: int = 0) -> bytes:
    """Empty when it has gone meanwhile; a growing one may have been packed."""
    for each in (segment, *(other for other in segments(segment.path.parent) if other.number == segment.number)):
        try:
            if each.is_packed:
                return bytes(igzip.decompress(each.path.read_bytes())[offset:])  # type: ignore[no-untyped-call]
            with each.path.open("rb") as file:
                file.seek(offset)
                data = file.read()
                return data[: data.rfind(b"\n") + 1]
        except (FileNotFoundError, EOFError):
            continue
    return b""


def _search(data: bytes, end: int, wanted: Filter, pattern: Pattern | None) -> Iterator[tuple[int, bytes]]:
    """(offset, record) of those that match, newest first."""
    accept = _check_of(wanted)
    if pattern is not None:
        yield from pattern.search(data, end, accept)
        return
    anchor, lowered = _anchor(wanted)
    if anchor:
        yield from _around(data.lower() if lowered else data, data, end, anchor, accept)
    else:
        yield from _backwards(data, end, accept)


def _anchor(wanted: Filter) -> tuple[bytes, bool]:
    """Bytes that every wanted record has, the rarest first, and whether they are those of the lowered data."""
    if wanted.text and wanted.text.isascii():
        return wanted.text.lower().encode(), True
    if wanted.process:
        return b" app[%s" % wanted.process.encode() + (b"] " if "." in wanted.process else b"."), False
    if wanted.release:
        return b"] v%d " % wanted.release, False
    if len(wanted.sources) == 1:
        return _LABELS[next(iter(wanted.sources))], False
    return b"", False


def _backwards(data: bytes, end: int, accept: Check) -> Iterator[tuple[int, bytes]]:
    at = end
    for record in reversed(data[:end].split(b"\n")[:-1]):
        at -= len(record) + 1
        if accept(record):
            yield at, record


def _around(searched: bytes, data: bytes, end: int, anchor: bytes, accept: Check) -> Iterator[tuple[int, bytes]]:
    while (hit := searched.rfind(anchor, 0, end)) >= 0:
        start = searched.rfind(b"\n", 0, hit) + 1
        stop = searched.find(b"\n", hit)
        record = data[start : stop if stop >= 0 else end]
        if accept(record):
            yield start, record
        end = start


class Pattern:
    """A regular expression in the hands of grep, a process of its own: it can be stopped, and a pattern can take for
    ever. All searches with one of these share one deadline."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._deadline = time.monotonic() + SEARCH_SECONDS
        # Elsewhere a match in a text is a match in its record, too: most records need not be looked at one by one.
        self._may_prefilter = not re.search(r"\^|\\A|\(\?<|\\G", text)

    def search(self, data: bytes, end: int, accept: Check) -> Iterator[tuple[int, bytes]]:
        candidates = self._prefiltered(data[:end], accept) if self._may_prefilter else _backwards(data, end, accept)
        while chunk := list(itertools.islice(candidates, 5000)):
            for number in self.matches([_text(record) for _, record in chunk]):
                yield chunk[number]

    def matches(self, texts: Sequence[bytes]) -> list[int]:
        """Which of them match."""
        said = self._grep("-n", b"".join(text + b"\n" for text in texts))
        return [int(line.partition(b":")[0]) - 1 for line in said]

    def _prefiltered(self, data: bytes, accept: Check) -> Iterator[tuple[int, bytes]]:
        for line in reversed(self._grep("-b", data)):
            offset, _, record = line.partition(b":")
            if accept(record):
                yield int(offset), record

    def _grep(self, option: str, data: bytes) -> list[bytes]:
        command = ["grep", option, "-aiP", "-e", self._text]
        try:
            done = subprocess.run(
                command,
                input=data,
                capture_output=True,
                timeout=max(0.1, self._deadline - time.monotonic()),
                check=False,
                env={"LC_ALL": "C", "PATH": os.defpath},  # in UTF-8, grep 3.8 finds no "ö" for "."
            )
        except subprocess.TimeoutExpired as exc:
            raise InvalidInput(
                "This pattern takes too long.", hint="Make it simpler, or narrow the time.", id="invalid_log_filter"
            ) from exc
        except OSError as exc:
            raise PlatformError(f"grep can't be run: {exc.strerror}.") from exc
        if done.returncode > 1:
            said = done.stderr.decode(errors="replace").strip().removeprefix("grep: ")[:200]
            raise InvalidInput(f"This is no pattern that we can search for: {said}", id="invalid_log_filter")
        return done.stdout.split(b"\n")[:-1]


def _check_of(wanted: Filter) -> Check:
    """A test of a raw record: everything but patterns."""
    tests: list[Check] = []
    labels = tuple(_LABELS[source] for source in wanted.sources)
    if labels:
        tests.append(lambda record: record.startswith(labels, STAMP_BYTES))
        if Source.PLATFORM in wanted.sources and Source.ROUTER not in wanted.sources:
            tests.append(lambda record: not record.startswith(_LABELS[Source.ROUTER], STAMP_BYTES))
    if wanted.process:
        start = b" app[%s" % wanted.process.encode() + (b"] " if "." in wanted.process else b".")
        tests.append(lambda record: record.startswith(start, STAMP_BYTES))
    if wanted.without:
        hidden = tuple(b" app[%s." % name.encode() for name in wanted.without)
        tests.append(lambda record: not record.startswith(hidden, STAMP_BYTES))
    if wanted.release:
        release = b"v%d" % wanted.release
        tests.append(lambda record: record.split(b" ", 3)[2:3] == [release])
    if wanted.since is not None:
        since = _stamp(wanted.since)
        tests.append(lambda record: record[:STAMP_BYTES] >= since)
    if wanted.until is not None:
        until = _stamp(wanted.until)
        tests.append(lambda record: record[:STAMP_BYTES] <= until)
    if wanted.text and not wanted.is_pattern:
        needle = wanted.text.lower()
        raw = needle.encode()
        if needle.isascii():
            tests.append(lambda record: raw in _text(record).lower())
        else:
            tests.append(lambda record: needle in _text(record).decode(errors="replace").lower())
    if len(tests) == 1:
        return tests[0]
    return lambda record: all(test(record) for test in tests)


def _stamp(at: datetime) -> bytes:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}+00:00".encode()


def _text(record: bytes) -> bytes:
    return record.split(b" ", 4)[-1]


def parse_moment(text: str, *, now: datetime) -> datetime:
    """`30m`, `2h`, `1d`, `2026-11-23`, `2026-11-23T16:00`, with or without an offset (UTC without). Raises
    `InvalidInput`."""
    text = text.strip()
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    if text[-1:] in units and text[:-1].isascii() and text[:-1].isdigit() and len(text) < 8:
        return now - timedelta(**{units[text[-1]]: int(text[:-1])})
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise InvalidInput(
            f"{text[:40]!r} is no time.", hint="Write 30m, 2h, 1d or 2026-11-23T16:00 (UTC).", id="invalid_log_filter"
        ) from exc
