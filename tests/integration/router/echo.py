"""Instances that speak TCP and UDP on one port: they answer with their name and what they were told."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator

from runtime.router.api import PortProtocol


class Echo:
    def __init__(self, name: bytes) -> None:
        self.name = name
        self._tcp = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(type=socket.SOCK_DGRAM)
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._udp.bind(("127.0.0.1", self.port))
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        for each in (self._tcp, self._udp, self._woken):
            each.setblocking(False)
            self._selector.register(each, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self._wake.send(b"x")
        self._thread.join()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if ready is self._woken:
                    for each in list(self._selector.get_map().values()):
                        assert isinstance(each.fileobj, socket.socket)
                        each.fileobj.close()
                    self._wake.close()
                    self._selector.close()
                    return
                if ready is self._tcp:
                    connection, _ = self._tcp.accept()
                    connection.setblocking(False)
                    self._selector.register(connection, selectors.EVENT_READ)
                elif ready is self._udp:
                    data, client = self._udp.recvfrom(65535)
                    self._udp.sendto(self.name + data, client)
                else:
                    self._repeat(ready)

    def _repeat(self, connection: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            data = connection.recv(65535)
            if data:
                connection.sendall(self.name + data)
                return
        self._selector.unregister(connection)
        connection.close()


class Conversation:
    """A client of a public port."""

    def __init__(self, protocol: PortProtocol, port: int) -> None:
        kind = socket.SOCK_STREAM if protocol is PortProtocol.TCP else socket.SOCK_DGRAM
        self.socket = socket.socket(type=kind)
        self.socket.settimeout(10)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise

    def say(self, text: bytes) -> bytes:
        self.socket.sendall(text)
        return self.socket.recv(65535)


@contextlib.contextmanager
def talk(protocol: PortProtocol, port: int) -> Iterator[Conversation]:
    conversation = Conversation(protocol, port)
    try:
        yield conversation
    finally:
        conversation.socket.close()


@contextlib.contextmanager
def listening(address: str, port: int) -> Iterator[None]:
    """A process that is none of the router's has the port, for TCP and UDP."""
    with socket.create_server((address, port)), socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        datagrams.bind((address, port))
        yield
