"""One POST to a URL that somebody named. Redirects are not followed, and little of the answer is read."""

from __future__ import annotations

import base64
import http.client
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from runtime.outbound.addresses import Guard
from runtime.outbound.api import Answer, NotReached
from runtime.outbound.connect import client_tls, connect, cut_off, in_words
from runtime.outbound.urls import PORTS, Target, parse_url

EXCERPT_BYTES = 1024


class HttpOutbound:
    def __init__(self, guard: Guard, ca_bundle: Path | None) -> None:
        self._guard, self._ca_bundle = guard, ca_bundle

    def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> Answer:
        target = parse_url(url)
        deadline = time.monotonic() + seconds
        tls = client_tls(self._ca_bundle) if target.is_encrypted else None
        sock = connect(target.host, target.port, guard=self._guard, seconds=seconds, tls=tls)
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.sock = sock
        try:
            sock.settimeout(max(0.1, deadline - time.monotonic()))
            with cut_off(sock, deadline):
                return _ask(connection, target, body, headers)
        except (http.client.HTTPException, OSError) as exc:
            if time.monotonic() >= deadline - 0.05:
                raise NotReached(f"{target.host} did not answer within {seconds:g} s.", id="timed_out") from exc
            if isinstance(exc, OSError):
                raise in_words(exc, target.host) from exc
            raise NotReached(f"{target.host} does not answer in HTTP.", id="bad_answer") from exc
        finally:
            connection.close()


def _ask(connection: http.client.HTTPConnection, target: Target, body: bytes, headers: Mapping[str, str]) -> Answer:
    name = f"[{target.host}]" if ":" in target.host else target.host
    connection.putrequest("POST", target.path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", name if target.port == PORTS[target.scheme] else f"{name}:{target.port}")
    connection.putheader("Content-Length", str(len(body)))
    connection.putheader("Connection", "close")
    if (target.user or target.password) and "Authorization" not in headers:
        pair = f"{target.user}:{target.password}".encode()
        connection.putheader("Authorization", f"Basic {base64.b64encode(pair).decode()}")
    for field, value in headers.items():
        connection.putheader(field, value)
    connection.endheaders(body)
    response = connection.getresponse()
    excerpt = b""
    with suppress(OSError, http.client.HTTPException):  # the status is what counts
        while len(excerpt) < EXCERPT_BYTES and (piece := response.read1(EXCERPT_BYTES - len(excerpt))):
            excerpt += piece
    return Answer(response.status, _text(excerpt), _seconds(response.getheader("Retry-After")))


def _text(data: bytes) -> str:
    text = data.decode(errors="replace")
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text).strip()


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 6 else None
