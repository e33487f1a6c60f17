"""TCP and UDP ports: who gets what, what a switch costs, and what comes back after a crash."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.errors import RouterError, RouterUnavailable
from runtime.router import launch
from runtime.router.api import Binding, PortProtocol
from tests.integration.router.conftest import RunningNginx, until
from tests.integration.router.echo import Conversation, Echo, listening, talk
from tests.unit.runtime.router.contract import TCP, UDP, both_protocols

SWITCHES = 20


@pytest.fixture
def a() -> Iterator[Echo]:
    echo = Echo(b"A:")
    yield echo
    echo.close()


@pytest.fixture
def b() -> Iterator[Echo]:
    echo = Echo(b"B:")
    yield echo
    echo.close()


def to(nginx: RunningNginx, protocol: PortProtocol, *instances: Echo, port: int = 0) -> Binding:
    return Binding("shop", protocol, port or nginx.range[0], tuple(each.address for each in instances))


class Client(threading.Thread):
    """Asks and waits for the answer, again and again: a connection for each question, or a socket for all of them."""

    def __init__(self, protocol: PortProtocol, port: int) -> None:
        super().__init__()
        self.protocol, self.port = protocol, port
        self.done = 0
        self.failures: list[object] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            with talk(self.protocol, self.port) as conversation:
                conversation.socket.settimeout(2)
                for _ in range(1 if self.protocol is TCP else 100_000):
                    self.ask(conversation)
                    if self.stopping.is_set():
                        break

    def ask(self, conversation: Conversation) -> None:
        question = b"%d" % self.done
        try:
            answer = conversation.say(question)
        except OSError as exc:
            self.failures.append(exc)
            return
        if answer[2:] == question:
            self.done += 1
        else:
            self.failures.append((question, answer))


@contextlib.contextmanager
def load(protocol: PortProtocol, port: int) -> Iterator[list[Client]]:
    clients = [Client(protocol, port) for _ in range(6)]
    for each in clients:
        each.start()
    try:
        yield clients
    finally:
        for each in clients:
            each.stopping.set()
        for each in clients:
            each.join()


@both_protocols
def test_switches_under_load_lose_nothing(nginx: RunningNginx, a: Echo, b: Echo, protocol: PortProtocol) -> None:
    nginx.router.bind(to(nginx, protocol, a))
    with load(protocol, nginx.range[0]) as clients:
        for n in range(1, SWITCHES + 1):
            before, after = (a, b) if n % 2 else (b, a)
            nginx.router.bind(to(nginx, protocol, after))
            with talk(protocol, nginx.range[0]) as conversation:
                assert conversation.say(b"who") == after.name + b"who"
            if protocol is TCP or n == SWITCHES:  # for UDP it takes a second of silence
                assert nginx.router.binding_drained(protocol, before.address, timeout_seconds=10)
            seen = [each.done for each in clients]
            until(lambda seen=seen: all(x.done > y + 5 for x, y in zip(clients, seen, strict=True)), "some load")  # type: ignore[misc]
    assert [failure for each in clients for failure in each.failures] == []
    assert sum(each.done for each in clients) > 100 * SWITCHES / 2


def test_an_open_connection_stays_where_it_is(nginx: RunningNginx, a: Echo, b: Echo) -> None:
    nginx.router.bind(to(nginx, TCP, a))
    with talk(TCP, nginx.range[0]) as conversation:
        assert conversation.say(b"1") == b"A:1"
        nginx.router.bind(to(nginx, TCP, b))
        assert conversation.say(b"2") == b"A:2"
        nginx.router.unbind(TCP, nginx.range[0])
        assert conversation.say(b"3") == b"A:3"


def test_a_late_answer_of_the_instance_asked_before_arrives(nginx: RunningNginx, b: Echo) -> None:
    """And comes from the port that was asked, while the next question goes to the new instance."""
    with socket.socket(type=socket.SOCK_DGRAM) as slow:
        slow.bind(("127.0.0.1", 0))
        slow.settimeout(10)
        nginx.router.bind(Binding("shop", UDP, nginx.range[0], (f"127.0.0.1:{slow.getsockname()[1]}",)))
        with talk(UDP, nginx.range[0]) as conversation:
            conversation.socket.sendall(b"1")
            question, client = slow.recvfrom(100)
            nginx.router.bind(to(nginx, UDP, b))
            assert conversation.say(b"2") == b"B:2"
            slow.sendto(b"late:" + question, client)
            assert conversation.socket.recv(100) == b"late:1"
            assert conversation.say(b"3") == b"B:3"


def test_a_client_keeps_its_instance_and_its_address(nginx: RunningNginx, a: Echo, b: Echo) -> None:
    nginx.router.bind(to(nginx, UDP, a, b))
    with talk(UDP, nginx.range[0]) as conversation:
        assert len({conversation.say(b"x") for _ in range(20)}) == 1


@both_protocols
def test_instances_share_the_work(nginx: RunningNginx, a: Echo, b: Echo, protocol: PortProtocol) -> None:
    nginx.router.bind(to(nginx, protocol, a, b))
    names = set()
    for _ in range(60):
        with talk(protocol, nginx.range[0]) as conversation:
            names.add(conversation.say(b"x"))
    assert names == {b"A:x", b"B:x"}


def test_a_port_that_nobody_has_is_closed_without_an_answer(nginx: RunningNginx) -> None:
    with talk(TCP, nginx.range[1]) as conversation, contextlib.suppress(ConnectionResetError):
        assert conversation.socket.recv(10) == b""
    with pytest.raises(ConnectionRefusedError), talk(UDP, nginx.range[1]) as conversation:
        conversation.say(b"x")


def test_a_port_beyond_the_range_is_opened_when_bound_and_closed_after(nginx: RunningNginx, a: Echo) -> None:
    nginx.router.bind(to(nginx, TCP, a))
    with talk(TCP, nginx.range[0]) as conversation:
        assert conversation.say(b"before") == b"A:before"
        nginx.router.bind(to(nginx, TCP, a, port=nginx.beyond))
        with talk(TCP, nginx.beyond) as other:
            assert other.say(b"x") == b"A:x"
        nginx.router.unbind(TCP, nginx.beyond)
        with pytest.raises(ConnectionRefusedError):
            Conversation(TCP, nginx.beyond)
        assert conversation.say(b"after") == b"A:after"


def test_a_port_of_the_range_that_was_taken_at_the_start_is_left_out(own_nginx: RunningNginx, a: Echo) -> None:
    taken = own_nginx.range[0] + 5
    with start_beside(own_nginx, taken):
        assert taken not in launch.listened(own_nginx.home)
        assert own_nginx.router.listener(TCP, taken).endswith(f"(process {os.getpid()})")
        with pytest.raises(RouterError, match=f"process {os.getpid()}"):
            own_nginx.router.bind(to(own_nginx, TCP, a, port=taken))
        own_nginx.router.bind(to(own_nginx, TCP, a, port=taken + 1))
        with talk(TCP, taken + 1) as conversation:
            assert conversation.say(b"x") == b"A:x"
    own_nginx.router.bind(to(own_nginx, TCP, a, port=taken))  # the other process is gone
    with talk(TCP, taken) as conversation:
        assert conversation.say(b"x") == b"A:x"


@contextlib.contextmanager
def start_beside(nginx: RunningNginx, port: int) -> Iterator[None]:
    """The router starts anew while another process has one of its ports."""
    nginx.kill_master()
    launch.clear_ports(nginx.home)
    with listening("127.0.0.1", port):
        nginx.start()
        yield


def test_what_serves_ports_is_started_again_when_it_is_killed(own_nginx: RunningNginx, a: Echo) -> None:
    for protocol in (TCP, UDP):
        own_nginx.router.bind(to(own_nginx, protocol, a))
    orphans = launch.tcp_workers(own_nginx.home)
    relay = int((own_nginx.home / "run" / "udp.pid").read_text().split()[0])
    for pid in (launch.tcp_master(own_nginx.home), relay):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not own_nginx.router.healthy(), "the end of them")
    with pytest.raises(RouterUnavailable):
        own_nginx.router.bind(to(own_nginx, UDP))
    until(own_nginx.router.healthy, "new ones")
    until(lambda: not set(orphans) & set(launch.tcp_workers(own_nginx.home)), "the orphans to go")
    for protocol in (TCP, UDP):
        with talk(protocol, own_nginx.range[0]) as conversation:
            assert conversation.say(b"x") == b"A:x"


def test_a_start_takes_over_the_ports_of_the_router_before(own_nginx: RunningNginx, a: Echo) -> None:
    own_nginx.router.bind(to(own_nginx, TCP, a))
    before, first = launch.tcp_master(own_nginx.home), own_nginx.process
    assert first
    with talk(TCP, own_nginx.range[0]) as conversation:
        assert conversation.say(b"1") == b"A:1"
        own_nginx.start()
        assert first.wait(10) != 0
        assert launch.tcp_master(own_nginx.home) != before
        with talk(TCP, own_nginx.range[0]) as other:
            assert other.say(b"2") == b"A:2"
        assert conversation.say(b"3") == b"A:3"  # its worker finishes in peace
    until(lambda: not launch.start_time(before), "the one before to end")
    assert own_nginx.router.healthy()


def test_a_broken_or_hostile_file_leaves_out_only_itself(nginx: RunningNginx, a: Echo) -> None:
    low = nginx.range[0]
    nginx.router.bind(to(nginx, TCP, a))
    nginx.router.bind(to(nginx, UDP, a))
    ports = nginx.home / "ports"
    hostile = ['{"app":', '{"app":"x","to":"10.0.0.2:1"}', '{"app":"x","to":["unix:/etc/passwd"]}', "[]", "null", ""]
    for n, text in enumerate(hostile, start=1):
        (ports / f"tcp-{low + n}.json").write_text(text)
        (ports / f"udp-{low + n}.json").write_text(text)
    assert set(nginx.router.bindings()) == {(TCP, low), (UDP, low)}
    for n in range(1, len(hostile) + 1):
        with talk(TCP, low + n) as conversation, contextlib.suppress(ConnectionResetError):
            assert conversation.socket.recv(10) == b""
    nginx.router.bind(to(nginx, UDP, a))  # reads all files again
    for protocol in (TCP, UDP):
        with talk(protocol, low) as conversation:
            assert conversation.say(b"x") == b"A:x"
    for file in ports.glob("*.json"):
        file.unlink()
    nginx.router.bind(to(nginx, UDP, a))


def test_they_are_small_and_not_root(nginx: RunningNginx) -> None:
    pids = [launch.tcp_master(nginx.home), *launch.tcp_workers(nginx.home)]
    pids.append(int((nginx.home / "run" / "udp.pid").read_text().split()[0]))
    kib = 0
    for pid in pids:
        found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        assert found
        kib += int(found[1])
    assert kib < 20 * 1024, pids
    if os.geteuid() == 0:
        status = Path(f"/proc/{launch.tcp_workers(nginx.home)[0]}/status").read_text()
        assert not re.search(r"^Uid:\t0\t", status, re.MULTILINE)
