"""Clone and fetch: `git upload-pack` does it, protocol v2 included, at a small part of the cost of doing it here."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from runtime.git.process import git_arguments, git_environment

_PROTOCOL = re.compile(r"[a-z0-9][A-Za-z0-9=:._-]{0,199}")


def fetch_command(repository: Path, *options: str) -> list[str]:
    """For a transport that gives git the channel itself: add nothing and run it with `fetch_environment`."""
    # Partial clones are asked for by name of a filter; what may be filtered is git's own list.
    settings = ("-c", "uploadpack.allowFilter=true")
    return [*git_arguments(*settings), "upload-pack", "--strict", "--timeout=120", *options, str(repository)]


def fetch_environment(repository: Path, protocol: str) -> dict[str, str]:
    """`protocol` is what the client sent as `Git-Protocol`; anything odd counts as nothing."""
    environment = git_environment(repository)
    del environment["GIT_DIR"]  # the repository is named on the command line
    if _PROTOCOL.fullmatch(protocol):
        environment["GIT_PROTOCOL"] = protocol
    return environment


def is_version_2(protocol: str) -> bool:
    return bool(_PROTOCOL.fullmatch(protocol)) and "version=2" in protocol.split(":")


class UploadPack:
    """A running `git upload-pack`: iterate over its answer, and close it whatever happens."""

    def __init__(self, repository: Path, *, protocol: str, request: IO[bytes] | None) -> None:
        """`request` is an open file with the client's request; None: the ref advertisement."""
        options = ("--stateless-rpc",) if request is not None else ("--stateless-rpc", "--http-backend-info-refs")
        self._process = subprocess.Popen(
            fetch_command(repository, *options),
            env=fetch_environment(repository, protocol),
            stdin=request if request is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __iter__(self) -> Iterator[bytes]:
        assert self._process.stdout is not None
        while block := self._process.stdout.read1(64 * 1024):  # type: ignore[attr-defined]  # a BufferedReader
            yield block
        self._process.wait()

    @property
    def status(self) -> int | None:
        return self._process.poll()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()
