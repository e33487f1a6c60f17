from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.router import launch
from runtime.router.nginx import NginxRouter, NginxSettings, command, install
from tests import waiting
from tests.integration.router.upstream import Upstream

until = partial(waiting.until, seconds=20)


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def free_range(size: int) -> tuple[int, int]:
    """That many ports in a row which nobody has, below those that the kernel gives to clients."""
    for low in range(24_000, 32_000, size):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(low, low + size):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        stack.enter_context(socket.socket(type=kind)).bind(("127.0.0.1", port))
            except OSError:
                continue
            return low, low + size - 1
    raise RuntimeError("no free ports")


class RunningNginx:
    """A router of its own on free ports; its paths are short, as sockets want them."""

    def __init__(self, **changes: Any) -> None:
        self.range = free_range(20)
        self.beyond = free_ports(1)[0]  # the public ports of the range are open at all times, this one is not
        self.base = Path(tempfile.mkdtemp(prefix="paas-router-", dir="/tmp"))
        self.base.chmod(0o711)  # so that the workers need not be root
        self.home = self.base / "router"
        (self.base / "run").mkdir(mode=0o711)
        self.web_socket, self.git_socket = self.base / "run" / "web.sock", self.base / "run" / "git.sock"
        self.registry_socket = self.base / "run" / "registry.sock"
        self.port, self.https_port = free_ports(2)
        settings = NginxSettings(
            domain="localhost",
            web_socket=self.web_socket,
            git_socket=self.git_socket,
            http_address="127.0.0.1",
            http_ports=(self.port,),
            https_port=self.https_port,
            port_range=self.range,
            max_body_bytes=8 * 1024 * 1024,
            registry_socket=self.registry_socket if changes.get("registry_port") else None,
        )
        install(self.home, replace(settings, **changes))
        self.router = NginxRouter(self.home)
        self.process: subprocess.Popen[bytes] | None = None
        self.earlier: list[tuple[int, str]] = []  # workers of earlier starts: they may still have something to finish
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=30, verify=False)

    def start(self) -> None:
        self.earlier += [(pid, launch.start_time(pid)) for pid in launch.workers(self.home)]
        with (self.base / "output").open("ab") as output:
            self.process = subprocess.Popen(command(self.home), stdout=output, stderr=output, start_new_session=True)
        until(self.running, f"nginx\n{(self.base / 'output').read_text()}")

    def running(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.base / "output").read_text()
        return self.router.healthy() and self.master() == self.process.pid

    def master(self) -> int:
        try:
            return int((self.home / "run" / "nginx.pid").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def workers(self) -> list[int]:
        return list(self.router.status()["workers"])

    def kill_master(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def remove(self) -> None:
        if self.process:
            self.kill_master()
        launch.clear_ports(self.home)
        for pid, began in [*self.earlier, *((pid, launch.start_time(pid)) for pid in launch.workers(self.home))]:
            if launch.start_time(pid) == began:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.router.close()
        self.client.close()
        shutil.rmtree(self.base)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, host: str, path: str = "/", **headers: str) -> httpx.Response:
        named = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.get(path, headers=named)

    def post(self, host: str, path: str, content: bytes | Iterator[bytes]) -> httpx.Response:
        return self.client.post(path, headers={"Host": host}, content=content)

    def raw(self, request: bytes) -> bytes:
        """What comes back for these very bytes, until the router closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
            return b"".join(parts)


@pytest.fixture(scope="session")
def shared_nginx() -> Iterator[RunningNginx]:
    nginx = RunningNginx()
    try:
        nginx.start()
        yield nginx
    finally:
        nginx.remove()


@pytest.fixture
def nginx(shared_nginx: RunningNginx) -> Iterator[RunningNginx]:
    """One for all tests, with an empty table."""
    yield shared_nginx
    for app in shared_nginx.router.table():
        shared_nginx.router.remove(app)
    for protocol, port in shared_nginx.router.bindings():
        shared_nginx.router.unbind(protocol, port)


@pytest.fixture
def own_nginx() -> Iterator[RunningNginx]:
    """One that the test may kill."""
    nginx = RunningNginx()
    try:
        nginx.start()
        yield nginx
    finally:
        nginx.remove()


@pytest.fixture
def make_upstream() -> Iterator[Callable[..., Upstream]]:
    made: list[Upstream] = []

    def make(name: str, port: int = 0) -> Upstream:
        made.append(Upstream(name, port))
        return made[-1]

    yield make
    for upstream in made:
        upstream.close()


@pytest.fixture
def a(make_upstream: Callable[..., Upstream]) -> Upstream:
    return make_upstream("A")


@pytest.fixture
def b(make_upstream: Callable[..., Upstream]) -> Upstream:
    return make_upstream("B")
