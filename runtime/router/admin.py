"""The router's admin socket, and what it tells of traffic. Light: the agent asks through it, without a driver."""

from __future__ import annotations

import http.client
import json
import math
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.errors import RouterUnavailable
from runtime.router.api import AppTraffic


class AdminConnection(http.client.HTTPConnection):
    """A kept connection to a unix socket."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("router", timeout=timeout_seconds)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def exchange(self, method: str, path: str, content: bytes | None) -> tuple[int, bytes]:
        self.request(method, path, body=content)
        response = self.getresponse()
        return response.status, response.read()


def admin_socket(home: Path) -> Path:
    return home / "run" / "admin.sock"


def read_traffic(answer: Mapping[str, Any]) -> Mapping[str, AppTraffic]:
    """What `GET /traffic` says, by app."""
    bounds = [*(float(bound) for bound in answer["bounds"]), math.inf]
    return {app: _traffic(entry, bounds) for app, entry in answer["apps"].items()}


def ask_traffic(home: Path, *, timeout_seconds: float = 5.0) -> Mapping[str, AppTraffic]:
    """Raises `RouterUnavailable`."""
    connection = AdminConnection(admin_socket(home), timeout_seconds)
    try:
        status, body = connection.exchange("GET", "/traffic", None)
        if status != 200:
            raise RouterUnavailable(f"The router answered {status} when asked for its traffic.")
        return read_traffic(json.loads(body))
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise RouterUnavailable(f"The router does not answer on its admin socket: {exc}", hint="Is it running?") from exc
    finally:
        connection.close()


def _traffic(entry: Mapping[str, Any], bounds: Sequence[float]) -> AppTraffic:
    cumulative, total = {}, 0
    for bound, number in zip(bounds, entry["buckets"], strict=True):
        total += int(number)
        cumulative[bound] = total
    return AppTraffic(
        requests={f"{n}xx": int(number) for n, number in enumerate(entry["requests"], start=1)},
        latency_buckets=cumulative,
        last_request_at=entry.get("last"),
        sent_bytes=int(entry.get("sent") or 0),
    )
