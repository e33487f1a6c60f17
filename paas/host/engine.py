"""Make sure that a container engine answers; start one where none does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from paas.env import Env
from paas.host.checks import HostProblem
from runtime.engine.api import EngineInfo
from runtime.engine.docker import DockerEngine
from runtime.errors import EngineError

DEFAULT_SOCKET = "unix:///var/run/docker.sock"
DEADLINE_SECONDS = 60
# dockerd finds `iptables` through PATH: a folder with one link chooses which of the two that is.
LEGACY = Path("/run/paas/iptables-legacy")
TELLING = re.compile(r"level=(error|fatal)|failed to|permission denied|not supported", re.IGNORECASE)


def answers(docker_host: str) -> EngineInfo | None:
    try:
        return DockerEngine(docker_host, timeout_seconds=10).info()
    except EngineError:
        return None


def ensure_engine(env: Env, *, log: Path) -> tuple[EngineInfo, int | None]:
    """The engine, and the process that was started for it, if any. Raises `HostProblem`."""
    info = answers(env.docker_host)
    if info is not None:
        return info, None
    if env.docker_host != DEFAULT_SOCKET:
        raise HostProblem(
            f"No container engine answers at {env.docker_host}.",
            hint="Start it, or unset DOCKER_HOST to let bin/up start one.",
            id="engine_unavailable",
        )
    if Path("/run/systemd/system").is_dir():
        return _start_service(env), None
    return _start_daemon(env, log)


def _start_service(env: Env) -> EngineInfo:
    started = subprocess.run(
        ["systemctl", "enable", "--now", "docker"], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )
    info = answers(env.docker_host)
    if started.returncode or info is None:
        raise HostProblem(
            f"The service docker does not start: {started.stderr.strip() or 'its socket does not answer'}.",
            hint="See why: journalctl -u docker -n 50",
            id="engine_unavailable",
        )
    return info


def _start_daemon(env: Env, log: Path) -> tuple[EngineInfo, int | None]:
    dockerd = shutil.which("dockerd", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
    if dockerd is None:
        raise HostProblem("There is no dockerd on this machine.", hint="Install it: apt-get install docker.io")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        start_of_ours = output.tell()
        daemon = subprocess.Popen(
            [dockerd, "--live-restore", "--log-level", "warn"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env=_environment(),
        )
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        info = answers(env.docker_host)
        if info is not None:
            return info, daemon.pid
        if daemon.poll() is not None:
            break
        time.sleep(0.1)
    happened = "ended at once" if daemon.poll() is not None else f"does not answer after {DEADLINE_SECONDS} s"
    daemon.terminate()
    told = telling_lines(log.read_bytes()[start_of_ours:].decode(errors="replace"))
    raise HostProblem(
        "\n".join([f"dockerd was started and {happened}. It said:", *(f"  {line}" for line in told)]),
        hint=f"All of it is in {log}. Repair that and run bin/up again, or point DOCKER_HOST to an engine that works.",
        id="engine_unavailable",
    )


def telling_lines(log: str, count: int = 6) -> list[str]:
    """The lines that say why; the last ones when none sticks out."""
    lines = [line.strip() for line in log.splitlines() if line.strip() and "level=warning" not in line]
    return ([line for line in lines if TELLING.search(line)] or lines)[-count:]


def _environment() -> dict[str, str]:
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    if not _works("iptables") and _works("iptables-legacy"):
        LEGACY.mkdir(parents=True, exist_ok=True)
        for name in ("iptables", "ip6tables"):
            link = LEGACY / name
            link.unlink(missing_ok=True)
            link.symlink_to(f"/usr/sbin/{name}-legacy")
        path = f"{LEGACY}:{path}"
    return {**os.environ, "PATH": path}


def _works(iptables: str) -> bool:
    """Whether the kernel takes this flavour: listing is not enough, dockerd has to add chains."""
    chain = "PAAS-PROBE"
    try:
        made = subprocess.run([iptables, "-t", "nat", "-N", chain], capture_output=True, timeout=10, check=False)
        subprocess.run([iptables, "-t", "nat", "-X", chain], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return made.returncode == 0 or b"exists" in made.stderr
