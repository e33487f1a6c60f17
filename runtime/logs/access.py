"""The router's access log: JSON lines of all apps in one file, followed through its rotations."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runtime.logs.record import Line, Source

MOST_AT_ONCE = 512 * 1024
MOST_BEHIND = 32 * 1024**2  # further behind than this, the rest is passed over
NAME_BYTES = 64  # of the first line: an inode alone is used again


@dataclass(frozen=True, slots=True)
class Request:
    app: str  # its name
    file: str  # which file it is from
    end: int  # where it ends in there
    entry: Mapping[str, Any]

    def line(self, instances: Mapping[str, str]) -> Line:
        """As people know it from Heroku. `instances` tells who has an address."""
        entry = self.entry
        address = str(entry.get("upstream", "")).rpartition(", ")[2]
        status = int(entry.get("status", 0))
        seconds = str(entry.get("upstream_seconds", "")).rpartition(", ")[2]
        service = round(_number(seconds, _number(entry.get("seconds"))) * 1000)
        instance = instances.get(address.rpartition(":")[0], "")
        text = (
            f"at={'error' if status >= 500 else 'info'} method={_word(entry.get('method'))} "
            f'path="{_quoted(entry.get("path"))}" host={_word(entry.get("host"))} request_id={_word(entry.get("id"))} '
            f'fwd="{_quoted(entry.get("client"))}" process={instance or "-"} service={service}ms status={status} '
            f"bytes={int(_number(entry.get('bytes_out')))} protocol={_word(entry.get('scheme'))}"
        )
        return Line(_moment(entry.get("at")), Source.ROUTER, "router", text, origin=f"router.{self.file}-{self.end}")


def _moment(seconds: object) -> datetime:
    try:
        return datetime.fromtimestamp(float(str(seconds)), tz=UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(tz=UTC)


def _number(value: object, otherwise: float = 0.0) -> float:
    try:
        return float(str(value))
    except ValueError:
        return otherwise


def _word(value: object) -> str:
    return "".join(char for char in str(value or "-") if char.isprintable() and char not in ' "')[:300]


def _quoted(value: object) -> str:
    return str(value or "").replace("\\", "\\\\").replace('"', '\\"')[:4000]


class AccessLog:
    """Reads on from where `position` says: {"file": …, "offset": …}, as kept by whoever collects."""

    def __init__(self, path: Path, position: Mapping[str, Any] | None = None) -> None:
        self._path = path
        self.file = str((position or {}).get("file", ""))
        self.offset = int((position or {}).get("offset", 0))
        self.passed_over = 0  # bytes
        if position is None:  # a platform that is new to this: what was before is not told
            self.file, self.offset = _identity(path), _size(path)

    @property
    def position(self) -> Mapping[str, Any]:
        return {"file": self.file, "offset": self.offset}

    def read(self) -> list[Request]:
        """The next requests; empty when there are none yet."""
        current = _identity(self._path)
        if current != self.file:
            before = self._path.with_name(f"{self._path.name}.1")
            if self.file and _identity(before) == self.file and (found := self._from(before)):
                return found
            if not current:
                return []
            self.file, self.offset = current, 0
        return self._from(self._path)

    def _from(self, path: Path) -> list[Request]:
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size - self.offset > MOST_BEHIND:
                    self.passed_over += size - self.offset - MOST_AT_ONCE
                    self.offset = size - MOST_AT_ONCE
                    file.seek(self.offset)
                    self.offset += len(file.readline())
                file.seek(self.offset)
                data = file.read(MOST_AT_ONCE)
        except FileNotFoundError:
            return []
        found, start = [], 0
        while (end := data.find(b"\n", start)) >= 0:
            request = self._request(data[start:end], self.offset + end + 1)
            start = end + 1
            if request is not None:
                found.append(request)
        if not start and len(data) == MOST_AT_ONCE:
            start = len(data)  # no line of ours is that long
        self.offset += start
        return found if found or not start else self._from(path)

    def _request(self, record: bytes, end: int) -> Request | None:
        """None when it was for the platform itself, or is no JSON."""
        try:
            entry = json.loads(record)
            app = str(entry["app"])
        except (ValueError, KeyError, TypeError):
            return None
        return Request(app, self.file, end, entry) if app else None


def _identity(path: Path) -> str:
    """Of this very file, empty when it has no first line yet."""
    try:
        with path.open("rb") as file:
            head = file.read(NAME_BYTES)
            inode = os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return ""
    return f"{inode:x}{zlib.crc32(head):08x}" if len(head) == NAME_BYTES else ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
