"""The terminal of a run: a TLS connection that carries bytes both ways until the command ends."""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from paas_client.errors import PlatformProblem, UserProblem
from paas_client.transport import reachable

GREETING = b"rendezvous\r\n"
END_OF_INPUT = b"\x04"
CONNECT_SECONDS = 15
CHUNK = 65536


def meet(url: str, trust: ssl.SSLContext) -> ssl.SSLSocket:
    """Connected, and greeted. Raises `Problem`."""
    parts = urlsplit(url)
    host, port, secret = parts.hostname or "", parts.port or 443, parts.path.lstrip("/")
    place = f"{host}:{port}"
    try:
        raw = socket.create_connection((reachable(host), port), timeout=CONNECT_SECONDS)
        connection = trust.wrap_socket(raw, server_hostname=host)
        connection.sendall(f"{secret}\r\n".encode())
        greeting = connection.recv(len(GREETING))
    except ssl.SSLCertVerificationError as exc:
        raise UserProblem(
            f"The certificate of {place} can't be trusted: {getattr(exc, 'verify_message', exc)}.",
            id="untrusted_certificate",
        ) from exc
    except OSError as exc:
        raise PlatformProblem(
            f"The terminal's door at {place} can't be reached: {exc}.",
            hint="Does a firewall let you in? The port is PAAS_RENDEZVOUS_PORT.",
            id="no_terminal",
        ) from exc
    if not greeting.startswith(b"rendezvous"):
        raise PlatformProblem(f"{place} did not let us in.", hint="Try again.", id="no_terminal")
    return connection


def converse(connection: ssl.SSLSocket, *, terminal: bool, resized: Callable[[int, int], None] | None = None) -> None:
    """stdin there, what comes to stdout, until the other side closes. One thread, as TLS connections want it."""
    stdin, stdout = sys.stdin.fileno(), sys.stdout.buffer
    connection.setblocking(False)
    waiting = b""
    has_input = True
    with _raw(stdin) if terminal else _unchanged():
        if terminal and resized is not None:
            signal.signal(signal.SIGWINCH, lambda *_: resized(*os.get_terminal_size(stdin)))
        while True:
            if not connection.pending():
                readable, _, _ = select.select(
                    [connection, *([stdin] if has_input and not waiting else [])], [connection] if waiting else [], []
                )
            else:
                readable = [connection]
            if stdin in readable:
                data = os.read(stdin, CHUNK)
                has_input = bool(data)
                waiting = data or END_OF_INPUT
            waiting = _sent(connection, waiting)
            received = _received(connection)
            if received == b"":
                return
            if received:
                stdout.write(received)
                stdout.flush()


def _sent(connection: ssl.SSLSocket, data: bytes) -> bytes:
    """What is left."""
    try:
        return data[connection.send(data) :] if data else data
    except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
        return data


def _received(connection: ssl.SSLSocket) -> bytes | None:
    """None when there is nothing yet, nothing when it is over."""
    try:
        return connection.recv(CHUNK)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError):
        return b""


@contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """The container's terminal does the echo, and Ctrl-C is for the command in it."""
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _unchanged() -> Iterator[None]:
    yield
