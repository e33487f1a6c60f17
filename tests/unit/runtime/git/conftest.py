from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.git.repository import create_repository


class Work:
    """A working copy with git's plumbing at hand; no remote, no socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "--quiet", "--initial-branch=main")

    def run(self, *arguments: str, data: bytes = b"") -> bytes:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Alice",
            "GIT_AUTHOR_EMAIL": "alice@example.com",
            "GIT_COMMITTER_NAME": "Alice",
            "GIT_COMMITTER_EMAIL": "alice@example.com",
        }
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=environment, input=data, capture_output=True, check=True
        )
        return done.stdout

    def git(self, *arguments: str, data: bytes = b"") -> str:
        return self.run(*arguments, data=data).decode().strip()

    def write(self, name: str | bytes, content: bytes = b"x\n", mode: int = 0o644) -> None:
        path = os.path.join(os.fsencode(self.path), os.fsencode(name))  # noqa: PTH118  # names need not be text
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(content)
        os.chmod(path, mode)  # noqa: PTH101

    def commit(self, message: str = "Work") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def pack(self, *revisions: str) -> bytes:
        return self.run("pack-objects", "--stdout", "--revs", "--thin", "-q", data="\n".join([*revisions, ""]).encode())


@pytest.fixture
def work(tmp_path: Path) -> Work:
    path = tmp_path / "work"
    path.mkdir()
    return Work(path)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "app:1.git"  # the list of object directories is separated by colons
    create_repository(path, "main")
    return path


@pytest.fixture
def quarantined(repository: Path) -> Callable[[bytes], Path]:
    """Puts a pack into quarantine, as a push does."""
    from runtime.git.process import git_arguments, git_environment
    from runtime.git.repository import make_quarantine

    def put(pack: bytes) -> Path:
        quarantine = make_quarantine(repository)
        subprocess.run(
            git_arguments("index-pack", "--stdin", "--fix-thin"),
            env=git_environment(repository, quarantine),
            input=pack,
            capture_output=True,
            check=True,
        )
        return quarantine

    return put
