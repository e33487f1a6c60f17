"""Receivers on loopback: they take, are slow, drop, refuse, send elsewhere; with TLS of an authority of our own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from runtime.logs.syslog import unframed
from runtime.router.ca import ensure_ca, issue


@dataclass
class Got:
    path: str
    headers: Message
    body: bytes

    def is_signed(self, secret: str) -> bool:
        """As Heroku does it, and once more with the time."""

        def made(message: bytes) -> str:
            return base64.b64encode(hmac.new(secret.encode(), message, hashlib.sha256).digest()).decode()

        timed = f"{self.headers['Paas-Webhook-Timestamp']}.".encode() + self.body
        signatures = self.headers["Heroku-Webhook-Hmac-SHA256"], self.headers["Paas-Webhook-Signature"]
        return signatures == (made(self.body), made(timed))


@dataclass
class Behaviour:
    """Of an HTTP receiver, from now on."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"thanks"
    wait_seconds: float = 0.0
    drops: bool = False  # ends the connection without a word
    drips: bool = False  # a byte of the head now and then, for ever


class HttpReceiver:
    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.got: list[Got] = []
        self.behaviour = Behaviour()
        self.decide: Callable[[Got], Behaviour] | None = None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                got = Got(self.path, self.headers, body)
                receiver.got.append(got)
                behaviour = receiver.decide(got) if receiver.decide else receiver.behaviour
                time.sleep(behaviour.wait_seconds)
                if behaviour.drops:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                if behaviour.drips:
                    self.drip()
                    return
                self.send_response(behaviour.status)
                for name, value in behaviour.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(behaviour.body)))
                self.end_headers()
                self.wfile.write(behaviour.body)

            def drip(self) -> None:
                try:
                    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        time.sleep(0.1)
                except OSError:
                    pass

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class SyslogReceiver:
    """Reads frames; can be told to end a connection after some bytes, or to read nothing."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self._tls = tls
        self._data: list[bytes] = []
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'syslog+tls' if tls else 'syslog'}://localhost:{self.port}"
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def messages(self) -> list[bytes]:
        """Of each connection those that are whole."""
        found: list[bytes] = []
        for data in list(self._data):
            try:
                found += unframed(data)
            except ValueError:
                for end in range(len(data), 0, -1):
                    try:
                        found += unframed(data[:end])
                        break
                    except ValueError:
                        continue
        return found

    def drop(self) -> None:
        for each in self._connections:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()
        self._connections.clear()

    def close(self) -> None:
        self._listener.close()
        self.drop()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._data.append(b"")
            threading.Thread(target=self._read, args=(raw, len(self._data) - 1), daemon=True).start()

    def _read(self, raw: socket.socket, number: int) -> None:
        try:
            sock = self._tls.wrap_socket(raw, server_side=True) if self._tls else raw
            self._connections.append(sock)
            while data := sock.recv(65536):
                self._data[number] += data
        except OSError:
            return


def authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """(the CA's certificate, what a server for `localhost` uses)."""
    ca = ensure_ca(folder)
    key, chain = issue(ca, ["localhost"])
    (folder / "server.pem").write_bytes(key + chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return ca.certificate, context
