"""Root file systems as tars: what one has that another has not, without what differs from run to run."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runtime.images.values import EPOCH

_WHITEOUT = ".wh."
_STARTER = "usr/sbin/start-stop-daemon"
# Left out of every layer: run-time state, caches, logs, the host's traces, documentation other than licences.
_DROPPED = re.compile(
    r"""(?:
      (?:dev|proc|sys|run|tmp|var/tmp|var/cache/apt|var/lib/apt/lists)/.*
    | usr/share/(?:man|info|locale|lintian)/.*
    | usr/share/doc/(?!.*/copyright$).*
    | var/cache/ldconfig/aux-cache | var/cache/debconf/.*-old | var/lib/dpkg/[^/]*-old | var/lib/dpkg/lock.*
    | var/lib/apt/extended_states\.save | var/lib/dpkg/triggers/Lock
    | etc/(?:passwd|group|shadow|gshadow|subuid|subgid)- | etc/\.pwd\.lock
    | etc/(?:resolv\.conf|hostname|machine-id) | var/lib/dbus/machine-id
    | usr/sbin/policy-rc\.d
    | etc/apt/apt\.conf\.d/99mmdebstrap | etc/dpkg/dpkg\.cfg\.d/99mmdebstrap
    )""",
    re.VERBOSE,
)
_PYC_FLAGS = slice(4, 8)
_CHECKED_HASH, _UNCHECKED_HASH = (3).to_bytes(4, "little"), (1).to_bytes(4, "little")


@dataclass(frozen=True, slots=True)
class Entry:
    """What of a file has to be the same for it to be the same file; its date is not part of that."""

    kind: bytes
    mode: int
    uid: int
    gid: int
    link: str
    content: str


Index = dict[str, Entry]


def read_index(layers: Iterable[Path]) -> Index:
    """The files that these layers make when laid over each other."""
    index: Index = {}
    for path in layers:
        with tarfile.open(path) as tar:
            contents: dict[str, str] = {}
            for member in tar:
                name = clean_name(member.name)
                if not name:
                    continue
                folder, _, last = name.rpartition("/")
                if last.startswith(_WHITEOUT):
                    gone = f"{folder}/{last.removeprefix(_WHITEOUT)}".removeprefix("/")
                    for known in [known for known in index if known == gone or known.startswith(gone + "/")]:
                        del index[known]
                    continue
                index[name] = _entry(tar, member, name, contents)
    return index


def write_delta(full: Path, lower: Index, out: Path, *, drop: Iterable[str] = ()) -> int:
    """Write the layer that turns `lower` into `full`: sorted, dated no later than `EPOCH`, nobody's name in it. Returns
    the number of entries. With an empty `lower` that is the whole file system, normalised."""
    dropped = frozenset(drop)
    count = 0
    with tarfile.open(full) as source, tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as target:
        members = {clean_name(member.name): member for member in source}
        members.pop("", None)
        # While mmdebstrap works in a root, no package may start a service there: it puts stand-ins in their place.
        if (real := members.pop(f"{_STARTER}.REAL", None)) is not None:
            members[_STARTER] = real
        kept = {name: m for name, m in members.items() if not (_is_noise(name, m) or _is_under(name, dropped))}
        contents: dict[str, str] = {}
        index = {name: _entry(source, member, name, contents) for name, member in kept.items()}
        gone = {name for name in lower if name not in index and not _is_under(name, dropped)}
        names = {name for name, entry in index.items() if lower.get(name) != entry}
        whiteouts = {
            f"{folder}{'/' if folder else ''}{_WHITEOUT}{last}": name
            for name in gone
            for folder, _, last in [name.rpartition("/")]
            if not _is_under(folder, gone)
        }
        written: set[str] = set()
        for name in sorted({*names, *whiteouts}):
            count += 1
            info = tarfile.TarInfo(name)
            if name in whiteouts:
                info.mtime = EPOCH
                target.addfile(info)
                continue
            member = kept[name]
            info.type, info.mode, info.uid, info.gid = member.type, member.mode, member.uid, member.gid
            info.mtime = min(int(member.mtime), EPOCH)
            info.linkname = member.linkname
            info.devmajor, info.devminor = member.devmajor, member.devminor
            if member.islnk():
                first = clean_name(member.linkname)
                if first in written:
                    info.linkname = first
                    target.addfile(info)
                    continue
                # What it is a second name of is in a layer below, where a link can't reach: a copy it is.
                info.type, info.linkname = tarfile.REGTYPE, ""
            if info.isreg():
                content = _content(source, member, name)
                info.size = len(content)
                target.addfile(info, io.BytesIO(content))
            else:
                target.addfile(info)
            written.add(name)
    return count


def clean_name(name: str) -> str:
    """`./etc/passwd` and `/etc/passwd` are `etc/passwd`; the root itself is "". (Not lstrip: `.venv` keeps its dot.)"""
    name = name.removeprefix("./").strip("/")
    return "" if name == "." else name


def _is_under(name: str, folders: Iterable[str]) -> bool:
    chosen = folders if isinstance(folders, set | frozenset) else frozenset(folders)
    while name:
        if name in chosen:
            return True
        name = name.rpartition("/")[0]
    return False


def _is_noise(name: str, member: tarfile.TarInfo) -> bool:
    return _DROPPED.fullmatch(name) is not None or (name.startswith("var/log/") and not member.isdir())


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, contents: dict[str, str]) -> Entry:
    kind, link, content = member.type, member.linkname, ""
    if member.islnk():
        kind, link = tarfile.REGTYPE, ""
        content = contents.get(clean_name(member.linkname), "")
    elif member.isreg():
        kind = tarfile.REGTYPE
        content = hashlib.sha256(_content(tar, member, name)).hexdigest()
    contents[name] = content
    return Entry(kind, member.mode, member.uid, member.gid, link, content)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> bytes:
    file: IO[bytes] | None = tar.extractfile(member)
    assert file is not None
    with file:
        content = file.read()
    # Debian's bytecode is checked against a hash of its source at every import. Here neither can change: skip that.
    if name.endswith(".pyc") and content[_PYC_FLAGS] == _CHECKED_HASH:
        content = content[:4] + _UNCHECKED_HASH + content[8:]
    return content
