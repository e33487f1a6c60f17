"""A root file system from Debian packages, by mmdebstrap, in memory where there is enough of it."""

from __future__ import annotations

import os
import queue
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from runtime.errors import PlatformError
from runtime.images.values import EPOCH
from runtime.stacks import debian13

if TYPE_CHECKING:
    from runtime.builder.api import BuildConsole, HostSettings

FILES = Path(__file__).parent / "files"

#: Part of every stack's key: raise it when the way stacks are made changes what is in them.
RECIPE = "2"

_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_DEADLINE_SECONDS = 1200.0
_IN_ROOT_CA = "/run/paas-ca.crt"
# The file system made here, in memory, as a multiple of what is left free for others.
_RUN_BYTES, _BUILD_BYTES = 1 << 30, 3 << 30

# What mmdebstrap and our hooks say, and what we say for it.
_PHASES = (
    ("I: running apt-get update", "package lists"),
    ("I: downloading packages", "downloads"),
    ("I: extracting archives", "unpacking"),
    ("I: installing essential", "essential packages"),
    ("I: installing remaining", "base packages"),
    ("I: paas: ", ""),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file system to make: on these layers, or from nothing (then the base, written to `base_out` as well)."""

    packages: Sequence[str]
    out: Path
    lower: Sequence[Path] = ()  # tars, inflated, lowest first
    base_out: Path | None = None
    large: bool = False  # compilers: needs more memory


def make_rootfs(wanted: Wanted, *, host: HostSettings, work_dir: Path, console: BuildConsole) -> None:
    """Raises `PlatformError` (id "stack_failed") with the last words of whatever failed, or what `console.check` does."""
    with tempfile.TemporaryDirectory(prefix="stack-", dir=work_dir) as scratch:
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "SOURCE_DATE_EPOCH": str(EPOCH),
            "DEBIAN_FRONTEND": "noninteractive",
            "TMPDIR": scratch,
            **{name: value for name, value in host.environment.items() if name in _PROXIES},
        }
        command = [*_in_memory(scratch, large=wanted.large), *_command(wanted, host)]
        _run(command, environment, console)


def _command(wanted: Wanted, host: HostSettings) -> list[str]:
    def hook(script: str, *arguments: object) -> str:
        words = " ".join(shlex.quote(str(argument)) for argument in arguments)
        return f'sh {shlex.quote(str(FILES / script))} "$1" {words}'

    options = ["--format=null", '--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Retries "3"']
    if host.ca_bundle:
        # apt fetches from outside the root and from inside of it. The copy inside is left out of every layer.
        bundle = shlex.quote(str(host.ca_bundle))
        options += [
            f'--aptopt=Acquire::https::CaInfo "{host.ca_bundle}"',
            f'--customize-hook=install -D -m 0644 {bundle} "$1{_IN_ROOT_CA}"',
        ]
    if wanted.lower:
        options += ["--variant=custom", *(f"--setup-hook={hook('restore.sh', layer)}" for layer in wanted.lower)]
    else:
        options += [
            "--variant=minbase",
            # As an --dpkgopt the exclusions would pass every package through a filter of mmdebstrap's own, which takes
            # longer than everything else together.
            f'--extract-hook=cp {shlex.quote(str(FILES / "dpkg.cfg"))} "$1/etc/dpkg/dpkg.cfg.d/paas"',
            f"--include={','.join(debian13.BASE)}",
            f"--customize-hook={hook('base.sh', FILES)}",
        ]
        if wanted.base_out is not None:
            options.append(f"--customize-hook={hook('snapshot.sh', wanted.base_out)}")
    if wanted.packages:
        trust = [f"Acquire::https::CaInfo={_IN_ROOT_CA}"] if host.ca_bundle else ["APT::Install-Recommends=false"]
        options.append(f"--customize-hook={hook('install.sh', *trust, *wanted.packages)}")
    options.append(f"--customize-hook={hook('snapshot.sh', wanted.out)}")
    mirror = [host.debian_mirror] if host.debian_mirror else []
    return ["mmdebstrap", *options, debian13.SUITE, "-", *mirror]


def _in_memory(scratch: str, *, large: bool) -> list[str]:
    """A prefix that gives a command a scratch folder in memory, private to it and gone with it. Empty when this machine
    can't: thousands of small files on a disk take twice the time, and give the same result."""
    size = _BUILD_BYTES if large else _RUN_BYTES
    if os.geteuid() != 0 or _available_memory() < 2 * size:
        return []
    isolate = ["unshare", "--mount", "--propagation", "private"]
    mount = ["mount", "-t", "tmpfs", "-o", f"mode=0755,size={size}", "tmpfs", scratch]
    if subprocess.run([*isolate, *mount], capture_output=True, check=False).returncode != 0:
        return []
    return [*isolate, "sh", "-ec", f'{shlex.join(mount)}; exec "$@"', "sh"]


def _available_memory() -> int:
    with suppress(OSError, ValueError, IndexError), Path("/proc/meminfo").open() as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def _run(command: Sequence[str], environment: dict[str, str], console: BuildConsole) -> None:
    started = phase_at = time.monotonic()
    phase = ""
    last: deque[str] = deque(maxlen=40)
    with _process(command, environment) as lines:
        while (line := _next(lines, console, started)) is not None:
            last.append(line)
            for prefix, name in _PHASES:
                if line.startswith(prefix):
                    now = time.monotonic()
                    if phase and phase != "done":
                        console.line(f"{phase}: {now - phase_at:.1f} s")
                    phase, phase_at = name or line.removeprefix(prefix), now
        code = lines.code()
    if phase and code == 0 and phase != "done":
        console.line(f"{phase}: {time.monotonic() - phase_at:.1f} s")
    if code != 0:
        seen = "\n".join(line for line in last if not line.startswith("I: "))[-2000:]
        raise PlatformError(
            f"The base image could not be made from Debian packages: mmdebstrap exited with {code}.\n{seen}",
            hint="Is the Debian mirror reachable from this machine? PAAS_DEBIAN_MIRROR names another one.",
            id="stack_failed",
        )


class _Lines:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.queue: queue.Queue[str | None] = queue.Queue()
        self._process = process

    def code(self) -> int:
        return self._process.wait()

    def read(self, pipe: IO[str]) -> None:
        for line in pipe:
            self.queue.put(line.rstrip())
        self.queue.put(None)


def _next(lines: _Lines, console: BuildConsole, started: float) -> str | None:
    while True:
        console.check()
        if time.monotonic() - started > _DEADLINE_SECONDS:
            raise PlatformError(
                f"The base image was not made within {_DEADLINE_SECONDS:.0f} s.",
                hint="Is the Debian mirror slow or unreachable?",
                id="stack_failed",
            )
        with suppress(queue.Empty):
            return lines.queue.get(timeout=0.25)


@contextmanager
def _process(command: Sequence[str], environment: dict[str, str]) -> Iterator[_Lines]:
    """Whatever happens, nothing that was started is left running."""
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as exc:
        raise PlatformError(
            f"{command[0]} is not installed.", hint="Run bin/up, or: apt-get install mmdebstrap", id="stack_failed"
        ) from exc
    assert process.stderr is not None
    lines = _Lines(process)
    reader = threading.Thread(target=lines.read, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        yield lines
    finally:
        # SIGTERM lets mmdebstrap undo its mounts; the group also holds the packages' own scripts.
        for sent, grace in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
            if process.poll() is not None:
                break
            with suppress(ProcessLookupError):
                os.killpg(process.pid, sent)
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        reader.join(5.0)
        process.stderr.close()
