"""Tars that depend on their content alone."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from runtime.images.values import EPOCH

#: The user that apps run as in every stack.
APP_USER = 1000

_BLOCK = tarfile.BLOCKSIZE


def finish(tar: BinaryIO, *, owner: int, extra: Mapping[str, bytes] | None = None) -> None:
    """Give every entry of a tar to one owner, in place, and add further files (root's) behind them."""
    tar.seek(0)
    while True:
        header = tar.read(_BLOCK)
        if len(header) < _BLOCK or not header.strip(b"\0"):
            tar.seek(-len(header), os.SEEK_CUR)
            break
        size = int(tarfile.nti(header[124:136]))  # type: ignore[attr-defined]  # the module's own reader of numbers
        tar.seek(-_BLOCK, os.SEEK_CUR)
        tar.write(_owned(header, owner))
        tar.seek(size + -size % _BLOCK, os.SEEK_CUR)
    tar.truncate()
    for name, content in sorted((extra or {}).items()):
        tar.write(_header(name, len(content)))
        tar.write(content + bytes(-len(content) % _BLOCK))
    tar.write(bytes(2 * _BLOCK))


def of_files(files: Mapping[str, bytes], *, prefix: str) -> io.BytesIO:
    """A small tar in memory, with the directories it needs."""
    out = io.BytesIO()
    folders: set[str] = set()
    for name in [prefix + name for name in sorted(files)]:
        for index, character in enumerate(name):
            if character == "/" and name[:index] not in folders:
                folders.add(name[:index])
                out.write(_header(name[:index], 0, kind=tarfile.DIRTYPE, mode=0o755))
        content = files[name.removeprefix(prefix)]
        out.write(_header(name, len(content)))
        out.write(content + bytes(-len(content) % _BLOCK))
    out.write(bytes(2 * _BLOCK))
    out.seek(0)
    return out


def of_folder(folder: Path, out: BinaryIO, *, prefix: str) -> None:
    """A whole folder of the host, as root's."""
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in [folder, *sorted(folder.rglob("*"))]:
            info = tar.gettarinfo(path, str(Path(prefix) / path.relative_to(folder)))
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = EPOCH
            info.mode = 0o777 if info.issym() else 0o755 if info.isdir() or info.mode & 0o100 else 0o644
            if info.isreg():
                info.type = tarfile.REGTYPE
                with path.open("rb") as content:
                    tar.addfile(info, content)
            else:
                tar.addfile(info)


def is_empty(path: Path) -> bool:
    """Whether a tar has no entry at all."""
    with path.open("rb") as file:
        return not file.read(_BLOCK).strip(b"\0")


def _owned(header: bytes, owner: int) -> bytes:
    number = b"%07o\0" % owner
    blank = header[:108] + number + number + header[124:148] + b" " * 8 + header[156:265] + bytes(64) + header[329:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def _header(name: str, size: int, *, kind: bytes = tarfile.REGTYPE, mode: int = 0o644) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.mtime = kind, mode, size, EPOCH
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
