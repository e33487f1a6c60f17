"""A connection to a host that somebody named: to a permitted address, within a time, encrypted when it should be."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from runtime.outbound.addresses import Guard
from runtime.outbound.api import NotReached


def refused(host: str) -> NotReached:
    return NotReached(
        f"{host} leads to an address that is not public.",
        hint="An admin can open a range of addresses with PAAS_HOOKS_ALLOW.",
        id="address_refused",
    )


def connect(host: str, port: int, *, guard: Guard, seconds: float, tls: ssl.SSLContext | None = None) -> socket.socket:
    """Raises `NotReached`. Each of the host's addresses is tried; what is not permitted is not."""
    deadline = time.monotonic() + seconds
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise NotReached(f"The name {host} can't be resolved.", id="name_not_resolved") from exc
    permitted = [each for each in found if guard.permits(str(each[4][0]))]
    if not permitted:
        raise refused(host)
    failure: OSError | None = None
    for family, kind, protocol, _, address in permitted:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        raw = socket.socket(family, kind, protocol)
        try:
            raw.settimeout(left)
            raw.connect(address)
            return raw if tls is None else _encrypted(raw, tls, host, deadline)
        except NotReached:
            raw.close()
            raise
        except OSError as exc:
            raw.close()
            if failure is None or exc.errno not in _NO_WAY_THERE:
                failure = exc
    failure = failure or TimeoutError()
    raise in_words(failure, host) from failure


def _encrypted(raw: socket.socket, tls: ssl.SSLContext, host: str, deadline: float) -> ssl.SSLSocket:
    raw.settimeout(max(0.1, deadline - time.monotonic()))
    with cut_off(raw, deadline):
        try:
            return tls.wrap_socket(raw, server_hostname=host)
        except ssl.SSLCertVerificationError as exc:
            raise NotReached(f"The certificate of {host} is not trusted: {exc.verify_message}.", id="tls_failed") from exc
        except ssl.SSLError as exc:
            if time.monotonic() >= deadline:
                raise TimeoutError from exc
            raise NotReached(f"{host} and we did not agree on TLS: {exc.reason or exc}.", id="tls_failed") from exc


@contextmanager
def cut_off(sock: socket.socket, deadline: float) -> Iterator[None]:
    """At the deadline the connection ends, whatever is being waited for: a peer that sends a byte now and then would keep
    us for ever otherwise."""

    def cut() -> None:
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of TLS, too, without its goodbye

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


# This machine has no network of that kind, often IPv6: less telling than what another address of the host has answered.
_NO_WAY_THERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETUNREACH})


def in_words(exc: OSError, host: str) -> NotReached:
    if isinstance(exc, TimeoutError):
        return NotReached(f"{host} did not answer in time.", id="timed_out")
    if isinstance(exc, ssl.SSLError):
        return NotReached(f"The encrypted connection to {host} broke: {exc.reason or exc}.", id="tls_failed")
    if exc.errno == errno.ECONNREFUSED:
        return NotReached(f"{host} refused the connection.", id="connection_refused")
    if isinstance(exc, ConnectionError):
        return NotReached(f"{host} closed the connection.", id="connection_lost")
    words = os.strerror(exc.errno) if exc.errno else str(exc)
    return NotReached(f"{host} can't be reached: {words}.", id="not_reached")


def client_tls(bundle: Path | None) -> ssl.SSLContext:
    """That trusts the CAs of a bundle, read again when it has changed."""
    return _client_tls(bundle, bundle.stat().st_mtime_ns if bundle is not None and bundle.exists() else 0)


@lru_cache(maxsize=2)
def _client_tls(bundle: Path | None, mtime: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(bundle) if mtime else None)
