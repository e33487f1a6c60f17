"""The files of an archive as a source tree: the same that a push of these files gives, down to the id of the tree.

Nothing of an archive is written under a name that it chose. Its files stay, one after the other, in a single file of
ours, and only where each begins is remembered; so there is no path, link or device that could lead anywhere.
"""

from __future__ import annotations

import calendar
import errno
import gzip
import hashlib
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeAlias

from runtime.builder.api import SourceEntry
from runtime.errors import BuildFailed
from runtime.git.text import plain
from runtime.git.tree import EARLIEST, LATEST, MAX_READ, TreeLimits, tar_header, write_directories

Check = Callable[[], None]

LIMITS = TreeLimits()
FILE, EXECUTABLE, LINK = 0o100644, 0o100755, 0o120000
MAX_HEADER = 1024 * 1024  # what a tar may say about one file
MAX_ZIP_DIRECTORY = 64 * 1024 * 1024
MAX_TARGET = 4096  # of a symbolic link, as the kernel has it
_COPY = 1024 * 1024
_ZIP_END, _ZIP64_LOCATOR = b"PK\5\6", b"PK\6\7"
_DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, IndexError, KeyError,
    OverflowError, NotImplementedError, RuntimeError, gzip.BadGzipFile,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    mode: int  # git's
    blob_id: str
    size: int
    offset: int = 0  # where its content begins; that of a symbolic link is its target
    target: str = ""


Folder: TypeAlias = "dict[bytes, Folder | ArchiveFile]"


@dataclass(frozen=True, slots=True)
class ArchiveTree:
    """A `SourceTree`. `time` is that of its newest file, until somebody knows better."""

    content: Path
    files: Mapping[str, ArchiveFile]
    tree_id: str
    time: int
    commit: str = ""  # what `git archive` wrote into it; or what whoever sent it calls it
    notes: Sequence[str] = ()

    def entries(self) -> Sequence[SourceEntry]:
        return tuple(SourceEntry(path=path, mode=file.mode, size=file.size) for path, file in self.files.items())

    def read(self, path: str) -> bytes | None:
        file = self.files.get(path)
        if file is None or file.mode == LINK:
            return None
        with self.content.open("rb") as content:
            content.seek(file.offset)
            return content.read(min(file.size, MAX_READ))

    def write_tar(self, out: BinaryIO, *, prefix: str = "", keep: Callable[[str], bool] | None = None) -> None:
        listed: set[str] = set()
        write_directories(out, prefix, listed, self.time)
        with self.content.open("rb") as content:
            for path, file in sorted(self.files.items()):
                if keep is not None and not keep(path):
                    continue
                name = prefix + path
                write_directories(out, name, listed, self.time)
                if file.mode == LINK:
                    out.write(tar_header(name, kind=tarfile.SYMTYPE, mode=0o777, mtime=self.time, target=file.target))
                    continue
                header = tar_header(
                    name, kind=tarfile.REGTYPE, mode=file.mode & 0o777, mtime=self.time, size=file.size
                )  # fmt: skip
                out.write(header)
                out.writelines(_pieces(content, file.offset, file.size))
                out.write(b"\0" * (-file.size % tarfile.BLOCKSIZE))
        out.write(b"\0" * (2 * tarfile.BLOCKSIZE))


def read_archive(path: Path, *, folder: Path, limits: TreeLimits = LIMITS, check: Check = lambda: None) -> ArchiveTree:
    """Of a tar, gzipped or not, or a zip. `folder` takes what has to be unpacked, and has to stay as long as the tree is
    used; `check` is called all the time and may raise. Raises `BuildFailed`."""
    with path.open("rb") as file:
        start = file.read(4)
    try:
        if start.startswith(b"\x1f\x8b"):
            tar = folder / "source.tar"
            _inflate(path, tar, limits, check)
            return _Reader(tar, limits, check).tar()
        if start in {b"PK\3\4", _ZIP_END}:
            return _Reader(folder / "source.files", limits, check).zip(path)
        return _Reader(path, limits, check).tar()
    except _DAMAGED as exc:
        raise _damaged() from exc
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        raise _damaged() from exc  # zipfile seeks to whatever place it is told


def verify_checksum(path: Path, checksum: str, *, check: Check = lambda: None) -> None:
    """`SHA256:` and 64 hex digits. Raises `BuildFailed`."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_COPY):
            check()
            total.update(piece)
    if total.hexdigest() != checksum.lower().removeprefix("sha256:"):
        raise BuildFailed(
            f"The archive is another one than you said: its checksum is SHA256:{total.hexdigest()}.",
            hint="Upload it again, and say the checksum of what you upload.",
            id="source_checksum",
        )


class _Reader:
    """Goes through an archive once and remembers what is in it."""

    def __init__(self, content: Path, limits: TreeLimits, check: Check) -> None:
        self._content, self._limits, self._check = content, limits, check
        self._files: dict[str, ArchiveFile] = {}
        self._count = 0
        self._newest = EARLIEST
        self._leaves_git_out = False

    # ---------------------------------------------------------------- tar

    def tar(self) -> ArchiveTree:
        length = self._content.stat().st_size
        with self._content.open("rb") as content:
            reads: Any = _SmallReads(content)
            headers: Any = tarfile.TarFile(fileobj=reads, mode="r", encoding="utf-8", errors="surrogateescape")
            member: tarfile.TarInfo | None
            while (member := headers.next()) is not None:
                headers.members.clear()  # they would pile up
                self._begin()
                end = member.offset_data + (member.size if member.isreg() else 0)
                if member.size < 0 or end > length or member.offset_data < member.offset:
                    raise _invalid("it ends within a file")
                self._member(member, content)
            content.seek(headers.offset)
            if content.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise _invalid("it is damaged in the middle")  # tarfile takes that for the end
        return self._tree(str(headers.pax_headers.get("comment", "")))

    def _member(self, member: tarfile.TarInfo, content: BinaryIO) -> None:
        if member.isdir():
            return
        path = self._path(member.name)
        if path is None:
            return
        if member.issym():
            self._add_link(path, member.linkname)
        elif member.islnk():
            target = self._path(member.linkname)
            found = self._files.get(target or "")
            if found is None:
                raise _invalid(f"{plain(path)} is a hard link to {plain(member.linkname)}, which is not in it")
            self._files[path] = found
        elif member.isreg() and not member.issparse():
            self._add_file(
                path, content, member.offset_data, member.size, bool(member.mode & 0o111)
            )  # fmt: skip
        else:
            what = "a file with holes" if member.issparse() else "neither a file nor a link"
            raise _invalid(f"{plain(path)} is {what}")
        self._saw(member.mtime)

    # ---------------------------------------------------------------- zip

    def zip(self, path: Path) -> ArchiveTree:
        _check_zip_directory(path)
        with zipfile.ZipFile(path) as archive, self._content.open("w+b") as store:
            for info in archive.infolist():
                self._begin()
                if info.is_dir():
                    continue
                name = self._path(info.filename)
                if name is None:
                    continue
                if info.flag_bits & 0x1:
                    raise _invalid(f"{plain(name)} is encrypted")
                if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                    raise _invalid(f"{plain(name)} is compressed in another way than by deflate")
                offset = store.seek(0, 2)
                with archive.open(info) as packed:
                    self._store(packed, store)
                size = store.tell() - offset
                mode = info.external_attr >> 16 if info.create_system == 3 else 0
                if stat.S_ISLNK(mode):
                    if size > MAX_TARGET:
                        raise _invalid(f"{plain(name)} is a link to a place whose name is too long")
                    store.seek(offset)
                    self._add_link(name, store.read(size).decode("utf-8", "surrogateescape"))
                elif stat.S_IFMT(mode) in {0, stat.S_IFREG}:
                    self._add_file(name, store, offset, size, bool(mode & 0o111))
                else:
                    raise _invalid(f"{plain(name)} is neither a file nor a link")
                self._saw(_zip_time(info))
        return self._tree("")

    def _store(self, packed: IO[bytes], store: BinaryIO) -> None:
        while piece := packed.read(_COPY):
            self._check()
            if store.tell() + len(piece) > self._limits.max_bytes:
                raise _unpacked_too_large(self._limits)
            store.write(piece)

    # ---------------------------------------------------------------- both

    def _begin(self) -> None:
        self._check()
        self._count += 1
        if self._count > self._limits.max_entries:
            raise _too_large(f"more than {self._limits.max_entries} files and directories")

    def _path(self, name: str) -> str | None:
        """Relative and plain; None for what git does not keep either."""
        parts = [part for part in name.split("/") if part not in {"", "."}]
        if name.startswith("/") or ".." in parts or not parts or "\0" in name:
            raise _invalid(f"{plain(name[:100]) or 'a file without a name'} leads out of it")
        if ".git" in parts:
            self._leaves_git_out = True
            return None
        path = "/".join(parts)
        raw = path.encode("utf-8", "surrogateescape")
        if len(parts) > self._limits.max_depth:
            raise _too_large(f"directories nested deeper than {self._limits.max_depth}")
        if len(raw) > self._limits.max_path_bytes or any(len(part) > 255 for part in raw.split(b"/")):
            raise _too_large(f"a path longer than a file system takes ({plain(path[:60])}…)")
        return path

    def _add_file(self, path: str, content: BinaryIO, offset: int, size: int, is_executable: bool) -> None:
        total = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        for piece in _pieces(content, offset, size):
            self._check()
            total.update(piece)
        mode = EXECUTABLE if is_executable else FILE
        self._files[path] = ArchiveFile(mode, total.hexdigest(), size, offset)

    def _add_link(self, path: str, target: str) -> None:
        raw = target.encode("utf-8", "surrogateescape")
        if not 0 < len(raw) <= MAX_TARGET or b"\0" in raw:
            raise _invalid(f"{plain(path)} is a link to nowhere")
        blob_id = hashlib.sha1(b"blob %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest()
        self._files[path] = ArchiveFile(LINK, blob_id, len(raw), target=target)

    def _saw(self, mtime: float) -> None:
        self._newest = max(self._newest, int(min(mtime, LATEST)))

    def _tree(self, comment: str) -> ArchiveTree:
        files, notes = self._files, list[str]()
        if self._leaves_git_out:
            notes.append("The archive holds a folder .git: it is left out.")
        tops = {path.partition("/")[0] for path in files}
        if len(tops) == 1 and not tops & files.keys():
            (top,) = tops
            notes.append(f"Everything lies in the folder {plain(top)}: it is taken as the root.")
            files = {path.removeprefix(f"{top}/"): file for path, file in files.items()}
        if not files:
            raise _invalid("there is no file in it")
        _check_no_file_is_a_folder(files)
        if sum(file.size for file in files.values()) > self._limits.max_bytes:
            raise _unpacked_too_large(self._limits)
        is_commit = len(comment) == 40 and set(comment) <= set("0123456789abcdef")
        return ArchiveTree(
            content=self._content,
            files=files,
            tree_id=git_tree_id(files),
            time=self._newest,
            commit=comment if is_commit else "",
            notes=tuple(notes),
        )


class _SmallReads:
    """tarfile reads what a header says about the size of the next one, at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise _invalid("it says too much about one of its files")
        return self._file.read(size)

    def seek(self, offset: int) -> int:
        return self._file.seek(offset)

    def tell(self) -> int:
        return self._file.tell()


def git_tree_id(files: Mapping[str, ArchiveFile]) -> str:
    """What git calls a tree of these files."""
    root: Folder = {}
    for path, file in files.items():
        *folders, name = path.encode("utf-8", "surrogateescape").split(b"/")
        folder = root
        for part in folders:
            inner = folder.setdefault(part, {})
            assert isinstance(inner, dict)
            folder = inner
        folder[name] = file
    return _tree_id(root).hex()


def _tree_id(folder: Folder) -> bytes:
    listed = []
    for name, entry in folder.items():
        if isinstance(entry, dict):
            listed.append((name + b"/", b"40000 " + name + b"\0" + _tree_id(entry)))
        else:
            listed.append((name, b"%o " % entry.mode + name + b"\0" + bytes.fromhex(entry.blob_id)))
    body = b"".join(record for _, record in sorted(listed))
    return hashlib.sha1(b"tree %d\0" % len(body) + body, usedforsecurity=False).digest()


def _inflate(packed: Path, tar: Path, limits: TreeLimits, check: Check) -> None:
    with gzip.open(packed) as source, tar.open("wb") as out:
        while piece := source.read(_COPY):
            check()
            if out.tell() + len(piece) > limits.max_bytes:
                raise _unpacked_too_large(limits)
            out.write(piece)


def _pieces(content: BinaryIO, offset: int, size: int) -> Iterator[bytes]:
    content.seek(offset)
    while size:
        piece = content.read(min(size, _COPY))
        if not piece:
            raise _invalid("it ends within a file")
        yield piece
        size -= len(piece)


def _check_zip_directory(path: Path) -> None:
    """Python reads all of it into memory, however long it says it is."""
    with path.open("rb") as file:
        length = file.seek(0, 2)
        file.seek(max(0, length - 65_557))
        tail = file.read()
    at = tail.rfind(_ZIP_END)
    if at < 0 or len(tail) - at < 22:
        raise _damaged()
    (size,) = struct.unpack("<L", tail[at + 12 : at + 16])
    if size > MAX_ZIP_DIRECTORY or tail[max(0, at - 20) : at].startswith(_ZIP64_LOCATOR):
        raise _too_large("more entries than we read from a zip; a tar may have more")


def _zip_time(info: zipfile.ZipInfo) -> int:
    try:
        return calendar.timegm((*info.date_time, 0, 0, 0))
    except ValueError:
        return EARLIEST


def _check_no_file_is_a_folder(files: Mapping[str, ArchiveFile]) -> None:
    known: set[str] = set()
    for path in files:
        folder = path.rpartition("/")[0]
        while folder and folder not in known:
            if folder in files:
                raise _invalid(f"{plain(folder)} is both a file and a folder")
            known.add(folder)
            folder = folder.rpartition("/")[0]


def _damaged() -> BuildFailed:
    return _invalid("it is damaged, or no archive of a kind that we read")


def _invalid(reason: str) -> BuildFailed:
    return BuildFailed(
        f"The archive can't be used: {reason}.",
        hint="Send a tar (gzipped or not) or a zip of the app's files. A good one: git archive --format=tar.gz HEAD",
        id="source_invalid",
    )


def _too_large(what: str) -> BuildFailed:
    return BuildFailed(f"The archive has {what}.", hint="Keep generated files and data out of it.", id="source_too_large")


def _unpacked_too_large(limits: TreeLimits) -> BuildFailed:
    return _too_large(f"more than {limits.max_bytes // 1024**2} MiB of files")
