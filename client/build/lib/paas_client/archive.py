"""A folder as the archive that the platform builds from."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from paas_client.errors import UserProblem

LEFT_OUT = {".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", "venv", ".DS_Store", ".mypy_cache", ".tox"}


def make_archive(folder: Path) -> bytes:
    """A .tar.gz of what git would commit, or of everything but what is made again anyway. Raises `UserProblem`."""
    names = sorted(_of_git(folder) or _all(folder))
    if not names:
        raise UserProblem(f"There is nothing in {folder} to deploy.", id="nothing_to_deploy")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz", compresslevel=6) as archive:
        for name in names:
            archive.add(folder / name, arcname=name, recursive=False, filter=_anonymous)
    return data.getvalue()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Who owns the files here is nobody's business there."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _of_git(folder: Path) -> list[str]:
    """What is not ignored; nothing where there is no repository."""
    try:
        done = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=folder,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return []
    names = [name for name in done.stdout.decode(errors="surrogateescape").split("\0") if name]
    return [name for name in names if (folder / name).is_symlink() or (folder / name).is_file()]


def _all(folder: Path) -> Iterator[str]:
    for path in sorted(folder.iterdir()):
        if path.name in LEFT_OUT:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from (f"{path.name}/{name}" for name in _all(path))
        elif path.is_symlink() or path.is_file():
            yield path.name
