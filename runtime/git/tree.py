"""The files of one commit, straight from git's objects: a list, single files, a tar that depends on the tree alone."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, BinaryIO

from runtime.builder.api import SourceEntry
from runtime.errors import BuildFailed, NotFound, PlatformError
from runtime.git.process import git_arguments, git_environment, run_git
from runtime.git.text import plain

EARLIEST, LATEST = 315_532_800, 2**33 - 1  # 1980-01-01, as zip has it, and what a tar header can hold
MAX_READ = 4 * 1024 * 1024
_COPY = 1024 * 1024
_ENCODING = "utf-8"
_ERRORS = "surrogateescape"
_ID = re.compile(r"[0-9a-f]{40}")
_COMMIT = re.compile(
    rb"[0-9a-f]{40} commit [0-9]+\n"
    rb"tree (?P<tree>[0-9a-f]{40})\n(?:parent .*\n)*author .*\ncommitter .*> (?P<time>-?[0-9]{1,15}) "
)
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class TreeLimits:
    max_entries: int = 200_000
    max_bytes: int = 2 * 1024**3
    max_depth: int = 100
    max_path_bytes: int = 1024


@dataclass(frozen=True, slots=True)
class _Blob:
    path: str
    mode: int
    size: int
    id: str


class GitTree:
    """A `SourceTree` over a repository, with the objects of a push that still waits in quarantine."""

    def __init__(
        self, repository: Path, commit: str, *, quarantine: Path | None = None, limits: TreeLimits = TreeLimits()
    ) -> None:
        if not _ID.fullmatch(commit):
            raise ValueError(commit)
        self._repository = repository
        self._quarantine = quarantine
        self._commit = commit
        self._limits = limits
        _, output = run_git(
            "cat-file", "--batch", repository=repository, quarantine=quarantine, stdin=f"{commit}^{{commit}}\n".encode()
        )
        found = _COMMIT.match(output)
        if found is None:
            raise NotFound(f"The commit {commit[:12]} is not in this repository.", hint="Push it again.", id="push_gone")
        self._tree_id = found["tree"].decode()
        self._time = min(max(int(found["time"]), EARLIEST), LATEST)

    @property
    def tree_id(self) -> str:
        return self._tree_id

    @property
    def commit(self) -> str:
        return self._commit

    @property
    def time(self) -> int:
        return self._time

    def entries(self) -> Sequence[SourceEntry]:
        return self._listing[0]

    @cached_property
    def notes(self) -> Sequence[str]:
        notes = [
            f"{plain(path)} is a submodule: its content is not part of the push and was left out."
            for path in self._listing[2]
        ]
        notes += [
            f"{plain(path)} is a Git LFS pointer: the file itself was not pushed to this server."
            for path in self._lfs_pointers()
        ]
        if len(notes) > 20:
            notes[20:] = [f"… and {len(notes) - 20} more of these."]
        return tuple(notes)

    def read(self, path: str) -> bytes | None:
        """A regular file's content (at most 4 MiB of it), None when there is none."""
        blob = self._listing[1].get(path)
        if blob is None or blob.mode == 0o120000:
            return None
        for _, content in self._contents([blob]):
            return content.read(min(blob.size, MAX_READ))
        return None

    def write_tar(self, out: BinaryIO, *, prefix: str = "", keep: Callable[[str], bool] | None = None) -> None:
        """A deterministic tar: sorted, uid/gid 0, mtime `time`, directories listed, modes 644/755/777; `prefix`
        like "app/" in front of each name. Only directories that hold something are listed, `prefix` always."""
        blobs = [blob for path, blob in sorted(self._listing[1].items()) if keep is None or keep(path)]
        listed: set[str] = set()
        write_directories(out, prefix, listed, self._time)
        for blob, content in self._contents(blobs):
            name = prefix + blob.path
            write_directories(out, name, listed, self._time)
            if blob.mode == 0o120000:
                target = content.read(blob.size).decode(_ENCODING, _ERRORS)
                out.write(tar_header(name, kind=tarfile.SYMTYPE, mode=0o777, mtime=self._time, target=target))
                continue
            mode = 0o755 if blob.mode & 0o111 else 0o644
            out.write(tar_header(name, kind=tarfile.REGTYPE, mode=mode, mtime=self._time, size=blob.size))
            left = blob.size
            while left:
                piece = content.read(min(left, _COPY))
                if not piece:
                    raise PlatformError("git ended within a file.", id="git_error")
                out.write(piece)
                left -= len(piece)
            out.write(b"\0" * (-blob.size % tarfile.BLOCKSIZE))
        out.write(b"\0" * (2 * tarfile.BLOCKSIZE))

    @cached_property
    def _listing(self) -> tuple[tuple[SourceEntry, ...], dict[str, _Blob], tuple[str, ...]]:
        """Files, the same by path with their ids, and the paths of submodules."""
        blobs: dict[str, _Blob] = {}
        submodules: list[str] = []
        total = 0
        for count, record in enumerate(self._records(), start=1):
            meta, _, raw = record.partition(b"\t")
            mode, kind, identity, size = meta.split()
            if count > self._limits.max_entries:
                raise self._too_large(f"more than {self._limits.max_entries} files and directories")
            if raw.count(b"/") >= self._limits.max_depth:
                raise self._too_large(f"directories nested deeper than {self._limits.max_depth}")
            if len(raw) > self._limits.max_path_bytes or any(len(part) > 255 for part in raw.split(b"/")):
                raise self._too_large(
                    f"a path longer than a file system takes ({plain(raw[:60].decode('utf-8', 'replace'))}…)"
                )
            if not {b"", b".", b"..", b".git"}.isdisjoint(raw.split(b"/")):
                raise self._too_large("a path that leads out of it")  # refused at the push; never written all the same
            path = raw.decode(_ENCODING, _ERRORS)
            if kind == b"commit":
                submodules.append(path)
            elif kind == b"blob":
                blob = _Blob(path=path, mode=int(mode, 8), size=int(size), id=identity.decode())
                total += blob.size
                if total > self._limits.max_bytes:
                    raise self._too_large(f"more than {self._limits.max_bytes // 1024**2} MiB of files")
                blobs[path] = blob
        entries = tuple(SourceEntry(path=blob.path, mode=_mode(blob.mode), size=blob.size) for blob in blobs.values())
        return entries, blobs, tuple(submodules)

    def _records(self) -> Iterator[bytes]:
        command = git_arguments("ls-tree", "-rtzl", self._tree_id)
        with self._running(command, subprocess.DEVNULL) as output:
            rest = b""
            while block := output.read(_COPY):
                *records, rest = (rest + block).split(b"\0")
                yield from records

    def _contents(self, blobs: Sequence[_Blob]) -> Iterator[tuple[_Blob, _Part]]:
        """Each blob with a reader standing at its content; what the caller leaves unread is skipped."""
        if not blobs:
            return
        with tempfile.TemporaryFile() as names:
            names.write("".join(f"{blob.id}\n" for blob in blobs).encode())
            names.seek(0)
            with self._running(git_arguments("cat-file", "--batch", "--buffer"), names) as output:
                for blob in blobs:
                    header = output.readline().split()
                    if len(header) != 3 or header[1] != b"blob" or int(header[2]) != blob.size:
                        raise PlatformError(f"An object of {self._commit[:12]} is missing.", id="git_error")
                    content = _Part(output, blob.size)
                    yield blob, content
                    while content.read(_COPY):
                        pass
                    output.read(1)

    @contextlib.contextmanager
    def _running(self, command: list[str], stdin: IO[bytes] | int) -> Iterator[IO[bytes]]:
        process = subprocess.Popen(
            command,
            env=git_environment(self._repository, self._quarantine),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=_COPY,
        )
        assert process.stdout is not None
        finished = False
        try:
            yield process.stdout
            finished = True
        finally:
            # A reader that has all it wants, or an error: git need not go on.
            if not finished:
                process.kill()
            process.stdout.close()
            status = process.wait()
        if status != 0:
            raise PlatformError(f"git {command[-1]} ended with status {status}.", id="git_error")

    def _lfs_pointers(self) -> Iterator[str]:
        blobs = self._listing[1].values()
        attributes = [blob for blob in blobs if blob.path.rpartition("/")[2] == ".gitattributes" and blob.size < 65_536]
        if any(b"filter=lfs" in content.read(blob.size) for blob, content in self._contents(attributes)):
            candidates = [blob for blob in blobs if 100 <= blob.size <= 1024 and blob.mode != 0o120000]
            for blob, content in self._contents(candidates):
                if content.read(blob.size).startswith(_LFS):
                    yield blob.path

    def _too_large(self, what: str) -> BuildFailed:
        return BuildFailed(
            f"The source of {self._commit[:12]} has {what}.",
            hint="Keep generated files and data out of the repository, and push again.",
            id="source_too_large",
        )


class _Part:
    """The next `size` bytes of a stream."""

    def __init__(self, source: IO[bytes], size: int) -> None:
        self._source = source
        self._left = size

    def read(self, size: int) -> bytes:
        data = self._source.read(min(size, self._left))
        self._left -= len(data)
        return data


def _mode(mode: int) -> int:
    """git once wrote 100664 and others; there are three modes that mean something."""
    if mode == 0o120000:
        return mode
    return 0o100755 if mode & 0o111 else 0o100644


def write_directories(out: BinaryIO, name: str, listed: set[str], mtime: int) -> None:
    """Headers for the directories above `name` that `listed` does not have yet."""
    start = 0
    while (slash := name.find("/", start)) >= 0:
        directory = name[: slash + 1]
        if directory not in listed:
            listed.add(directory)
            out.write(tar_header(directory, kind=tarfile.DIRTYPE, mode=0o755, mtime=mtime))
        start = slash + 1


def tar_header(name: str, *, kind: bytes, mode: int, mtime: int, size: int = 0, target: str = "") -> bytes:
    """GNU's format: names of any length and any bytes, and nothing in it but what we put there."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = mode
    info.size = size
    info.mtime = mtime
    info.linkname = target
    return info.tobuf(tarfile.GNU_FORMAT, _ENCODING, _ERRORS)
