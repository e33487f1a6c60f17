"""The files: for each app a folder of segments, the last of which grows.

    APP-ID/00000007.log                              the one that grows
    APP-ID/00000006.1764000000-1764003600.log.gz     a full one, with the seconds of its earliest and latest line
    APP-ID/marks.json                                what had been collected when the last segment was full

One process writes, any number read (`read.py`). Nothing has to be said at a crash: what lies in the growing segment tells
what has been collected since `marks.json`, and half a line at its end is cut off.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from isal import igzip

from runtime.logs.record import STAMP_BYTES, Line, Source, dump

log = logging.getLogger(__name__)

SEGMENT = re.compile(r"([0-9]{8,})(?:\.([0-9]+)-([0-9]+))?\.log(\.gz)?")
MARKS = "marks.json"
NAMES = "name"  # a file with those that the app has had, a line for each, the newest last
MOST_MARKS = 500


@dataclass(frozen=True, slots=True)
class Limits:
    app_bytes: int = 64 * 1024**2
    total_bytes: int = 2 * 1024**3
    keep_seconds: float = 30 * 24 * 3600
    segment_bytes: int = 4 * 1024**2
    segment_seconds: float = 24 * 3600


@dataclass(frozen=True, slots=True)
class Segment:
    number: int
    path: Path
    is_packed: bool
    first: int = 0  # seconds; 0 and `last` 0 = it still grows
    last: int = 0


@dataclass(slots=True)
class Mark:
    """Up to where an origin has been collected: a moment, and how many lines of exactly that moment."""

    stamp: str = ""
    count: int = 0


def names_in(folder: Path) -> list[str]:
    """What the app of this folder is and was called. Raises `OSError` when nobody has written that down."""
    return (folder / NAMES).read_text().split("\n")


def segments(folder: Path) -> list[Segment]:
    """Oldest first. One that is being packed is listed once."""
    found: dict[int, Segment] = {}
    try:
        names = os.listdir(folder)  # noqa: PTH208  # names are enough
    except FileNotFoundError:
        return []
    for name in names:
        match = SEGMENT.fullmatch(name)
        if match:
            number, is_packed = int(match[1]), bool(match[4])
            if is_packed or number not in found:
                found[number] = Segment(number, folder / name, is_packed, int(match[2] or 0), int(match[3] or 0))
    return [found[number] for number in sorted(found)]


class AppLog:
    """The writing end of one app's log."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._marks: dict[str, Mark] = {}
        self._number = 1
        self._size = 0
        self._first = self._last = 0
        self._began = time.time()
        self._lost = 0
        self._open()

    def mark(self, origin: str) -> Mark:
        found = self._marks.get(origin)
        return Mark(found.stamp, found.count) if found else Mark()

    def append(self, lines: Sequence[Line]) -> bool:
        """True when the segment is full now. A disk that takes nothing costs lines, and the log says how many."""
        records = [(line, dump(line)) for line in lines]
        if self._lost:
            words = f"{self._lost} lines were lost: the disk took nothing more."
            notice = Line(datetime.now(tz=UTC), Source.PLATFORM, "logs", words)
            records.insert(0, (notice, dump(notice)))
        try:
            self._write(b"".join(record for _, record in records))
        except OSError as exc:
            if not self._lost:
                log.warning("log_lines_lost", extra={"folder": str(self._folder), "reason": exc.strerror})
            self._lost += len(lines)
            return False
        self._lost = 0
        for line, record in records:
            at = int(line.at.timestamp())
            self._first, self._last = min(self._first or at, at), max(self._last, at)
            self._count(line.origin, record[:STAMP_BYTES].decode())
        return self.is_full()

    def is_full(self) -> bool:
        is_old = self._size > 0 and time.time() - self._began > self._limits.segment_seconds
        return self._size >= self._limits.segment_bytes or is_old

    def rotate(self) -> None:
        """Pack the segment that is full. The marks come first: they tell what it would have told."""
        if not self._size:
            return
        source = self._path()
        packed = self._folder / f"{self._number:08d}.{self._first}-{self._last}.log.gz"
        beside = self._folder / f".{packed.name}.new"
        try:
            self._write_marks(self._number + 1)
            with source.open("rb") as raw, igzip.open(beside, "wb", compresslevel=1) as out:  # type: ignore[no-untyped-call]
                shutil.copyfileobj(raw, out, 256 * 1024)
            beside.replace(packed)
            source.unlink()
        except OSError as exc:  # it goes on growing for a while
            log.warning("log_not_rotated", extra={"folder": str(self._folder), "reason": exc.strerror})
            beside.unlink(missing_ok=True)
            return
        self._number += 1
        self._size, self._first, self._last, self._began = 0, 0, 0, time.time()

    def _path(self) -> Path:
        return self._folder / f"{self._number:08d}.log"

    def _open(self) -> None:
        """Find out what has been collected: the marks, and all that was written after them."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads((self._folder / MARKS).read_text())
            self._number = int(kept["next"])
            self._marks = {origin: Mark(stamp, int(count)) for origin, (stamp, count) in kept["marks"].items()}
        found = segments(self._folder)
        for segment in found:
            if segment.is_packed:
                (self._folder / f"{segment.number:08d}.log").unlink(missing_ok=True)
        if found:
            self._number = max(self._number, found[-1].number + found[-1].is_packed)
        with suppress(FileNotFoundError), self._path().open("r+b") as file:
            data = file.read()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                file.truncate(whole)
            self._size = whole
            stamps = [self._recount(record) for record in data[:whole].split(b"\n")[:-1]]
            if stamps:
                self._first, self._last = (_seconds(stamp) for stamp in (min(stamps), max(stamps)))
                self._began = float(self._first)

    def _recount(self, record: bytes) -> str:
        stamp, _label, _release, origin, *_text = record.decode(errors="replace").split(" ", 4)
        self._count(origin, stamp)
        return stamp

    def _count(self, origin: str, stamp: str) -> None:
        if origin == "-":
            return
        origin, _, progress = origin.partition(".")
        mark = self._marks.pop(origin, None) or Mark()
        if progress:
            mark = Mark(progress, 1)
        elif stamp == mark.stamp:
            mark.count += 1
        elif stamp > mark.stamp:
            mark = Mark(stamp, 1)
        self._marks[origin] = mark  # at the end: the dictionary is in the order of last use

    def _write(self, data: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            written = 0
            while written < len(data):
                written += os.write(descriptor, memoryview(data)[written:])
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, self._size)
            raise
        finally:
            os.close(descriptor)
        if not self._size:
            self._began = time.time()
        self._size += len(data)

    def _write_marks(self, number: int) -> None:
        kept = dict(list(self._marks.items())[-MOST_MARKS:])
        beside = self._folder / f".{MARKS}.new"
        marks = {origin: [mark.stamp, mark.count] for origin, mark in kept.items()}
        beside.write_text(json.dumps({"next": number, "marks": marks}))
        beside.replace(self._folder / MARKS)
        self._marks = kept


@dataclass
class LogStore:
    """All apps' logs, under one budget. For one thread of one process."""

    root: Path
    limits: Limits = Limits()
    _open: dict[str, AppLog] = field(default_factory=dict)

    def app(self, app_id: str) -> AppLog:
        found = self._open.get(app_id)
        if found is None:
            found = self._open[app_id] = AppLog(self.root / app_id, self.limits)
        return found

    def append(self, app_id: str, lines: Sequence[Line]) -> None:
        if self.app(app_id).append(lines):
            self.app(app_id).rotate()
            self.tidy()

    def forget(self, app_id: str) -> None:
        self._open.pop(app_id, None)
        shutil.rmtree(self.root / app_id, ignore_errors=True)

    def tidy(self, *, now: float | None = None) -> None:
        """Delete what is too old or too much: an app over its own budget first, then of all the one that has most."""
        now = time.time() if now is None else now
        sizes: dict[str, list[tuple[Segment, int]]] = {}
        for folder in self._folders():
            app = self._open.get(folder.name)
            if app is not None and app.is_full():
                app.rotate()
            kept = [(segment, _size(segment.path)) for segment in segments(folder)]
            old = [pair for pair in kept if pair[0].is_packed and pair[0].last < now - self.limits.keep_seconds]
            kept = self._without(kept, old)
            over = sum(size for _, size in kept) - self.limits.app_bytes
            sizes[folder.name] = self._without(kept, _oldest(kept, over))
        totals = {name: sum(size for _, size in kept) for name, kept in sizes.items()}
        while sum(totals.values()) > self.limits.total_bytes:
            name = max((name for name in sizes if len(sizes[name]) > 1), key=lambda name: totals[name], default=None)
            if name is None:
                return
            segment, size = sizes[name].pop(0)
            segment.path.unlink(missing_ok=True)
            totals[name] -= size

    def _folders(self) -> Iterable[Path]:
        return [each for each in self.root.iterdir() if each.is_dir()] if self.root.exists() else []

    @staticmethod
    def _without(kept: list[tuple[Segment, int]], gone: Sequence[tuple[Segment, int]]) -> list[tuple[Segment, int]]:
        for segment, _ in gone:
            segment.path.unlink(missing_ok=True)
        return [pair for pair in kept if pair not in gone]


def _seconds(stamp: str) -> int:
    try:
        return int(datetime.fromisoformat(stamp).timestamp())
    except ValueError:
        return int(time.time())


def _oldest(kept: Sequence[tuple[Segment, int]], over: int) -> list[tuple[Segment, int]]:
    """As many as it takes; never the last, which grows."""
    gone = []
    for segment, size in kept[:-1]:
        if over <= 0:
            break
        gone.append((segment, size))
        over -= size
    return gone


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def sizes(root: Path) -> Mapping[str, int]:
    """Bytes on the disk for each app, for the page about the host."""
    folders = [each for each in root.iterdir() if each.is_dir()] if root.exists() else []
    return {folder.name: sum(_size(segment.path) for segment in segments(folder)) for folder in folders}
