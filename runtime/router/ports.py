"""Public ports: an nginx of their own for TCP, which asks the file of the port for each connection and is never reloaded
for a change of addresses, and the relay for UDP (`udp.py`). Both run beside the router's nginx (`launch.py`).

`ports/tcp-20001.json` and the like are the truth. The TCP ports of a range are open at all times; one beyond it is opened
when it is bound, by a reload that established sessions outlive.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.errors import RouterError, RouterUnavailable
from runtime.router import ca, document, launch
from runtime.router.api import Binding, PortProtocol, PublicPort

log = logging.getLogger(__name__)

SILENT_SECONDS = 1.0  # after which an instance has answered all datagrams that it will
RELOAD_SECONDS = 5.0


class PortTable:
    """The bindings of one home. Its caller sees to it that one writes at a time."""

    def __init__(self, home: Path, *, timeout_seconds: float) -> None:
        self._home = home
        self._timeout = timeout_seconds

    def read(self, protocol: PortProtocol, port: int) -> Binding | None:
        try:
            return document.load_binding(protocol, port, self.file(protocol, port).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as exc:
            log.warning("binding_unreadable", extra={"reason": str(exc)})
            return None

    def all(self) -> Mapping[PublicPort, Binding]:
        """Without those whose port another process has: binding it again says so, or opens it when it is free by then."""
        found = {}
        closed = self._closed()
        for file in (self._home / "ports").glob("*.json"):
            protocol, _, port = file.stem.partition("-")
            if protocol in {"tcp", "udp"} and port.isdigit():
                binding = self.read(PortProtocol(protocol), int(port))
                if binding is not None and binding.key not in closed:
                    found[binding.key] = binding
        return found

    def _closed(self) -> set[PublicPort]:
        files = [file.stem.partition("-") for file in (self._home / "ports").glob("*.json")]
        tcp = {int(port) for protocol, _, port in files if protocol == "tcp" and port.isdigit()}
        closed = {(PortProtocol.TCP, port) for port in tcp - launch.listened(self._home)}
        if any(protocol == "udp" for protocol, _, _ in files):
            with suppress(RouterUnavailable):  # the other ports, and HTTP, need not suffer
                closed |= {(PortProtocol.UDP, int(port)) for port in self._ask_relay({"do": "read"})["failed"]}
        return closed

    def write(self, binding: Binding) -> None:
        """Raises `RouterError`; then the file has to be put back by the caller."""
        owner = self.read(*binding.key)
        if owner is not None and owner.app != binding.app:
            raise RouterError(
                f"Port {binding.port}/{binding.protocol} belongs to {owner.app}.",
                hint="Choose another port.",
                id="port_taken",
            )
        self._require()
        ca.write_file(self.file(*binding.key), document.dump_binding(binding), mode=0o644)
        if binding.protocol is PortProtocol.UDP:
            self._open_udp(binding.port)
        else:
            self._open_tcp(binding.port)

    def delete(self, protocol: PortProtocol, port: int) -> None:
        self.file(protocol, port).unlink(missing_ok=True)
        if protocol is PortProtocol.UDP:
            self._ask_relay({"do": "read"})
            return
        low, high = launch.facts(self._home)["range"]
        if not low <= port <= high and port in launch.listened(self._home):
            self._reload_tcp(lambda: port not in launch.listening_ports())

    def drained(self, protocol: PortProtocol, address: str, *, timeout_seconds: float) -> bool:
        ip, _, port = address.rpartition(":")
        target = ip.strip("[]"), int(port)
        if protocol is PortProtocol.TCP:
            return _wait(lambda: not launch.sessions(target), timeout_seconds)

        def is_silent() -> bool:
            seconds = self._ask_relay({"do": "quiet", "address": address})["seconds"]
            return seconds is None or seconds >= SILENT_SECONDS

        return _wait(is_silent, timeout_seconds)

    def listener(self, protocol: PortProtocol, port: int) -> str:
        """Of a process that is not ours."""
        if protocol is PortProtocol.TCP and port in launch.listened(self._home) and launch.tcp_master(self._home):
            return ""
        if protocol is PortProtocol.UDP and self.read(protocol, port) is not None:
            return ""
        return who_has(protocol, port)

    def file(self, protocol: PortProtocol, port: int) -> Path:
        return self._home / "ports" / f"{protocol.value}-{int(port)}.json"

    # What serves them

    def healthy(self) -> bool:
        """Also where no ports are served at all, or others have all of them."""
        if not launch.facts(self._home):
            return True
        try:
            self._ask_relay({"do": "quiet", "address": ""})
        except RouterUnavailable:
            return False
        if launch.tcp_master(self._home):
            return True
        has_looked = (self._home / "run" / "tcp.listen").exists()
        return has_looked and not launch.listened(self._home)

    def _require(self) -> None:
        if not launch.facts(self._home):
            raise RouterError(
                "This platform serves no TCP and UDP ports.",
                hint="Set PAAS_PORT_RANGE, then start the platform anew.",
                id="ports_off",
            )

    def _open_udp(self, port: int) -> None:
        failed = self._ask_relay({"do": "read"})["failed"].get(str(port))
        if failed:
            raise self._taken(PortProtocol.UDP, port, failed)

    def _open_tcp(self, port: int) -> None:
        if not launch.tcp_master(self._home):
            raise RouterUnavailable("The router of TCP ports does not run.", hint="See the platform's log.")
        if port in launch.listened(self._home):
            return
        if port in launch.write_listen(self._home):
            raise self._taken(PortProtocol.TCP, port, "taken")
        self._reload_tcp(lambda: port in launch.listening_ports())

    def _reload_tcp(self, is_done: Callable[[], bool]) -> None:
        launch.write_listen(self._home)
        master = launch.tcp_master(self._home)
        if master:
            os.kill(master, signal.SIGHUP)
            if not _wait(is_done, RELOAD_SECONDS):
                raise RouterUnavailable("The router of TCP ports did not take a new port.", hint="See logs/tcp.log.")

    def _taken(self, protocol: PortProtocol, port: int, why: str) -> RouterError:
        who = (who_has(protocol, port) or "another process") if why == "taken" else ""
        reason = f"is taken by {who}" if who else f"can't be opened: {why}"
        return RouterError(f"Port {port}/{protocol} {reason}.", hint="Choose another port.", id="port_taken")

    def _ask_relay(self, request: Mapping[str, str]) -> Any:
        self._require()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self._timeout)
                connection.connect(str(self._home / "run" / "udp.sock"))
                connection.sendall(json.dumps(request).encode())
                answer = b""
                while not answer.endswith(b"\n"):
                    part = connection.recv(65536)
                    if not part:
                        raise ConnectionError("it closed the connection")
                    answer += part
                return json.loads(answer)
        except (OSError, ValueError) as exc:
            raise RouterUnavailable(f"The relay of UDP ports does not answer: {exc}", hint="Is it running?") from exc


def who_has(protocol: PortProtocol, port: int) -> str:
    """ "nginx (process 812)", "another process" when that can't be seen, "" when the port is free."""
    import psutil

    for connection in psutil.net_connections(kind=protocol.value):
        is_open = connection.status == psutil.CONN_LISTEN if protocol is PortProtocol.TCP else not connection.raddr
        if not is_open or not connection.laddr or connection.laddr.port != port:
            continue
        try:
            return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
        except (psutil.Error, TypeError, ValueError):
            return "another process"
    return ""


def _wait(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    pause = 0.005
    while not condition():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, 0.25)
    return True


def configuration(*, home: Path, log: Path, modules: str, user: str) -> str:
    return TCP.format(home=home, log=log, load_modules=modules, user=user)


TCP = """\
# Written when the platform is installed or started. Nothing of any app is in here, and changes are overwritten.
{load_modules}
{user}
worker_processes 1;
worker_rlimit_nofile 16384;
worker_shutdown_timeout 24h;  # sessions outlive a reload
error_log "{log}" error;

events {{
  worker_connections 8192;
}}

stream {{
  js_path "{home}/js/";
  js_import ports from ports.js;
  js_var $paas_ports "{home}/ports";
  js_var $paas_to;

  server {{
    include "{home}/run/tcp.listen";
    js_access ports.choose;
    proxy_pass $paas_to;
    proxy_connect_timeout 5s;
    proxy_timeout 1h;
    proxy_socket_keepalive on;
  }}
}}
"""
