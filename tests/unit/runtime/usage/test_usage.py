"""What the kernel's files say, with the files made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.usage.cgroups import ContainerUsage, Usage
from runtime.usage.machine import machine_usage

ID = "a1" * 32
NET = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  999      1    0    0    0     0          0         0      999       1    0    0    0     0       0          0
  eth0: 2048     12    0    0    0     0          0         0     1024       8    0    0    0     0       0          0
  eth1:   52      1    0    0    0     0          0         0        6       1    0    0    0     0       0          0
"""


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def version_1(tmp_path: Path, place: str) -> ContainerUsage:
    cgroups, proc = tmp_path / "cgroup", tmp_path / "proc"
    write(cgroups / "cpuacct" / place / "cpuacct.usage", "1500000000\n")
    write(cgroups / "memory" / place / "memory.usage_in_bytes", "70000\n")
    write(cgroups / "memory" / place / "memory.stat", "inactive_file 1\nhierarchical 3\ntotal_inactive_file 20000\n")
    write(cgroups / "memory" / place / "cgroup.procs", "77\n78\n")
    write(proc / "77" / "net" / "dev", NET)
    return ContainerUsage(cgroups=cgroups, proc=proc)


def version_2(tmp_path: Path, place: str) -> ContainerUsage:
    cgroups, proc = tmp_path / "cgroup", tmp_path / "proc"
    write(cgroups / "cgroup.controllers", "cpu memory\n")
    write(cgroups / place / "cpu.stat", "usage_usec 1500000\nuser_usec 1\n")
    write(cgroups / place / "memory.current", "70000\n")
    write(cgroups / place / "memory.stat", "anon 3\ninactive_file 20000\nactive_file 4\n")
    write(cgroups / place / "cgroup.procs", "77\n")
    write(proc / "77" / "net" / "dev", NET)
    return ContainerUsage(cgroups=cgroups, proc=proc)


@pytest.mark.parametrize("version", [version_1, version_2])
@pytest.mark.parametrize("place", [f"docker/{ID}", f"system.slice/docker-{ID}.scope", f"our{{own}}/slice/{ID}"])
def test_usage_is_found_wherever_the_engine_keeps_its_groups(tmp_path, version, place):
    usage = version(tmp_path, place)
    assert usage.of(ID) == Usage(cpu_seconds=1.5, memory_bytes=50_000, received_bytes=2100, sent_bytes=1030)


def test_a_container_that_runs_elsewhere_has_none(tmp_path):
    usage = version_1(tmp_path, f"docker/{ID}")
    assert usage.of("b2" * 32) is None


def test_a_container_that_ended_has_none(tmp_path):
    usage = version_2(tmp_path, f"docker/{ID}")
    assert usage.of(ID)
    (tmp_path / "cgroup" / "docker" / ID / "memory.current").unlink()
    assert usage.of(ID) is None


def test_without_its_first_process_the_network_is_unknown_and_the_rest_is_not(tmp_path):
    usage = version_2(tmp_path, f"docker/{ID}")
    (tmp_path / "proc" / "77" / "net" / "dev").unlink()
    assert usage.of(ID) == Usage(cpu_seconds=1.5, memory_bytes=50_000, received_bytes=0, sent_bytes=0)


def test_the_machine_counts_what_is_not_idle_and_not_available(tmp_path):
    write(tmp_path / "stat", "cpu  100 10 50 4000 300 5 5 30 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    write(tmp_path / "loadavg", "0.52 0.40 0.30 1/100 4711\n")
    write(tmp_path / "meminfo", "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 600 kB\nBuffers: 1 kB\n")
    seen = machine_usage(tmp_path, proc=tmp_path)
    assert (seen.busy_seconds, seen.load) == (2.0, 0.52)
    assert (seen.memory_used_bytes, seen.memory_total_bytes) == (400 * 1024, 1000 * 1024)
    assert 0 < seen.disk_used_bytes < seen.disk_total_bytes
