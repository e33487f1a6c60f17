"""What containers use, straight from the kernel's files: a few microseconds each, and no call to the engine.

Works with control groups of version 1 and 2 and whatever driver the engine uses for them. A container whose files are not
on this machine (a remote engine) has no usage.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Where engines put a container's group, below the mount: with the cgroupfs and the systemd driver, and Podman's.
PLACES = ("docker/{id}", "system.slice/docker-{id}.scope", "machine.slice/libpod-{id}.scope")
_READ = 65536


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters since the container started, and the memory it holds now (without caches that can be dropped)."""

    cpu_seconds: float
    memory_bytes: int
    received_bytes: int
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class _Files:
    cpu: str
    memory: str
    memory_details: str
    dropped: bytes  # the line in the details that says what could be dropped
    processes: str


class ContainerUsage:
    """Remembers where a container's files are. Not for several threads."""

    def __init__(self, *, cgroups: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._unified = (cgroups / "cgroup.controllers").exists()
        self._memory_mount = cgroups if self._unified else cgroups / "memory"
        self._cpu_mount = cgroups if self._unified else _first(cgroups, "cpuacct", "cpu,cpuacct")
        self._places = list(PLACES)
        self._files: dict[str, _Files | None] = {}
        self._pids: dict[str, int] = {}

    def of(self, container_id: str) -> Usage | None:
        """None when it does not run, or not here."""
        if container_id not in self._files:
            self._files[container_id] = self._find(container_id)  # None is remembered, too: looking everywhere is slow
        files = self._files[container_id]
        if files is None:
            return None
        try:
            cpu = _read(files.cpu)
            memory = int(_read(files.memory))
            details = _read(files.memory_details)
        except (OSError, ValueError):
            return None
        seconds = _number(cpu, b"usage_usec") / 1e6 if self._unified else int(cpu) / 1e9
        received, sent = self._network(container_id, files)
        return Usage(seconds, max(0, memory - _number(details, files.dropped)), received, sent)

    def forget_all_but(self, container_ids: set[str]) -> None:
        self._files = {each: files for each, files in self._files.items() if each in container_ids}
        self._pids = {each: pid for each, pid in self._pids.items() if each in container_ids}

    def _find(self, container_id: str) -> _Files | None:
        for place in self._places:
            relative = place.format(id=container_id)
            if (self._memory_mount / relative).is_dir():
                return self._files_in(relative)
        for found in _folders_with(self._memory_mount, container_id):
            # Somewhere else, as with a parent group of the operator's choice: the next ones will be there, too.
            relative = str(found.relative_to(self._memory_mount))
            self._places.insert(0, relative.replace("{", "{{").replace("}", "}}").replace(container_id, "{id}"))
            return self._files_in(relative)
        return None

    def _files_in(self, relative: str) -> _Files:
        memory, cpu = self._memory_mount / relative, self._cpu_mount / relative
        if self._unified:
            return _Files(
                cpu=str(cpu / "cpu.stat"),
                memory=str(memory / "memory.current"),
                memory_details=str(memory / "memory.stat"),
                dropped=b"inactive_file",
                processes=str(memory / "cgroup.procs"),
            )
        return _Files(
            cpu=str(cpu / "cpuacct.usage"),
            memory=str(memory / "memory.usage_in_bytes"),
            memory_details=str(memory / "memory.stat"),
            dropped=b"total_inactive_file",
            processes=str(memory / "cgroup.procs"),
        )

    def _network(self, container_id: str, files: _Files) -> tuple[int, int]:
        """Of all interfaces in the network namespace of its first process, but the loopback."""
        for attempt in (0, 1):
            try:
                pid = self._pids.get(container_id) or int(_read(files.processes).split(b"\n", 1)[0])
                self._pids[container_id] = pid
                return _traffic(_read(f"{self._proc}/{pid}/net/dev"))
            except (OSError, ValueError, IndexError):
                self._pids.pop(container_id, None)
                if attempt:
                    break
        return 0, 0


def _first(folder: Path, *names: str) -> Path:
    return next((folder / name for name in names if (folder / name).is_dir()), folder / names[0])


def _folders_with(top: Path, name: str) -> Iterator[Path]:
    for folder, inside, _ in os.walk(top):
        for each in inside:
            if name in each:
                yield Path(folder) / each


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _READ)
    finally:
        os.close(descriptor)


def _number(text: bytes, name: bytes) -> int:
    """Of a line `name 123`."""
    _, found, rest = (b"\n" + text).partition(b"\n" + name + b" ")
    return int(rest.partition(b"\n")[0]) if found else 0


def _traffic(table: bytes) -> tuple[int, int]:
    received = sent = 0
    for line in table.split(b"\n")[2:]:
        name, colon, rest = line.partition(b":")
        if colon and name.strip() != b"lo":
            fields = rest.split()
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent
