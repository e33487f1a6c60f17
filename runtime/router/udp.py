"""Relays UDP: `python udp.py HOME` serves the `udp-PORT.json` in HOME/ports. Standard library alone: it is small.

nginx could do it as well, but a client's datagrams stick to the instance of its first one, and the reload that ends this
drops the answers that are under way (measured: 9 to 22 of them in 10 reloads under load). Here a switch takes the next
datagram of every client to a new instance, while answers of the old one are still passed on.

Over `run/udp.sock`, one JSON document each way: {"do": "read"} reads the files again and answers which ports could not
be opened; {"do": "quiet", "address": "10.0.0.2:53"} answers for how many seconds nothing went to or came from an address,
null when nobody talks to it.
"""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import select
import signal
import socket
import struct
import sys
import time

IDLE_SECONDS = 120.0  # a client that says nothing for so long is forgotten
LEFT_SECONDS = 30.0  # answers of an instance that is no longer asked are passed on for so long
MAX_CLIENTS = 4096  # at a time, over all ports; the one that was silent for longest makes room
BATCH = 64  # datagrams read in a row from one socket, so that no port starves another
BIGGEST = 65_535
BUFFER_BYTES = 1 << 20
IPV6_RECVPKTINFO = 49  # <linux/in6.h>; Python has no name for it
IP_PKTINFO = 8
ANCILLARY = socket.CMSG_SPACE(20)

Client = tuple[object, ...]
Pinned = tuple[int, int, bytes]  # the address of ours that a datagram was sent to: its answers come from there


def _source(level: int, value: bytes) -> bytes:
    """As it is given with an answer: the address alone, the kernel chooses the way."""
    if level == socket.IPPROTO_IP:
        return struct.pack("=I4s4s", 0, value[4:8], b"")
    return value[:16] + bytes(4)


class Session:
    """One client's conversation with one instance."""

    __slots__ = ("address", "ancillary", "client", "is_left", "key", "last", "port", "socket")

    def __init__(self, port: Port, key: Client, client: Client, pinned: list[Pinned], address: str) -> None:
        self.port = port
        self.key = key
        self.client = client
        self.ancillary = [(level, kind, _source(level, value)) for level, kind, value in pinned]
        self.address = address
        self.is_left = False  # it was asked before a switch, and may still answer
        self.last = time.monotonic()
        ip, _, number = address.rpartition(":")
        family = socket.AF_INET6 if ip.startswith("[") else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self.socket.connect((ip.strip("[]"), int(number)))
        except OSError:
            self.socket.close()
            raise


class Port:
    """One public port that is open."""

    def __init__(self, number: int, address: str) -> None:
        self.number = number
        self.addresses: list[str] = []
        self.sessions: dict[Client, Session] = {}
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            if family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                self.socket.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
            else:
                self.socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            self.socket.bind((address, number))
        except OSError:
            self.socket.close()
            raise


class Relay:
    def __init__(self, home: str) -> None:
        self._home = home
        with open(f"{home}/ports.json") as file:  # noqa: PTH123 - pathlib costs a megabyte
            self._address = str(json.load(file)["address"])
        self._epoll = select.epoll()
        self._ports: dict[int, Port] = {}
        self._by_fd: dict[int, Port | Session | socket.socket] = {}
        self._sessions: dict[Session, None] = {}  # the one that was silent for longest comes first
        path = f"{home}/run/udp.sock"
        if os.path.exists(path):  # noqa: PTH110
            os.unlink(path)  # noqa: PTH108
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.read()
        self._control.bind(path)
        self._control.listen(16)
        self._add(self._control.fileno(), self._control)

    def run(self) -> None:
        swept = time.monotonic()
        while True:
            for fd, _ in self._epoll.poll(5.0):
                what = self._by_fd.get(fd)
                if isinstance(what, Port):
                    self._from_clients(what)
                elif isinstance(what, Session):
                    self._from_instance(what)
                elif what is self._control:
                    self._accept()
                elif what is not None:
                    self._answer(what)
            now = time.monotonic()
            if now - swept >= 5.0:
                swept = now
                self._forget(now)

    # Datagrams

    def _from_clients(self, port: Port) -> None:
        for _ in range(BATCH):
            try:
                data, ancillary, _, client = port.socket.recvmsg(BIGGEST, ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                continue  # an answer that a client did not take; the port itself is well
            pinned = [(level, kind, value) for level, kind, value in ancillary if level != socket.SOL_SOCKET]
            key = (client, *(value for _, _, value in pinned))
            session = port.sessions.get(key)
            if session is None or session.address not in port.addresses:
                if session is not None:
                    session.is_left = True
                session = self._open(port, key, client, pinned)
                if session is None:
                    continue
            self._touch(session)
            try:
                session.socket.send(data)
            except OSError:  # refused before, or its buffer is full: datagrams may be lost, and this one is
                pass

    def _from_instance(self, session: Session) -> None:
        for _ in range(BATCH):
            try:
                data = session.socket.recv(BIGGEST)
            except BlockingIOError:
                return
            except OSError:
                return  # nobody listens there at this moment
            self._touch(session)
            try:
                session.port.socket.sendmsg([data], session.ancillary, 0, session.client)
            except OSError:
                pass

    def _open(self, port: Port, key: Client, client: Client, pinned: list[Pinned]) -> Session | None:
        if not port.addresses:
            return None
        if len(self._sessions) >= MAX_CLIENTS:
            self._close(next(iter(self._sessions)))
        try:
            session = Session(port, key, client, pinned, random.choice(port.addresses))  # noqa: S311 - any will do
        except OSError:
            return None
        port.sessions[key] = session
        self._sessions[session] = None
        self._add(session.socket.fileno(), session)
        return session

    def _touch(self, session: Session) -> None:
        session.last = time.monotonic()
        del self._sessions[session]
        self._sessions[session] = None

    def _close(self, session: Session) -> None:
        del self._sessions[session]
        self._drop(session.socket)
        if session.port.sessions.get(session.key) is session:
            del session.port.sessions[session.key]

    def _forget(self, now: float) -> None:
        for each in list(self._sessions):
            if now - each.last > (LEFT_SECONDS if each.is_left else IDLE_SECONDS):
                self._close(each)

    # Ports

    def read(self) -> dict[int, str]:
        """Open and close ports until they are those of the files; what could not be opened, and why."""
        wanted: dict[int, list[str]] = {}
        for name in os.listdir(f"{self._home}/ports"):  # noqa: PTH208
            digits = name.removeprefix("udp-").removesuffix(".json")
            if name.startswith("udp-") and digits.isdigit():
                try:
                    with open(f"{self._home}/ports/{name}") as file:  # noqa: PTH123
                        wanted[int(digits)] = [str(address) for address in json.load(file)["to"]]
                except (OSError, ValueError, KeyError, TypeError):
                    sys.stderr.write(f"{name} can't be read and is left out.\n")
        failed: dict[int, str] = {}
        for number in self._ports.keys() - wanted.keys():
            port = self._ports.pop(number)
            self._drop(port.socket)
            for each in [each for each in self._sessions if each.port is port]:
                self._close(each)
        for number, addresses in wanted.items():
            if number not in self._ports:
                try:
                    self._ports[number] = port = Port(number, self._address)
                except OSError as exc:
                    failed[number] = "taken" if exc.errno == errno.EADDRINUSE else str(exc.strerror)
                    continue
                self._add(port.socket.fileno(), port)
            self._ports[number].addresses = addresses
        return failed

    def quiet(self, address: str) -> float | None:
        times = [each.last for each in self._sessions if each.address == address]
        return time.monotonic() - max(times) if times else None

    # The control socket

    def _accept(self) -> None:
        try:
            connection, _ = self._control.accept()
        except OSError:
            return
        connection.setblocking(False)
        self._add(connection.fileno(), connection)

    def _answer(self, connection: socket.socket) -> None:
        """A request fits into one packet, and so does the answer."""
        try:
            request = json.loads(connection.recv(4096) or b"null")
            if request is None:
                self._drop(connection)
                return
            if request["do"] == "read":
                answer: object = {"failed": self.read()}
            else:
                answer = {"seconds": self.quiet(request["address"])}
            connection.send(json.dumps(answer).encode() + b"\n")
        except (OSError, ValueError, KeyError, TypeError):
            self._drop(connection)

    def _add(self, fd: int, what: Port | Session | socket.socket) -> None:
        self._by_fd[fd] = what
        self._epoll.register(fd, select.EPOLLIN)

    def _drop(self, what: socket.socket) -> None:
        fd = what.fileno()
        self._by_fd.pop(fd, None)
        self._epoll.unregister(fd)
        what.close()


def main(home: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CLIENTS + 2048
    if soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )
    Relay(home).run()


if __name__ == "__main__":
    main(sys.argv[1])
