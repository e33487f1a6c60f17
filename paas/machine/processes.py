"""The platform's own processes and what they hold in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from paas.core.processes import PROC, Sessions

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class PlatformProcess:
    """One line of the Procfile, with all processes that belong to it."""

    name: str
    pids: tuple[int, ...]
    memory_bytes: int  # pages shared with others count in parts: the sum over all is what the platform takes
    cpu_seconds: float  # since they started


def platform_processes() -> list[PlatformProcess]:
    """In the order of the Procfile's names. Empty where the platform was started by something else."""
    members: dict[str, list[int]] = {}
    for pid, name in Sessions(settings.ENV.run_dir / "sessions").members().items():
        members.setdefault(name, []).append(pid)
    return [
        PlatformProcess(name, tuple(sorted(pids)), sum(map(_memory, pids)), sum(map(_cpu, pids)))
        for name, pids in sorted(members.items())
    ]


def _memory(pid: int) -> int:
    """The proportional share; the resident size where that may not be read; 0 when it is gone."""
    fields = _fields(PROC / str(pid) / "smaps_rollup") or _fields(PROC / str(pid) / "status")
    return 1024 * int((fields.get("Pss") or fields.get("VmRSS") or "0").split()[0])


def _fields(file: Path) -> Mapping[str, str]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {name: rest.strip() for name, colon, rest in (line.partition(":") for line in lines) if colon}


def _cpu(pid: int) -> float:
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS
