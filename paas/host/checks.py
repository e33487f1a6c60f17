"""What must be true of this machine before anything is started. Each failure says what to do."""

from __future__ import annotations

import re
import socket
import subprocess

from paas.env import Env
from runtime.errors import UserError

ENDS_AT = 107  # bytes of a Unix socket's path
LISTENER = re.compile(r'"(?P<name>[^"]+)",pid=(?P<pid>\d+)')


class HostProblem(UserError):
    """Something about this machine stops the platform."""

    id = "host_problem"


def is_free(port: int, address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at this moment."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def free_range(address: str, *, low: int, high: int, size: int) -> tuple[int, int] | None:
    """The first `size` ports in a row, in steps of as many, that nobody has for TCP."""
    for first in range(low, high - size + 2, size):
        if all(is_free(port, address) for port in range(first, first + size)):
            return first, first + size - 1
    return None


def _taken(env: Env) -> list[int]:
    low, high = env.port_range or (0, -1)
    return [port for port in range(low, high + 1) if not is_free(port, env.http_address)]


def is_range_taken(env: Env) -> bool:
    """The whole of it."""
    return env.port_range is not None and len(_taken(env)) == env.port_range[1] - env.port_range[0] + 1


def check_range(env: Env) -> list[str]:
    """The public ports that can't be had, each with who has it. Raises `HostProblem` when none is left."""
    if env.port_range is None:
        return []
    low, high = env.port_range
    taken = _taken(env)
    if is_range_taken(env):
        raise HostProblem(
            f"Every public port from {low} to {high} is taken, {low} by {who_listens(low)}.",
            hint="Stop that, or choose other ports: PAAS_PORT_RANGE=21000-21199 bin/up",
            id="port_taken",
        )
    return [f"{port}: {who_listens(port)}" for port in taken[:5]] + ["…"] * (len(taken) > 5)


def listener_in(output: str) -> str:
    """Who listens, out of one line of `ss -ltnp`: "nginx (process 812)"; "" when it does not say."""
    match = LISTENER.search(output)
    return f"{match['name']} (process {match['pid']})" if match else ""


def who_listens(port: int) -> str:
    try:
        answer = subprocess.run(
            ["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "another process"
    return listener_in(answer.stdout) or "another process"


def check_ports(env: Env) -> None:
    """Raises `HostProblem`, which names the process in the way and the variable to set."""
    wanted = [("PAAS_HTTP_PORT", env.http_port, env.http_address, 8080)]
    if env.https_port:
        wanted.append(("PAAS_HTTPS_PORT", env.https_port, env.http_address, 8443))
    wanted += [
        ("PAAS_API_PORT", env.api_port, "127.0.0.1", 5543),
        ("PAAS_RENDEZVOUS_PORT", env.rendezvous_port, env.http_address, 5544),
        ("PAAS_SSH_PORT", env.ssh_port, env.http_address, 2322),
    ]
    if not env.external_registry:
        wanted.append(("PAAS_REGISTRY_PORT", env.registry_port, "127.0.0.1", 5001))
    for variable, port, address, instead in wanted:
        if port and not is_free(port, address):
            raise HostProblem(
                f"Port {port} is taken by {who_listens(port)}.",
                hint=f"Stop that, or choose another port: {variable}={instead} bin/up",
                id="port_taken",
            )


def check_paths(env: Env) -> None:
    for longest in (env.run_dir / "redis.sock", env.home / "router" / "run" / "admin.sock"):
        if len(str(longest).encode()) > ENDS_AT:
            raise HostProblem(
                f"{longest} is too long for a Unix socket, which ends at {ENDS_AT} bytes.",
                hint="Choose a shorter folder: PAAS_HOME=/srv/paas bin/up",
                id="path_too_long",
            )
