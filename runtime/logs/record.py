"""One line of a log: as a value, as people read it, and as it lies on the disk.

    2026-11-23T16:00:00.123456+00:00 app[web.1] v12 4f1c9a0b7d2e Listening on 8080

The fields before the text have no spaces. The fourth is the origin: the container, or where the router's log or the
platform's stream has been read up to. It makes the store itself the record of what has been collected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

MAX_TEXT_BYTES = 10_000
STAMP_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")
ORIGIN = re.compile(r"[A-Za-z0-9.-]{1,60}")
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_]|$)")
COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in [*range(32), 127] if chr(code) not in "\t\x1b"}


class Source(StrEnum):
    APP = "app"
    ROUTER = "router"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a line begins. Lines are in the order in which they arrived."""

    segment: int
    offset: int

    def __str__(self) -> str:
        return f"{self.segment}-{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        found = re.fullmatch(r"([0-9]{1,12})-([0-9]{1,12})", text, re.ASCII)
        return cls(int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class Line:
    at: datetime
    source: Source
    name: str  # "web.1", "release", "run.7"; of the platform: "api", "release", "logs"
    text: str
    release: int = 0  # 0 = of none
    origin: str = "-"
    position: Position | None = None  # when it has been read from the store

    @property
    def label(self) -> str:
        if self.source is Source.APP:
            return f"app[{self.name}]"
        return "paas[router]" if self.source is Source.ROUTER else f"paas[{self.name}]"

    @property
    def stamp(self) -> str:
        return self.at.astimezone(UTC).isoformat(timespec="microseconds")

    @property
    def plain(self) -> str:
        """The text without colours."""
        return COLOUR.sub("", self.text)

    def __str__(self) -> str:
        return f"{self.stamp} {self.label}: {self.text}"


def dump(line: Line) -> bytes:
    """With the line's end. Whatever the text is, this is one line of bounded length."""
    if not NAME.fullmatch(line.name) or not ORIGIN.fullmatch(line.origin):
        raise ValueError(f"{line.name!r} and {line.origin!r} can't be kept")
    release = f"v{line.release}" if line.release else "-"
    head = f"{line.stamp} {line.label} {release} {line.origin} "
    return head.encode() + _bounded(clean(line.text)) + b"\n"


def load(record: bytes, position: Position | None = None) -> Line | None:
    """None for what is no record."""
    parts = record.split(b" ", 4)
    if len(parts) != 5:
        return None
    stamp, label, release, origin, text = (part.decode(errors="replace") for part in parts)
    kind, _, name = label.removesuffix("]").partition("[")
    if kind == "app":
        source = Source.APP
    else:
        source = Source.ROUTER if name == "router" else Source.PLATFORM
    try:
        at = datetime.fromisoformat(stamp)
        return Line(at, source, name, text, int(release[1:] or 0), origin, position)
    except ValueError:
        return None


def clean(text: str) -> str:
    """Colours stay. Everything else that would move a terminal's cursor or end the line goes."""
    if text.isprintable():
        return text
    if "\x1b" in text:
        text = ESCAPES.sub(lambda found: found[0] if COLOUR.fullmatch(found[0]) else "", text)
    return text.translate(_CONTROLS)


def _bounded(text: str) -> bytes:
    data = text.encode(errors="replace")
    if len(data) <= MAX_TEXT_BYTES:
        return data
    kept = data[:MAX_TEXT_BYTES].decode(errors="ignore")
    return f"{kept}… ({len(data) - len(kept.encode()):,} more bytes of this line are left out)".encode()
