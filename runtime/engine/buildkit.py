"""BuildKit as it lives inside Docker Engine: `POST /build?version=2` with a session in which we are the server.

The session is gRPC over a hijacked connection: the engine asks, we answer, for secrets and for nothing else. The context
is fetched by the engine from a URL of ours on the loopback address, because sending it as the request's body fails on
the containerd image store of engines 26 and 27.
"""

from __future__ import annotations

import base64
import http.client
import json
import queue
import secrets
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from runtime.errors import EngineError, EngineUnavailable

_HEALTH = "/grpc.health.v1.Health/Check"
_SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"  # noqa: S105 - the name of a method
_CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"
_METHODS = (_HEALTH, _SECRET, _CREDENTIALS)
_NOT_FOUND, _UNIMPLEMENTED = 5, 12
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """What to build. `secrets` are readable by `RUN --mount=type=secret,id=NAME` alone, and stay in no layer."""

    context: Path  # a tar
    dockerfile: str = "Dockerfile"
    target: str = ""
    no_cache: bool = False
    name: str = ""  # the reference the image gets: 127.0.0.1:5000/apps/x:tag
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    # User and password for a registry, by its host; asked for when a base image is there. None: it wants none.
    credentials: Callable[[str], tuple[str, str] | None] = lambda host: None  # noqa: ARG005


class BuildRefused(EngineError):
    """A step failed, or the Dockerfile makes no sense; the message is BuildKit's."""

    id = "build_refused"


@dataclass(frozen=True, slots=True)
class Pushed:
    digest: str
    sent: frozenset[str]  # beginnings of the diff ids of layers whose bytes had to travel


class BuildKit:
    """Threads may share it: every call has a connection of its own."""

    def __init__(self, base_url: str = "unix:///var/run/docker.sock", *, timeout_seconds: float = 60.0) -> None:
        self._url = urlsplit(base_url)
        self._timeout = timeout_seconds

    def build(self, order: BuildOrder, *, say: Callable[[str], None], check: Callable[[], None]) -> str:
        """Returns the image's id. `say` gets lines as they come; `check` is called several times a second, and what it
        raises ends the build. Raises `BuildRefused`."""
        build_id = secrets.token_hex(16)
        with _served(order.context) as url, _Session(self, order) as session:
            query = {
                "version": "2",
                "remote": url,
                "session": session.id,
                "buildid": build_id,
                "dockerfile": order.dockerfile,
                "rm": "1",
                "networkmode": "default",
            }
            if order.target:
                query["target"] = order.target
            if order.no_cache:
                query["nocache"] = "1"
            if order.name:
                query["t"] = order.name
            if order.arguments:
                query["buildargs"] = json.dumps(dict(order.arguments))
            connection = self._connect(None)
            try:
                messages = self._messages(connection, f"/build?{urlencode(query)}")
                return _follow(messages, say, check)
            except BaseException:
                with suppress(EngineError):
                    self._call("POST", f"/build/cancel?id={build_id}")
                raise
            finally:
                _shut(connection)

    def push(self, repository: str, tag: str, *, check: Callable[[], None], registry_token: str = "") -> Pushed:
        """Push an image by name to the registry that is part of it."""
        credentials = json.dumps({"registrytoken": registry_token} if registry_token else {}).encode()
        connection = self._connect(None)
        digest, sent = "", set()
        try:
            path = f"/images/{quote(repository, safe='/:')}/push?{urlencode({'tag': tag})}"
            for message in self._messages(
                connection, path, {"X-Registry-Auth": base64.urlsafe_b64encode(credentials).decode()}
            ):
                check()
                if message is None:
                    continue
                if "error" in message:
                    raise EngineError(f"The engine could not push {repository}: {message['error']}.", id="push_failed")
                if str(message.get("status", "")) == "Pushed":
                    sent.add(f"sha256:{message.get('id', '')}")
                digest = str((message.get("aux") or {}).get("Digest", "")) or digest
        finally:
            _shut(connection)
        if not digest:
            raise EngineError(f"The engine did not tell the digest of {repository}:{tag} after pushing it.")
        return Pushed(digest, frozenset(sent))

    # ---------------------------------------------------------------- connections

    def _connect(self, timeout: float | None) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("docker", timeout=timeout)
        try:
            connection.sock = self.socket()
        except OSError as exc:
            raise EngineUnavailable(f"The container engine does not answer: {exc.strerror or exc}.") from exc
        connection.sock.settimeout(timeout)
        return connection

    def socket(self) -> socket.socket:
        if self._url.scheme in {"unix", "http+unix"}:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self._timeout)
            try:
                connection.connect(self._url.path or f"/{self._url.netloc}")
            except OSError:
                connection.close()
                raise
            return connection
        return socket.create_connection((self._url.hostname or "127.0.0.1", self._url.port or 2375), self._timeout)

    def _call(self, method: str, path: str) -> bytes:
        connection = self._connect(self._timeout)
        try:
            connection.request(method, path, headers={"Content-Length": "0"} if method == "POST" else {})
            response = connection.getresponse()
            body = response.read()
            if response.status >= 400:
                raise EngineError(f"The engine refused: {_message(body)}.")
            return body
        except (OSError, http.client.HTTPException) as exc:
            raise EngineUnavailable(f"The container engine does not answer: {exc}.") from exc
        finally:
            connection.close()

    def _messages(
        self, connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str] | None = None
    ) -> Iterator[Mapping[str, Any] | None]:
        """The engine's answers one by one, and None a few times a second while it is silent."""
        arrived: queue.SimpleQueue[Mapping[str, Any] | Exception | None] = queue.SimpleQueue()

        def read() -> None:
            try:
                connection.request(
                    "POST", path, headers={"Content-Length": "0", "Content-Type": "application/x-tar", **(headers or {})}
                )
                response = connection.getresponse()
                if response.status >= 400:
                    arrived.put({"error": _message(response.read())})
                while line := response.readline():
                    if line.strip():
                        arrived.put(json.loads(line))
                arrived.put(None)
            except (OSError, http.client.HTTPException, ValueError, AttributeError) as exc:
                # AttributeError: http.client when its socket is closed while it reads
                arrived.put(exc)

        threading.Thread(target=read, name="build output", daemon=True).start()
        while True:
            try:
                message = arrived.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                yield None
                continue
            if message is None:
                return
            if isinstance(message, Exception):
                raise EngineUnavailable(f"The container engine broke off: {message}.") from message
            yield message


def _shut(connection: http.client.HTTPConnection) -> None:
    """Close it under the thread that reads from it."""
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        connection.close()


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"]).strip().rstrip(".")
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()


def _follow(messages: Iterator[Mapping[str, Any] | None], say: Callable[[str], None], check: Callable[[], None]) -> str:
    trace = Trace()
    image = ""
    for message in messages:
        check()
        if message is None:
            continue
        if "error" in message:
            for line in trace.rest():
                say(line)
            raise BuildRefused(str(message["error"]).strip())
        kind, aux = message.get("id"), message.get("aux")
        if kind == "moby.buildkit.trace" and isinstance(aux, str):
            for line in trace.feed(base64.b64decode(aux)):
                say(line)
        elif kind == "moby.image.id" and isinstance(aux, Mapping):
            image = str(aux.get("ID", ""))
    for line in trace.rest():
        say(line)
    if not image:
        raise EngineError("The build ended without an image.", id="build_without_image")
    return image


# -------------------------------------------------------------------- the context


@contextmanager
def _served(path: Path) -> Iterator[str]:
    """A file on the loopback address, under a name that nobody can guess."""
    name = f"/{secrets.token_hex(16)}/context.tar"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != name:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/x-tar")
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            with path.open("rb") as file, suppress(OSError):
                while data := file.read(1 << 20):
                    self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:
            """Not in a log: the name is a secret for as long as the build takes."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}{name}"
        finally:
            server.shutdown()
            thread.join()


# -------------------------------------------------------------------- the session


class _Session:
    """One hijacked connection, served by a thread until it is closed."""

    def __init__(self, buildkit: BuildKit, order: BuildOrder) -> None:
        self.id = secrets.token_hex(16)
        self._buildkit = buildkit
        self._order = order
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self._requests: dict[int, tuple[str, bytearray]] = {}
        self._waiting: dict[int, tuple[bytes, int]] = {}  # what the peer's window has no room for yet

    def __enter__(self) -> Self:
        try:
            self._socket = self._buildkit.socket()
        except OSError as exc:
            raise EngineUnavailable(f"The container engine does not answer: {exc.strerror or exc}.") from exc
        try:
            rest = self._upgrade()
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(None)
        self._http.initiate_connection()
        self._thread = threading.Thread(target=self._serve, args=(rest,), name="build session", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()

    def _upgrade(self) -> bytes:
        lines = [
            "POST /session HTTP/1.1",
            "Host: docker",
            "Connection: Upgrade",
            "Upgrade: h2c",
            f"X-Docker-Expose-Session-Uuid: {self.id}",
            "X-Docker-Expose-Session-Name: paas",
            "X-Docker-Expose-Session-Sharedkey: ",
            *(f"X-Docker-Expose-Session-Grpc-Method: {method}" for method in _METHODS),
            "Content-Length: 0",
        ]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = b""
        while b"\r\n\r\n" not in head:
            data = self._socket.recv(65536)
            if not data:
                break
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise EngineError(
                "The engine offers no BuildKit session.",
                hint="Builds of Dockerfiles need Docker Engine 20.10 or later.",
                id="buildkit_missing",
            )
        return rest

    def _serve(self, data: bytes) -> None:
        try:
            self._send()
            while True:
                if data:
                    for event in self._http.receive_data(data):
                        self._on(event)
                    self._send()
                data = self._socket.recv(65536)
                if not data:
                    return
        except (OSError, h2.exceptions.ProtocolError):
            return  # the build ends by itself when its session does

    def _send(self) -> None:
        if data := self._http.data_to_send():
            self._socket.sendall(data)

    def _on(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            headers = {_text(name): _text(value) for name, value in event.headers or ()}
            self._requests[event.stream_id or 0] = (headers.get(":path", ""), bytearray())
        elif isinstance(event, h2.events.DataReceived):
            stream = event.stream_id or 0
            if stream in self._requests:
                self._requests[stream][1].extend(event.data or b"")
            self._http.acknowledge_received_data(event.flow_controlled_length or 0, stream)
        elif isinstance(event, h2.events.StreamEnded):
            method, body = self._requests.pop(event.stream_id or 0, ("", bytearray()))
            self._answer(event.stream_id or 0, method, bytes(body[5:]))
        elif isinstance(event, h2.events.StreamReset):
            self._requests.pop(event.stream_id or 0, None)
            self._waiting.pop(event.stream_id or 0, None)
        elif isinstance(event, h2.events.WindowUpdated):
            for stream in list(self._waiting):
                self._flush(stream)

    def _answer(self, stream: int, method: str, message: bytes) -> None:
        answer, status = b"", 0
        if method == _HEALTH:
            answer = b"\x08\x01"
        elif method == _SECRET:
            wanted = next((value for number, value in fields(message) if number == 1), b"")
            found = self._order.secrets.get(bytes(wanted).decode(errors="replace")) if isinstance(wanted, bytes) else None
            answer, status = (encoded(1, found), 0) if found is not None else (b"", _NOT_FOUND)
        elif method == _CREDENTIALS:
            host = next((value for number, value in fields(message) if number == 1), b"")
            known = self._order.credentials(bytes(host).decode(errors="replace")) if isinstance(host, bytes) else None
            answer = b"".join(encoded(at, text.encode()) for at, text in enumerate(known or (), start=1))
        else:
            status = _UNIMPLEMENTED
        self._http.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        framed = b"" if status else struct.pack(">BI", 0, len(answer)) + answer
        self._waiting[stream] = (framed, status)
        self._flush(stream)

    def _flush(self, stream: int) -> None:
        data, status = self._waiting[stream]
        while data:
            room = min(self._http.local_flow_control_window(stream), self._http.max_outbound_frame_size)
            if room <= 0:
                self._waiting[stream] = (data, status)
                return
            self._http.send_data(stream, data[:room])
            data = data[room:]
        del self._waiting[stream]
        self._http.send_headers(stream, [("grpc-status", str(status))], end_stream=True)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


# -------------------------------------------------------------------- protobuf, as much as we need


def fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a message in their order: numbers as they are, everything else as bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
        elif kind == 2:
            size, at = _varint(message, at)
            yield number, message[at : at + size]
            at += size
        elif kind in {1, 5}:
            size = 8 if kind == 1 else 4
            yield number, message[at : at + size]
            at += size
        else:
            return


def encoded(number: int, value: bytes) -> bytes:
    """One field of bytes."""
    head, size = bytes([number << 3 | 2]), len(value)
    while size >= 0x80:
        head += bytes([size & 0x7F | 0x80])
        size >>= 7
    return head + bytes([size]) + value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, at


class Trace:
    """BuildKit's progress, as lines for a log: each step once when it begins, its output, and whether it was cached."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._partial: dict[tuple[str, int], bytes] = {}

    def feed(self, status: bytes) -> Sequence[str]:
        lines: list[str] = []
        for number, value in fields(status):
            if not isinstance(value, bytes):
                continue
            if number == 1:
                lines += self._vertex(value)
            elif number == 3:
                lines += self._output(value)
        return lines

    def rest(self) -> Sequence[str]:
        left = [data.decode(errors="replace") for data in self._partial.values() if data.strip()]
        self._partial.clear()
        return left

    def _vertex(self, message: bytes) -> Iterator[str]:
        found = dict(fields(message))
        digest, name = _string(found.get(1)), _string(found.get(3))
        if name.startswith(("[internal]", "copy /context", "http://127.0.0.1")) or not name:
            return
        if (5 in found or found.get(4)) and digest not in self._told:
            self._told.add(digest)
            yield name + (" (cached)" if found.get(4) else "")

    def _output(self, message: bytes) -> Iterator[str]:
        found = dict(fields(message))
        stream = found.get(3, 1)
        key = (_string(found.get(1)), stream if isinstance(stream, int) else 1)
        content = found.get(4, b"")
        *lines, rest = (self._partial.pop(key, b"") + (content if isinstance(content, bytes) else b"")).split(b"\n")
        if rest:
            self._partial[key] = rest
        for line in lines:
            yield line.decode(errors="replace")


def _string(value: bytes | int | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
