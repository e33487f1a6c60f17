"""A build's log: a file that stays, and a live stream for those who watch. Both see masked lines only."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO
from uuid import UUID

from django.conf import settings

from paas.core.redis import append_to_stream, read_stream
from runtime.logs.mask import masked

STREAM_SECONDS = 3600
STREAM_LINES = 4000
MAX_BYTES = 16 * 1024 * 1024
MAX_LINE = 2000


def log_path(build_id: UUID | str) -> Path:
    return settings.ENV.home / "builds" / f"{build_id}.log"


def _key(build_id: UUID | str) -> str:
    return f"paas:build:{build_id}"


class BuildLog:
    """Append-only; several processes may write to the same one (the build, then the release)."""

    def __init__(self, build_id: UUID | str, secrets: Iterable[tuple[str, str]] = ()) -> None:
        self._id = build_id
        self._secrets = list(secrets)
        self._lock = threading.Lock()
        self._full = False
        path = log_path(build_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("a", encoding="utf-8", errors="replace", buffering=1)

    def mask(self, text: str) -> str:
        return masked(text, self._secrets)

    def write(self, line: str) -> None:
        text = self.mask(line)[:MAX_LINE].rstrip("\r\n")
        with self._lock:
            if self._file.tell() > MAX_BYTES:
                if self._full:
                    return
                self._full, text = True, f"(the log has reached {MAX_BYTES // 1024 // 1024} MB; the rest is left out)"
            with suppress(OSError):  # a full disk: those who watch still see it
                self._file.write(text + "\n")
            self._send({"t": text})

    def end(self, accepted: bool, text: str) -> None:
        """The last entry: what the pusher is told. Nothing follows it."""
        with self._lock:
            self._send({"e": "done" if accepted else "failed", "t": self.mask(text)})

    def close(self) -> None:
        with suppress(OSError):
            self._file.close()

    def _send(self, fields: dict[str, str]) -> None:
        append_to_stream(_key(self._id), fields, keep=STREAM_LINES, lifetime_seconds=STREAM_SECONDS)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line; or, with `end`, the outcome ("done" or "failed") and the words for it."""

    text: str
    end: str = ""


def follow(build_id: UUID | str, *, idle_seconds: float) -> Iterator[Entry | None]:
    """Everything from the beginning, then live until the end entry. None whenever nothing came for `idle_seconds`."""
    seen = "0"
    while True:
        entries = read_stream(_key(build_id), after=seen, wait_seconds=idle_seconds)
        if not entries:
            yield None
        for entry_id, fields in entries:
            seen = entry_id
            yield Entry(fields.get("t", ""), fields.get("e", ""))


def read(build_id: UUID | str) -> Iterator[str]:
    """The log as far as it is written."""
    try:
        with log_path(build_id).open(encoding="utf-8", errors="replace") as file:
            yield from (line.rstrip("\n") for line in file)
    except FileNotFoundError:
        return


def written(build_id: UUID | str, *, after: int, most: int) -> Iterator[str]:
    """The next lines after so many, as `tail` counts them."""
    with suppress(FileNotFoundError), log_path(build_id).open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in islice(file, after, after + most):
            if line.endswith("\n"):
                yield line[:-1]


def tail(build_id: UUID | str, most: int) -> tuple[list[str], int]:
    """The last lines of the log as far as it is written, and how many there are in all. Only whole lines: who goes on
    reading counts those."""
    lines: deque[str] = deque(maxlen=most)
    count = 0
    with suppress(FileNotFoundError), log_path(build_id).open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            if line.endswith("\n"):
                count += 1
                lines.append(line[:-1])
    return list(lines), count
