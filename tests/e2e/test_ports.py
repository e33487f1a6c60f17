"""An app that speaks TCP and UDP: through deploys and rollbacks under load, with names of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from itertools import groupby

import pytest

from tests.e2e.harness import App, Platform, wait_until

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


@pytest.fixture
def echo(app: App) -> App:
    """With a public port for TCP and one for UDP."""
    app.deploy("echo", "good")
    app.paas("ports:add", "9000", "--process", "echo")
    app.paas("ports:add", "9000", "--process", "echo", "--udp")
    return app


def ports(app: App) -> dict[str, int]:
    return {row["protocol"]: row["public_port"] for row in app.json("ports")}


def ask(kind: socket.SocketKind, port: int, text: bytes = b"hello") -> str:
    with socket.socket(type=kind) as connection:
        connection.settimeout(10)
        connection.connect(("127.0.0.1", port))
        connection.sendall(text)
        return connection.recv(65535).decode()


class Client(threading.Thread):
    """Asks and waits for the answer again and again: over TCP on a new connection each time."""

    def __init__(self, kind: socket.SocketKind, port: int) -> None:
        super().__init__(daemon=True)
        self.kind, self.port = kind, port
        self.answers: list[str] = []
        self.failures: list[str] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            with socket.socket(type=self.kind) as connection:
                connection.settimeout(5)
                for _ in range(1 if self.kind is TCP else 1_000_000):
                    self.ask(connection)
                    if self.stopping.wait(0.002):
                        break

    def ask(self, connection: socket.socket) -> None:
        question = f"{len(self.answers)}"
        try:
            if self.kind is TCP or not self.answers:
                connection.connect(("127.0.0.1", self.port))
            connection.sendall(question.encode())
            answer = connection.recv(65535).decode()
            assert answer.endswith(f" {question}"), answer
            self.answers.append(answer)
        except (OSError, AssertionError) as exc:
            self.failures.append(f"{question}: {exc!r}")


@contextlib.contextmanager
def load(app: App) -> Iterator[list[Client]]:
    numbers = ports(app)
    clients = [Client(kind, numbers[name]) for kind, name in ((TCP, "tcp"), (UDP, "udp")) for _ in range(3)]
    for each in clients:
        each.start()
    try:
        yield clients
        for each in clients:
            seen = len(each.answers)
            wait_until(lambda each=each, seen=seen: len(each.answers) > seen + 20, "answers after the change", pause=0.02)  # type: ignore[misc]
    finally:
        for each in clients:
            each.stopping.set()
        for each in clients:
            each.join(10)
    assert [failure for each in clients for failure in each.failures] == []


def test_deploys_and_rollbacks_refuse_no_connection_and_lose_no_datagram(echo: App):
    assert ask(TCP, ports(echo)["tcp"]).startswith("good v3 ")
    with load(echo) as clients:
        for version in ("second", "third"):
            echo.deploy(version=version)
        echo.paas("rollback", "v3")
    assert ask(UDP, ports(echo)["udp"]).startswith("good v6 ")
    for each in clients:
        versions = [version for version, _ in groupby(answer.split()[0] for answer in each.answers)]
        assert versions == ["good", "second", "third", "good"]  # and never back to one that is being drained
    echo.comes_to_rest(60)


def test_the_app_is_told_its_public_addresses(echo: App, platform: Platform):
    numbers = ports(echo)
    told = ask(TCP, numbers["tcp"], b"who")
    assert told == f"{echo.host}:{numbers['tcp']} {echo.host}:{numbers['udp']}"


def test_a_rollback_restores_the_ports(echo: App):
    numbers = ports(echo)
    echo.paas("rollback", "v1")
    assert echo.json("ports") == []
    with pytest.raises(ConnectionRefusedError):
        ask(UDP, numbers["udp"])
    echo.paas("rollback", "v3", "--only", "ports")
    assert ports(echo) == numbers
    assert ask(UDP, numbers["udp"]).startswith("good v5 ")
    assert ask(TCP, numbers["tcp"]).startswith("good v5 ")


def test_a_port_that_another_process_has_is_refused_while_saving(echo: App):
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        refused = echo.paas("ports:add", "9000", "--process", "echo", "--public", str(port), check=False)
    assert refused.code == 1
    assert f"Port {port}/tcp of this machine is taken by " in refused.err
    assert f"(process {os.getpid()})" in refused.err
    assert len(echo.releases()) == 3


def test_an_app_that_does_not_open_its_port_keeps_what_it_had(echo: App):
    failed = echo.paas("ports:add", "9009", "--process", "web", check=False)
    assert failed.code == 1
    assert "nothing took TCP on its port 9009" in failed.err
    assert ask(TCP, ports(echo)["tcp"]).startswith("good v3 ")
    assert len(echo.json("ports")) == 2


@pytest.mark.alone
def test_ports_and_domains_are_there_after_everything_of_the_router_died(echo: App, platform: Platform):
    echo.paas("domains:add", f"{echo.name}.example.com")
    name = f"{echo.name}.example.com"
    wait_until(lambda: platform.get(name, "/").status == 200, "its own domain answers")
    numbers = ports(echo)
    for file in (platform.home / "router" / "ports").glob("*.json"):
        file.unlink()
    (platform.home / "router" / "apps" / f"{echo.name}.json").unlink()
    for pid in platform.processes("router"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: _answers(TCP, numbers["tcp"]) and _answers(UDP, numbers["udp"]), "the ports answer", seconds=60)
    wait_until(lambda: platform.get(name, "/").status == 200, "its own domain answers again", seconds=60)
    echo.paas("domains:remove", name)
    wait_until(lambda: platform.get(name, "/").status == 404, "the domain is gone")


def _answers(kind: socket.SocketKind, port: int) -> bool:
    try:
        return ask(kind, port).startswith("good ")
    except OSError:
        return False


def test_the_ports_of_a_destroyed_app_are_free_again(echo: App, new_app, platform: Platform):
    numbers = ports(echo)
    echo.destroy()
    other: App = new_app()
    other.deploy("echo", "other")

    def is_free() -> bool:
        return other.paas("ports:add", "9000", "-p", "echo", "--public", str(numbers["tcp"]), check=False).code == 0

    wait_until(is_free, "the port is free", seconds=60, pause=0.5)
    assert ask(TCP, numbers["tcp"]).startswith("other ")
