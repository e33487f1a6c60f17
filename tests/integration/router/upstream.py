"""An app: a small HTTP server in threads that says who it is and what it got."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Upstream:
    """`/` answers with the name; the other paths are the methods of `Handler`."""

    def __init__(self, name: str, port: int = 0) -> None:
        self.name = name
        self.released = threading.Event()
        self.arrived = threading.Semaphore(0)
        upstream = self

        class Bound(Handler):
            app = upstream

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, request: object, client_address: object) -> None:
                """A visitor that went away."""

        self._server = Server(("127.0.0.1", port), Bound)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    app: Upstream
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.strip("/").partition("/")[0]
        handler = getattr(self, f"at_{path}", None)
        if handler:
            handler()
        else:
            self.answer(self.app.name.encode())

    def do_POST(self) -> None:
        self.do_GET()

    def answer(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def at_echo(self) -> None:
        body = self.body()
        seen = {
            "name": self.app.name,
            "path": self.path,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "length": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        self.answer(json.dumps(seen).encode(), headers={"Content-Type": "application/json", "X-Request-Id": "the app's"})

    def at_hold(self) -> None:
        """Answers when the test says so."""
        self.app.arrived.release()
        self.app.released.wait(30)
        self.answer(self.app.name.encode())

    def at_sleep(self) -> None:
        time.sleep(float(parse_qs(urlsplit(self.path).query)["s"][0]))
        self.answer(self.app.name.encode())

    def at_status(self) -> None:
        self.answer(b"the app's own page", int(self.path.rpartition("/")[2]))

    def at_abort(self) -> None:
        self.app.arrived.release()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def at_inside(self) -> None:
        self.answer(b"not redirected", headers={"X-Accel-Redirect": "@failed"})

    def at_events(self) -> None:
        """One event, then silence until the test lets go."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for text in (b"data: one\n\n", b"data: two\n\n"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
            self.wfile.flush()
            self.app.released.wait(20)
        self.wfile.write(b"0\r\n\r\n")

    def at_socket(self) -> None:
        """A WebSocket that sends back every frame."""
        key = self.headers.get("Sec-WebSocket-Key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        while head := self.rfile.read(2):
            length = head[1] & 0x7F
            mask = self.rfile.read(4)
            text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.rfile.read(length)))
            said = self.app.name.encode() + b":" + text
            self.wfile.write(bytes([0x81, len(said)]) + said)
        self.close_connection = True


class WebSocket:
    """Enough of a client to send and get short texts."""

    def __init__(self, port: int, host: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        key = base64.b64encode(b"0123456789abcdef").decode()
        self.socket.sendall(
            f"GET /socket HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        while self.file.readline().strip():
            pass

    def say(self, text: str) -> str:
        mask = b"\x01\x02\x03\x04"
        data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(text.encode()))
        self.socket.sendall(bytes([0x81, 0x80 | len(data)]) + mask + data)
        head = self.file.read(2)
        return self.file.read(head[1]).decode()

    def close(self) -> None:
        self.file.close()
        self.socket.close()
