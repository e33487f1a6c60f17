"""A source tree in memory, and a console that remembers: what the builder's tests hand in."""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from runtime.builder.api import SourceEntry
from runtime.images.values import EPOCH


class DirectoryTree:
    """Files by path; `text` is cut free of its indentation by the caller. Links are paths whose content starts "-> "."""

    def __init__(self, files: Mapping[str, str | bytes], *, executable: Sequence[str] = ()) -> None:
        self.files = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
        self.executable = frozenset(executable)
        self.notes: Sequence[str] = ()

    @classmethod
    def of(cls, folder: Path, **changes: str) -> DirectoryTree:
        files: dict[str, str | bytes] = {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }
        return cls({**files, **changes})

    def changed(self, **changes: str) -> DirectoryTree:
        return self.with_files(changes)

    def with_files(self, changes: Mapping[str, str | bytes]) -> DirectoryTree:
        return DirectoryTree({**self.files, **changes}, executable=tuple(self.executable))

    @property
    def tree_id(self) -> str:
        digest = hashlib.sha1()
        for path, content in sorted(self.files.items()):
            digest.update(f"{path}\0{len(content)}\0{path in self.executable}\0".encode() + content)
        return digest.hexdigest()

    @property
    def commit(self) -> str:
        return hashlib.sha1(b"commit " + self.tree_id.encode()).hexdigest()

    @property
    def time(self) -> int:
        return EPOCH

    def entries(self) -> Sequence[SourceEntry]:
        return [SourceEntry(path, self._mode(path), len(content)) for path, content in sorted(self.files.items())]

    def _mode(self, path: str) -> int:
        if self.files[path].startswith(b"-> "):
            return 0o120000
        return 0o100755 if path in self.executable else 0o100644

    def read(self, path: str) -> bytes | None:
        if path not in self.files or self._mode(path) == 0o120000:
            return None
        return self.files[path][: 4 * 1024 * 1024]

    def write_tar(self, out: BinaryIO, *, prefix: str = "", keep: Callable[[str], bool] | None = None) -> None:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
            listed = set()

            def directories(name: str) -> None:
                for index, character in enumerate(name):
                    if character == "/" and name[:index] not in listed:
                        listed.add(name[:index])
                        info = tarfile.TarInfo(name[:index])
                        info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, EPOCH
                        tar.addfile(info)

            directories(prefix)
            for path, content in sorted(self.files.items()):
                if keep is not None and not keep(path):
                    continue
                directories(prefix + path)
                info = tarfile.TarInfo(prefix + path)
                info.mtime = EPOCH
                if self._mode(path) == 0o120000:
                    info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, content[3:].decode()
                    tar.addfile(info)
                else:
                    info.mode, info.size = self._mode(path) & 0o777, len(content)
                    tar.addfile(info, io.BytesIO(content))


class Recorder:
    """A console. `stop` is raised at the next check; `stop_when` makes it so once a line holds these words."""

    def __init__(self, *, stop_when: str = "", stop: Exception | None = None) -> None:
        self.lines: list[str] = []
        self.times: list[float] = []
        self._stop_when = stop_when
        self._stop = stop
        self._stopping = False
        self.stopped_at = 0.0

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def step(self, text: str) -> None:
        self._add(f"-----> {text}")

    def line(self, text: str) -> None:
        self._add(f"       {text}")

    def _add(self, text: str) -> None:
        self.lines.append(text)
        self.times.append(time.monotonic())
        if self._stop_when and self._stop_when in text:
            self._stopping = True

    def check(self) -> None:
        if self._stop is not None and (self._stopping or not self._stop_when):
            self.stopped_at = self.stopped_at or time.monotonic()
            raise self._stop
