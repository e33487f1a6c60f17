"""Which processes belong to this platform, and how to end them.

Each process of the Procfile leads a session of its own, whose number is kept in `run/sessions` together with the time it
began. That finds the children too, also when their leader died, and also nginx, which writes over its own environment.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Stat:
    pid: int
    state: str
    session: int
    began: int  # clock ticks after boot


def parse_stat(text: str) -> Stat:
    """One line of /proc/PID/stat. The command's name may hold spaces and brackets; the last bracket ends it."""
    pid, _, rest = text.partition(" ")
    fields = rest.rpartition(")")[2].split()
    return Stat(int(pid), fields[0], int(fields[3]), int(fields[19]))


def read_stat(pid: int) -> Stat | None:
    try:
        return parse_stat((PROC / str(pid) / "stat").read_text(errors="replace"))
    except (OSError, ValueError, IndexError):
        return None


def every_process() -> list[Stat]:
    stats = (read_stat(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdigit())
    return [stat for stat in stats if stat is not None and stat.state not in "ZX"]


def is_alive(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.state not in "ZX"


class Sessions:
    """The file `run/sessions`: the boot it is about, then `name session began` a line; later lines come from restarts."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def clear(self) -> None:
        self._file.write_text(BOOT_ID.read_text())

    def add(self, name: str, pid: int) -> None:
        stat = read_stat(pid)
        with self._file.open("a") as file:
            file.write(f"{name} {pid} {stat.began if stat else 0}\n")

    def known(self) -> Mapping[int, tuple[str, int]]:
        """Session number -> name, time it began. Empty after a reboot: the numbers mean others by then."""
        try:
            boot, *lines = self._file.read_text().splitlines()
        except (OSError, ValueError):
            return {}
        if boot != BOOT_ID.read_text().strip():
            return {}
        found = {}
        for line in lines:
            name, session, began = line.split()
            found[int(session)] = (name, int(began))
        return found

    def members(self) -> Mapping[int, str]:
        """Every process alive that belongs to one of them: pid -> name in the Procfile."""
        known = self.known()
        if not known:
            return {}
        processes = every_process()
        leaders = {stat.pid: stat for stat in processes}
        found = {}
        for stat in processes:
            entry = known.get(stat.session)
            if entry is None:
                continue
            name, began = entry
            leader = leaders.get(stat.session)
            if leader is None or not began or leader.began == began:
                found[stat.pid] = name
        return found


def end(pids: Iterable[int], *, grace_seconds: float) -> bool:
    """SIGTERM, the grace, SIGKILL. False when even that did not end one of them."""
    left = set(pids)
    for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
        for pid in left:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + seconds
        while (left := {pid for pid in left if is_alive(pid)}) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not left:
            return True
    return False


class AlreadyRunning(Exception):
    """Somebody else holds the lock."""


class Lock:
    """`run/platform.lock`: held by the supervisor as long as it lives, whatever way it ends. Its content is its pid."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None

    def take(self) -> None:
        """Raises `AlreadyRunning`."""
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(descriptor)
            raise AlreadyRunning from exc
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def holder(self) -> int | None:
        """The pid of the supervisor that runs, or None."""
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            text = os.pread(descriptor, 32, 0).decode().strip()
            return int(text) if text.isdigit() else 0
        finally:
            os.close(descriptor)
        return None
