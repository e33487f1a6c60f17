"""Running git: a bare environment, no configuration of the host, the quarantine seen as part of the repository."""

from __future__ import annotations

import contextlib
import resource
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.errors import PlatformError

_PATH = "/usr/local/bin:/usr/bin:/bin"

# Bounded windows keep a repository with large packs readable under RLIMIT_AS; big blobs are streamed, never held.
_SETTINGS = (
    "core.bigFileThreshold=16m",
    "core.packedGitWindowSize=32m",
    "core.packedGitLimit=128m",
    "pack.threads=1",
    "gc.auto=0",
    "safe.directory=*",  # the caller chose the path; who owns it is not git's question here
)

SHALLOW_FILE = "shallow"  # in a quarantine: the whole list that holds once the push is finished


def git_arguments(*arguments: str) -> list[str]:
    command = ["git"]
    for setting in _SETTINGS:
        command += ["-c", setting]
    return [*command, *arguments]


def git_environment(repository: Path, quarantine: Path | None = None) -> dict[str, str]:
    environment = {
        "PATH": _PATH,
        "LC_ALL": "C",
        "HOME": "/nonexistent",
        "GIT_DIR": str(repository),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    if quarantine is not None and quarantine.is_dir():
        environment["GIT_OBJECT_DIRECTORY"] = str(quarantine)
        # The list is separated by colons; a quoted path may contain them.
        quoted = str(repository / "objects").replace("\\", "\\\\").replace('"', '\\"')
        environment["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = f'"{quoted}"'
        if (quarantine / SHALLOW_FILE).is_file():
            environment["GIT_SHALLOW_FILE"] = str(quarantine / SHALLOW_FILE)
    return environment


def run_git(
    *arguments: str,
    repository: Path,
    quarantine: Path | None = None,
    stdin: bytes = b"",
    ok: Sequence[int] = (0,),
) -> tuple[int, bytes]:
    """Exit status and output of a short command. A status not in `ok` is our fault: callers pass what they expect."""
    done = subprocess.run(
        git_arguments(*arguments),
        env=git_environment(repository, quarantine),
        input=stdin,
        capture_output=True,
        check=False,
    )
    if done.returncode not in ok:
        detail = done.stderr.decode("utf-8", "replace").strip()
        raise PlatformError(f"git {arguments[0]} ended with status {done.returncode}: {detail}", id="git_error")
    return done.returncode, done.stdout


def limit_process(process: subprocess.Popen[bytes], limits: Mapping[int, tuple[int, int]]) -> None:
    """Limits for a child that still waits for its input: `preexec_fn` is not safe in a threaded server."""
    for kind, bounds in limits.items():
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process.pid, kind, bounds)
