"""Switches at full pressure, and what a router survives."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from runtime.router.api import InFlight, Route
from runtime.router.launch import nginx_binary
from tests.integration.router.conftest import RunningNginx, free_ports, until
from tests.integration.router.upstream import Handler, Upstream, WebSocket

SHOP = "shop.example.com"
SWITCHES = 20


def to(*addresses: str) -> Route:
    return Route(app="shop", hosts=(SHOP,), addresses=addresses)


@pytest.fixture
def fast_upstreams(tmp_path: Path) -> Iterator[list[str]]:
    """Two apps that are never what one waits for: plain nginx on two ports."""
    ports = free_ports(2)
    servers = "".join(f'server {{ listen 127.0.0.1:{port}; return 200 "{port}"; }}\n' for port in ports)
    temporary = "".join(
        f"{name}_temp_path {tmp_path}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"worker_processes 1; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; daemon off; master_process off;\n"
        f"events {{}}\nhttp {{ access_log off; keepalive_requests 1000000; {temporary}{servers} }}\n"
    )
    process = subprocess.Popen([nginx_binary(), "-e", str(tmp_path / "error.log"), "-c", str(configuration)])
    addresses = [f"127.0.0.1:{port}" for port in ports]

    def answering() -> bool:
        with contextlib.suppress(httpx.ConnectError):
            return httpx.get(f"http://{addresses[1]}", trust_env=False).status_code == 200
        return False

    try:
        until(answering, "the upstreams")
        yield addresses
    finally:
        process.terminate()
        process.wait()


class Visitor(threading.Thread):
    """Sends one request after the other over a kept connection and keeps what went wrong."""

    def __init__(self, nginx: RunningNginx) -> None:
        super().__init__()
        self.url, self.done, self.failures = nginx.url, 0, []  # type: ignore[var-annotated]
        self.stopping = threading.Event()

    def run(self) -> None:
        with httpx.Client(trust_env=False, timeout=20, headers={"Host": SHOP}) as client:
            while not self.stopping.is_set():
                try:
                    answer = client.get(self.url)
                except httpx.HTTPError as exc:
                    self.failures.append(exc)
                    time.sleep(0.01)
                    continue
                if answer.status_code == 200:
                    self.done += 1
                else:
                    self.failures.append(answer.text)

    def stop(self) -> None:
        self.stopping.set()
        self.join()


@pytest.fixture
def visitor(nginx: RunningNginx) -> Iterator[Visitor]:
    visitor = Visitor(nginx)
    yield visitor
    visitor.stop()


def test_switches_under_load_lose_no_request(nginx: RunningNginx, fast_upstreams: list[str], visitor: Visitor) -> None:
    nginx.router.put(to(fast_upstreams[0]))
    visitor.start()
    wrk = shutil.which("wrk")
    load = None
    if wrk:
        load = subprocess.Popen(
            [wrk, "-t1", "-c50", "-d4s", "-H", f"Host: {SHOP}", nginx.url], stdout=subprocess.PIPE, text=True
        )
    for n in range(1, SWITCHES + 1):
        already = visitor.done
        nginx.router.put(to(fast_upstreams[n % 2]))
        nginx.router.put(Route(app=f"other-{n}", hosts=(f"other-{n}.example.com",)))
        assert nginx.router.drained("shop", fast_upstreams[(n + 1) % 2], timeout_seconds=10)
        assert nginx.router.in_flight("shop", fast_upstreams[(n + 1) % 2]) == InFlight(0, 0)
        until(lambda already=already: visitor.done > already + 3 or visitor.failures, "requests between switches")  # type: ignore[misc]
        time.sleep(0.1)  # spread over the run of the load
    if load:
        said = load.communicate(timeout=30)[0]
        assert "Socket errors" not in said, said
        assert "Non-2xx" not in said, said
        requests = re.search(r"(\d+) requests in", said)
        assert requests
        assert int(requests[1]) > 500
        until(lambda: sum(nginx.router.in_flight("shop", each).requests for each in fast_upstreams) <= 1, "the counts")
    visitor.stop()
    assert not visitor.failures
    assert all(nginx.router.in_flight("shop", each) == InFlight(0, 0) for each in fast_upstreams)


def test_a_drain_does_not_end_while_a_request_is_being_answered(nginx: RunningNginx, a: Upstream, b: Upstream) -> None:
    nginx.router.put(to(a.address))
    slow = threading.Thread(target=nginx.get, args=(SHOP, "/hold"))
    slow.start()
    assert a.arrived.acquire(timeout=10)
    nginx.router.put(to(b.address))
    assert not nginx.router.drained("shop", a.address, timeout_seconds=0.3)
    a.released.set()
    assert nginx.router.drained("shop", a.address, timeout_seconds=10)
    slow.join()


def test_a_body_still_on_its_way_goes_to_the_new_instance(nginx: RunningNginx, a: Upstream, b: Upstream) -> None:
    """The route is looked up when the body is complete: the old instance, already drained, gets nothing."""
    nginx.router.put(to(a.address))
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: {SHOP}\r\nContent-Length: 4\r\n\r\nab".encode())
        assert nginx.get(SHOP).text == "A"  # by now the first half has been read
        nginx.router.put(to(b.address))
        assert nginx.router.drained("shop", a.address, timeout_seconds=5)
        connection.sendall(b"cd")
        assert connection.recv(1000).endswith(b"B")


def test_a_killed_worker_is_replaced_and_its_counts_are_dropped(own_nginx: RunningNginx, a: Upstream) -> None:
    own_nginx.router.put(to(a.address))
    sockets = [WebSocket(own_nginx.port, SHOP) for _ in range(4)]
    held = [threading.Thread(target=_ignoring_errors, args=(own_nginx,)) for _ in range(4)]
    for visitor in held:
        visitor.start()
    for _ in held:
        assert a.arrived.acquire(timeout=10)
    assert own_nginx.router.in_flight("shop", a.address) == InFlight(requests=4, websockets=4)
    before = own_nginx.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: _two_new(own_nginx, before), "new workers")
    assert own_nginx.router.in_flight("shop", a.address) == InFlight(0, 0)
    a.released.set()
    for visitor in held:
        visitor.join()
    for each in sockets:
        each.close()
    assert own_nginx.get(SHOP).text == "A"


def _ignoring_errors(nginx: RunningNginx) -> None:
    with contextlib.suppress(httpx.HTTPError):
        httpx.get(nginx.url + "/hold", headers={"Host": SHOP}, trust_env=False, timeout=30)


def _two_new(nginx: RunningNginx, before: list[int]) -> bool:
    return nginx.router.healthy() and len(set(nginx.workers()) - set(before)) == 2


def test_a_killed_master_is_not_noticed_and_a_new_one_takes_over(own_nginx: RunningNginx, a: Upstream) -> None:
    own_nginx.router.put(to(a.address))
    before = own_nginx.workers()
    visitor = Visitor(own_nginx)
    visitor.start()
    own_nginx.kill_master()
    until(lambda: visitor.done > 20 or visitor.failures, "requests without a master")
    assert not visitor.failures
    assert own_nginx.router.healthy()  # the workers go on, also on the admin socket

    own_nginx.start()
    assert not set(own_nginx.workers()) & set(before)
    already = visitor.done
    until(lambda: visitor.done > already + 20, "requests to the new workers")
    visitor.stop()
    # A kept connection may close just as a request is sent, and a new one may find nobody for a moment; no more.
    assert len(visitor.failures) < 100
    assert own_nginx.router.get("shop") == to(a.address)
    until(lambda: not any(_alive(pid) for pid in before), "the orphans to go")


def _alive(pid: int) -> bool:
    """A zombie is not: whose child an orphan becomes may never ask for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_everything_killed_comes_back_with_all_routes(own_nginx: RunningNginx, a: Upstream) -> None:
    for n in range(100):
        own_nginx.router.put(Route(app=f"app-{n}", hosts=(f"app-{n}.localhost",), addresses=(a.address,)))
    own_nginx.router.remove("app-99")
    workers = own_nginx.workers()
    own_nginx.kill_master()
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not own_nginx.router.healthy(), "the end")
    assert (own_nginx.home / "run" / "admin.sock").exists()  # it would be in the way
    own_nginx.start()
    assert set(own_nginx.router.table()) == {f"app-{n}" for n in range(99)}
    assert own_nginx.get("app-42.localhost").text == "A"
    assert own_nginx.get("app-99.localhost").status_code == 404


def test_a_start_takes_over_from_a_router_that_still_runs(own_nginx: RunningNginx, a: Upstream) -> None:
    own_nginx.router.put(to(a.address))
    first = own_nginx.process
    own_nginx.start()
    assert first is not None
    assert first.wait(10) != 0
    assert own_nginx.get(SHOP).text == "A"


def test_a_broken_or_hostile_file_leaves_out_only_itself(own_nginx: RunningNginx, a: Upstream) -> None:
    own_nginx.router.put(to(a.address))
    apps = own_nginx.home / "apps"
    good = (apps / "shop.json").read_text()
    (apps / "broken.json").write_text('{"app":"broken","hosts":[')
    (apps / "thief.json").write_text(good.replace('"shop"', '"thief"'))
    (apps / "evil.json").write_text(good.replace('"shop"', '"evil"').replace(a.address, "unix:/run/x.sock:1"))
    (apps / "own.json").write_text(good.replace('"shop"', '"own"').replace(SHOP, "git.localhost"))
    (apps / "empty.json").write_text("")
    own_nginx.kill_master()
    own_nginx.start()
    assert set(own_nginx.router.table()) == {"shop"}
    assert own_nginx.get(SHOP).text == "A"
    log = (own_nginx.home / "logs" / "error.log").read_text()
    assert "broken.json" in log
    assert "shop.example.com belongs to shop" in log


def test_hup_reads_the_files_again_and_loses_nothing(own_nginx: RunningNginx, a: Upstream, b: Upstream) -> None:
    own_nginx.router.put(to(a.address))
    own_nginx.router.put(Route(app="gone", hosts=("gone.example.com",)))
    client = WebSocket(own_nginx.port, SHOP)
    (own_nginx.home / "apps" / "gone.json").unlink()
    file = own_nginx.home / "apps" / "shop.json"
    file.write_text(file.read_text().replace(a.address, b.address))
    before = own_nginx.workers()
    assert own_nginx.process
    own_nginx.process.send_signal(signal.SIGHUP)
    until(lambda: set(own_nginx.workers()) - set(before), "new workers")
    until(lambda: set(own_nginx.router.table()) == {"shop"}, "the files to be read")
    until(lambda: own_nginx.get(SHOP).text == "B", "the new address")
    assert client.say("still") == "A:still"
    assert own_nginx.router.in_flight("shop", a.address) == InFlight(requests=0, websockets=1)
    client.close()


def test_the_platforms_sockets_are_reached_under_their_names(own_nginx: RunningNginx) -> None:
    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True
        request_queue_size = 64

    class Bound(Handler):
        disable_nagle_algorithm = False  # a unix socket has none

        def __init__(self, request: object, client_address: object, server: Server) -> None:
            super().__init__(request, ("local", 0), server)  # type: ignore[arg-type]

    class Web:
        name = "web"

    class Git:
        name = "git"

    with contextlib.ExitStack() as stack:
        for path, app in ((own_nginx.web_socket, Web), (own_nginx.git_socket, Git)):
            server = stack.enter_context(Server(str(path), type("BoundTo", (Bound,), {"app": app})))
            path.chmod(0o777)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        names = {name: own_nginx.get(f"{name}.localhost").text for name in ("dashboard", "api", "git")}
        assert names == {"dashboard": "web", "api": "web", "git": "git"}
        # Larger than what apps may send, in pieces, as git sends it.
        pieces = (b"x" * 1_000_000 for _ in range(9))
        answer = own_nginx.post("git.localhost", "/echo", pieces).json()
        assert (answer["length"], answer["name"]) == (9_000_000, "git")
        assert ["transfer-encoding", "chunked"] in answer["headers"]  # passed on as it came, not kept back
        assert own_nginx.post("api.localhost", "/echo", b"x" * 9_000_000).status_code == 413
        status = Path(f"/proc/{own_nginx.workers()[0]}/status").read_text()
        if os.geteuid() == 0:
            assert not re.search(r"^Uid:\t0\t", status, re.MULTILINE)  # the workers are not root
