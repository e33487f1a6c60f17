"""Plans carried out on a real engine, with real connections to real processes."""

from __future__ import annotations

import http.client
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from runtime.engine.docker import DockerEngine
from runtime.reconcile import checks
from runtime.reconcile.apply import Applier, InstanceFailed
from runtime.reconcile.observe import observe
from runtime.reconcile.plan import Plan, plan
from runtime.reconcile.spec import AppSpec, CheckKind, HealthCheck, ProcessSpec
from tests.integration.engine.networks import free_subnet
from tests.unit.runtime.reconcile.router import WatchedRouter
from tests.unit.runtime.reconcile.world import lines
from tests.waiting import until

pytestmark = pytest.mark.engine


class Platform:
    """One app on its own home, so that nothing of anybody else is seen."""

    def __init__(self, engine: DockerEngine, image: str) -> None:
        self.engine = engine
        self.image = image
        self.home = f"test-{uuid.uuid4().hex[:10]}"
        self.name = self.home
        self.router = WatchedRouter()
        self.applier = Applier(engine, self.router, home=self.home)
        self.subnet = free_subnet(engine)
        self.told: list[str] = []

    def web(self, release: int, *command: str, quantity: int = 1, **fields: object) -> ProcessSpec:
        values: dict[str, object] = {
            "process": "web",
            "quantity": quantity,
            "image": self.image,
            "command": command or ("web",),
            "environment": {"PORT": "8000", "GREETING": f"v{release}"},
            "release": release,
            "port": 8000,
            "memory_bytes": 64 * 1024 * 1024,
            "health": HealthCheck(CheckKind.TCP, start_seconds=20),
        }
        return ProcessSpec(**{**values, **fields})  # type: ignore[arg-type]

    def app(self, *processes: ProcessSpec, **fields: object) -> AppSpec:
        values: dict[str, object] = {
            "app": self.name,
            "app_id": self.name,
            "release": max((each.release for each in processes), default=0),
            "processes": processes,
            "hosts": ("hello.example",),
            "network": f"paas-{self.name}",
            "subnet": self.subnet,
        }
        return AppSpec(**{**values, **fields})  # type: ignore[arg-type]

    def look(self, desired: AppSpec) -> Plan:
        return plan(desired, observe(self.engine, self.router, home=self.home).of(desired), now=datetime.now(UTC))

    def converge(self, desired: AppSpec) -> dict[str, float]:
        self.told = []
        return dict(self.applier.apply(self.look(desired), narrate=self.told.append).seconds)

    def containers(self) -> int:
        return len(self.engine.list({"paas.home": self.home}))

    def page(self) -> str:
        """What a visitor gets."""
        host, port = self.router.table()[self.name].addresses[0].split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode().strip()
        finally:
            connection.close()


@pytest.fixture
def platform(docker_engine: DockerEngine, programs: str) -> Iterator[Platform]:
    platform = Platform(docker_engine, programs)
    yield platform
    for container in docker_engine.list({"paas.home": platform.home}):
        docker_engine.remove(container.id)
    docker_engine.remove_network(f"paas-{platform.name}")


def test_releases_follow_each_other_and_nothing_is_left_in_the_end(platform: Platform) -> None:
    worker = platform.web(1, "serve", process="worker", port=0, health=HealthCheck(CheckKind.UPTIME, uptime_seconds=0.3))
    platform.converge(platform.app(platform.web(1, quantity=2), worker))
    assert platform.told == lines(f"""
        network {platform.name}: create {platform.subnet}
        start web.1: release v1
        start web.2: release v1
        start worker.1: release v1
        wait web.1: TCP 8000
        wait web.2: TCP 8000
        wait worker.1: up for 0.3 s
        route {platform.name}: web.1, web.2
    """).split("\n")
    assert platform.page() == "v1"
    assert not platform.look(platform.app(platform.web(1, quantity=2), worker))

    seconds = platform.converge(platform.app(platform.web(2)))
    assert platform.page() == "v2"
    assert platform.containers() == 1
    assert seconds["healthy"] < 5

    (container,) = platform.engine.list({"paas.home": platform.home})
    platform.engine.kill(container.id)
    platform.engine.wait(container.id, timeout_seconds=10)
    until(lambda: "start web.1" in str(platform.look(platform.app(platform.web(2)))), "the pause of 1 s is over")
    platform.converge(platform.app(platform.web(2)))
    assert platform.told[1].startswith("start web.1: crashed")
    assert platform.page() == "v2"

    platform.converge(platform.app(deleted=True))
    assert platform.containers() == 0
    assert f"paas-{platform.name}" not in [each.name for each in platform.engine.list_networks()]


def test_a_release_that_fails_costs_nothing_and_says_what_was_seen(platform: Platform) -> None:
    old = platform.app(platform.web(1))
    platform.converge(old)
    quick = HealthCheck(CheckKind.TCP, start_seconds=1.5)
    bad = {
        "boot_crashed": platform.web(2, "crash", health=quick),
        "boot_no_port": platform.web(2, health=quick, environment={"PORT": "8000", "BIND": "127.0.0.1:"}),
        "boot_out_of_memory": platform.web(2, "hungry", memory_bytes=32 << 20),
        "boot_unhealthy": platform.web(2, health=HealthCheck(CheckKind.HTTP, path="/nothing", start_seconds=1.5)),
    }
    seen = {
        "boot_crashed": "It said: ModuleNotFoundError: No module named nowhere",
        "boot_no_port": "listens on 127.0.0.1:8000 only",
        "boot_out_of_memory": "its limit is 32 MB",
        "boot_unhealthy": "GET /nothing answered 404",
    }
    for identity, spec in bad.items():
        with pytest.raises(InstanceFailed) as caught:
            platform.converge(platform.app(spec))
        assert caught.value.id == identity
        assert seen[identity] in caught.value.message
        assert platform.page() == "v1"
        assert platform.containers() == 1
    assert not platform.look(old)


def test_a_release_command_streams_its_output(platform: Platform) -> None:
    desired = platform.app(platform.web(1))
    platform.applier.ensure_network(desired)
    spec = platform.applier.one_off_spec(desired, desired.processes[0], kind="release", command=["hello"])
    said: list[str] = []
    assert platform.applier.run_one_off(spec, narrate=said.append, deadline_seconds=30).code == 3
    assert sorted(said) == ["hello", "oh dear"]
    endless = platform.applier.one_off_spec(desired, desired.processes[0], kind="release", command=["stubborn"])
    with pytest.raises(TimeoutError):
        platform.applier.run_one_off(endless, narrate=said.append, deadline_seconds=1)
    assert platform.containers() == 0


# -------------------------------------------------------------------- looking at ports


@contextmanager
def server(reply: bytes | None) -> Iterator[int]:
    """Takes one connection after another; answers with `reply`, None for never."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if reply is None:
                held.append(connection)
                continue
            with connection:
                if reply:
                    connection.recv(65536)
                    connection.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", 500),
        (b"220 mail.example ESMTP\r\n", checks.NOT_HTTP),
        (b"", checks.CLOSED),
        (None, checks.SILENT),
    ],
)
def test_what_a_port_answers_is_told_apart(reply: bytes | None, status: int) -> None:
    with server(reply) as port:
        assert checks.accepts("127.0.0.1", port, 1)
        assert checks.answers("127.0.0.1", port, "/", "hello.example", 0.3) == status


def test_a_closed_udp_port_is_told_from_an_open_one() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as there:
        there.bind(("127.0.0.1", 0))
        port = there.getsockname()[1]
        assert checks.takes_datagrams("127.0.0.1", port)
    assert not checks.takes_datagrams("127.0.0.1", port)


def test_a_closed_port_takes_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert not checks.accepts("127.0.0.1", port, 1)
    assert checks.answers("127.0.0.1", port, "/", "", 1) is None
