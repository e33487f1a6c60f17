"""An app's log read on from a position, a piece at a time, by somebody who must miss nothing and keep little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from runtime.logs.read import BEGINNING, content
from runtime.logs.record import Line, Position, load
from runtime.logs.store import Segment, segments

MAX_LINES = 500
MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Batch:
    lines: Sequence[Line]
    start: Position
    end: Position
    has_gap: bool = False  # what was before `start` has been deleted meanwhile


class BatchReader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._packed: tuple[int, bytes] = (-1, b"")  # unpacked while it is being read

    def start(self, since: datetime) -> Position:
        """Where the first line of that moment can be."""
        for segment in segments(self._folder):
            if not segment.last or segment.last >= int(since.timestamp()):
                return Position(segment.number, 0)
        return BEGINNING

    def after(self, position: Position, until: Position | None = None) -> Batch | None:
        """The next lines, up to a bound or to `until` (which is in the same segment); None when there are none yet."""
        found = segments(self._folder)
        has_gap = bool(found) and position != BEGINNING and found[0].number > position.segment
        for segment in found:
            if segment.number < position.segment or (until is not None and segment.number > until.segment):
                continue
            begin = position.offset if segment.number == position.segment else 0
            data = self._data(segment, begin)
            stop = len(data) if until is None else until.offset - begin
            lines: list[Line] = []
            at = 0
            while at < min(stop, MAX_BYTES) and len(lines) < MAX_LINES:
                end = data.find(b"\n", at)
                if end < 0:
                    break
                line = load(data[at:end], Position(segment.number, begin + at))
                at = end + 1
                if line is not None:
                    lines.append(line)
            if at:
                return Batch(lines, Position(segment.number, begin), Position(segment.number, begin + at), has_gap)
        return None

    def _data(self, segment: Segment, begin: int) -> bytes:
        if not segment.is_packed:
            try:
                with segment.path.open("rb") as file:
                    file.seek(begin)
                    return file.read(2 * MAX_BYTES)
            except FileNotFoundError:  # packed a moment ago
                pass
        if self._packed[0] != segment.number:
            self._packed = (segment.number, content(segment))
        data = self._packed[1][begin : begin + 2 * MAX_BYTES]
        if not data:
            self._packed = (-1, b"")
        return data
