"""What the machine as a whole is busy with, from the kernel's files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MachineUsage:
    """`busy_seconds` counts up, over all cores, since the machine started."""

    cores: int
    busy_seconds: float
    load: float  # average of one minute
    memory_used_bytes: int  # what is not available to others
    memory_total_bytes: int
    disk_used_bytes: int  # of the file system the home is on
    disk_total_bytes: int


def machine_usage(home: Path, *, proc: Path = Path("/proc")) -> MachineUsage:
    stat = (proc / "stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _idle, _waiting, irq, soft_irq, stolen = (int(field) for field in stat[1:9])
    ticks = os.sysconf("SC_CLK_TCK")
    total, available = _memory(proc)
    disk = os.statvfs(home)
    return MachineUsage(
        cores=os.cpu_count() or 1,
        busy_seconds=(user + nice + system + irq + soft_irq + stolen) / ticks,
        load=float((proc / "loadavg").read_text().split()[0]),
        memory_used_bytes=total - available,
        memory_total_bytes=total,
        disk_used_bytes=(disk.f_blocks - disk.f_bfree) * disk.f_frsize,
        disk_total_bytes=disk.f_blocks * disk.f_frsize,
    )


def memory_total_bytes(*, proc: Path = Path("/proc")) -> int:
    return _memory(proc)[0]


def _memory(proc: Path) -> tuple[int, int]:
    values = {}
    for line in (proc / "meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        values[name] = int(rest.split()[0]) * 1024
        if name == "MemAvailable":
            break
    return values["MemTotal"], values["MemAvailable"]
