"""`python -m paas.host.testbed`: what bin/test needs to run a platform beside others on the same machine."""

from __future__ import annotations

import ipaddress
import os
import shlex
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from paas import env as environment
from paas.host.checks import free_ports, free_range
from paas.host.console import complain
from paas.host.engine import ensure_engine
from runtime.engine.api import State
from runtime.engine.docker import DockerEngine
from runtime.errors import Failure

POOLS = ipaddress.IPv4Network("10.192.0.0/10")


def unused_pool(taken: Iterable[str]) -> str:
    """A /16 that overlaps none of these subnets, from the top, as the platform's default is further down."""
    others = [ipaddress.IPv4Network(subnet, strict=False) for subnet in taken if subnet and ":" not in subnet]
    for pool in reversed(list(POOLS.subnets(new_prefix=16))):
        if not any(pool.overlaps(other) for other in others):
            return str(pool)
    raise RuntimeError("every network in 10.192.0.0/10 is taken")


def unused_range() -> tuple[int, int]:
    """Public ports, beyond those that a platform takes by itself; where to look first differs from process to process."""
    first = 25_000 + os.getpid() % 100 * 40
    found = free_range("0.0.0.0", low=first, high=31_999, size=40)  # noqa: S104 - the router's default
    if found is None:
        raise RuntimeError("every port from 25000 to 31999 is taken")
    return found


def settings() -> str:
    """Shell commands that set the variables of a platform for tests."""
    http, https, api, rendezvous, ssh, registry = free_ports(6)
    networks = DockerEngine(environment.load().docker_host).list_networks()
    values = {
        "PAAS_HTTP_PORT": str(http),
        "PAAS_HTTPS_PORT": str(https),
        "PAAS_API_PORT": str(api),
        "PAAS_RENDEZVOUS_PORT": str(rendezvous),
        "PAAS_SSH_PORT": str(ssh),
        "PAAS_REGISTRY_PORT": str(registry),
        "PAAS_PORT_RANGE": "{}-{}".format(*unused_range()),
        "PAAS_HOOKS_ALLOW": "127.0.0.0/8, ::1/128",  # receivers of the tests
        "PAAS_NETWORK_POOL": unused_pool(network.subnet for network in networks),
    }
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())


def stop_engine(pid: int) -> None:
    """Only the one that was started for the tests, and only when nobody else uses it by now."""
    engine = DockerEngine(environment.load().docker_host, timeout_seconds=10)
    if not any(container.state == State.RUNNING for container in engine.list()):
        os.kill(pid, signal.SIGTERM)


def main(arguments: list[str]) -> int:
    try:
        match arguments:
            case ["settings"]:
                print(settings())  # noqa: T201
            case ["start-engine", log]:
                _, pid = ensure_engine(environment.load(), log=Path(log))
                print(pid or "")  # noqa: T201
            case ["stop-engine", pid]:
                if pid:
                    stop_engine(int(pid))
            case _:
                return 2
    except Failure as exc:
        complain(exc)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
