"""Terminals of `run` for clients of the API, as Heroku's have them:

1. TLS to this port; the client sends the secret of its `attach_url`, with or without a line's end.
2. We answer `rendezvous` in a packet of its own, as the client throws its first packet away whole.
3. From then on bytes go both ways, until the process ends and we close.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from paas.runs.models import Run
from paas.terminals.line import Line
from paas.terminals.threads import Threads

log = logging.getLogger(__name__)

Pair = tuple[Path, Path]

SECRET = re.compile(rb"\s*([0-9a-f]{64})\s*")
GREETING = b"rendezvous\r\n"
APART_SECONDS = 0.2  # so long after it nothing is said, or it might arrive in one packet with the greeting
SECRET_SECONDS = 20.0
MOST_CONNECTIONS = 200
MOST_STRANGERS = 60
KEEPALIVE_SECONDS = 30
MOST_WAITING = 256 * 1024


class Terminals(Protocol):
    """The platform's side; both are called in a thread."""

    def claim(self, secret: str) -> Run | None: ...
    def serve(self, run: Run, line: Line) -> None:
        """Until it is over."""
        ...


class Certificates:
    """`pair_for` gives the files of key and chain for a host name, which is "" when the client says none. What has been
    renewed on the disk is shown from the next client on."""

    def __init__(self, pair_for: Callable[[str], Pair]) -> None:
        self._pair_for = pair_for
        self._contexts: dict[Pair, tuple[int, ssl.SSLContext]] = {}
        self.context = self._context("")
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self._context(name or "")

    def _context(self, name: str) -> ssl.SSLContext:
        pair = self._pair_for(name)
        before = self._contexts.get(pair)
        try:
            changed = max(file.stat().st_mtime_ns for file in pair)
            if before is not None and before[0] == changed:
                return before[1]
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(pair[1], pair[0])
        except OSError:  # half of a renewal, perhaps
            if before is None:
                raise
            return before[1]
        self._contexts[pair] = changed, context
        return context


class RendezvousServer:
    def __init__(self, terminals: Terminals, *, calls: Threads, runs: Threads) -> None:
        self.terminals = terminals
        self.calls, self.runs = calls, runs
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, address: str, port: int, certificates: Certificates) -> int:
        """Returns the port."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self),
            address,
            port,
            ssl=certificates.context,
            ssl_handshake_timeout=SECRET_SECONDS,
            ssl_shutdown_timeout=5.0,
            reuse_address=True,
            backlog=256,
        )
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.abort()


class _Connection(asyncio.Protocol):
    """One client; also the `Connection` of its line."""

    def __init__(self, server: RendezvousServer) -> None:
        self._server = server
        self._transport: asyncio.Transport
        self._line: Line
        self._head = b""
        self.is_known = self._is_greeted = False
        self._patience: asyncio.TimerHandle | None = None
        self._serving: asyncio.Task[None] | None = None

    # The loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._line = Line(self)
        transport.set_write_buffer_limits(MOST_WAITING)
        everybody = self._server.connections
        everybody.add(self)
        if len(everybody) > MOST_CONNECTIONS or sum(1 for each in everybody if not each.is_known) > MOST_STRANGERS:
            transport.abort()
            return
        self._patience = asyncio.get_running_loop().call_later(SECRET_SECONDS, self.abort)
        if (peer := transport.get_extra_info("socket")) is not None:
            _notice_absence(peer)

    def data_received(self, data: bytes) -> None:
        if self._serving is not None:
            if not self._is_greeted:  # the rest of the secret's line, if anything
                data = data.lstrip(b"\r\n")
            if data:
                self._line.received(data)
            return
        self._head += data
        secret = SECRET.match(self._head)
        if secret is not None:
            if rest := self._head[secret.end() :]:
                self._line.received(rest)
            self._serving = asyncio.create_task(self._serve(secret[1].decode()))
        elif len(self._head) > 128 or not SECRET.match(self._head.strip().ljust(64, b"0")):
            self.abort()  # no secret will come of this

    def eof_received(self) -> None:
        self._line.ended()  # and with TLS the whole connection is over

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._server.connections.discard(self)
        if self._patience is not None:
            self._patience.cancel()
        self._line.lost()

    def pause_writing(self) -> None:
        self._line.pause()

    def resume_writing(self) -> None:
        self._line.resume()

    # The line asks

    def send(self, data: bytes, *, is_error: bool) -> None:  # noqa: ARG002 - a terminal has one output
        if self._transport.is_closing():
            raise BrokenPipeError("the client has gone")
        self._transport.write(data)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def abort(self) -> None:
        self._transport.abort()

    async def _serve(self, secret: str) -> None:
        try:
            run = await self._server.calls.run(self._server.terminals.claim, secret)
            if run is None:
                return
            self.is_known = True
            if self._patience is not None:
                self._patience.cancel()
            await self._line.say(GREETING)
            self._is_greeted = True
            await asyncio.sleep(APART_SECONDS)
            await self._server.runs.run(self._server.terminals.serve, run, self._line)
        except OSError:
            pass  # the client has gone
        except Exception:
            log.exception("rendezvous_failed")
        finally:
            self._transport.close()


def _notice_absence(peer: socket.socket) -> None:
    """A client that has lost its network says nothing; its command has to end all the same."""
    with suppress(OSError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_SECONDS // 3)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
