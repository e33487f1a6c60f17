"""Looking at an instance from outside, as a visitor's request would reach it."""

from __future__ import annotations

import http.client
import socket

SILENT = 0  # connected, no answer in time
CLOSED = -1  # connected, and closed without an answer
NOT_HTTP = 1  # it answered something


def accepts(address: str, port: int, timeout_seconds: float) -> bool:
    """Whether a TCP connection is taken."""
    try:
        with socket.create_connection((address, port), timeout_seconds):
            return True
    except OSError:
        return False


def takes_datagrams(address: str, port: int) -> bool:
    """Whether somebody reads from a UDP port, as far as that can be seen: a port that nobody has refuses. An empty
    datagram asks."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.settimeout(0.1)
            probe.connect((address, port))
            probe.send(b"")
            probe.recv(1)
        except TimeoutError:
            return True
        except OSError:
            return False
    return True


def answers(address: str, port: int, path: str, host: str, timeout_seconds: float) -> int | None:
    """The status of a GET, or one of the constants above; None when no connection is taken."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout_seconds)
    try:
        try:
            connection.connect()
        except OSError:
            return None
        headers = {"Host": host or address, "User-Agent": "paas-health-check", "X-Forwarded-Proto": "https"}
        connection.request("GET", path or "/", headers={**headers, "Connection": "close"})
        return connection.getresponse().status
    except TimeoutError:
        return SILENT
    except (ConnectionError, http.client.RemoteDisconnected):
        return CLOSED
    except (OSError, http.client.HTTPException):
        return NOT_HTTP
    finally:
        connection.close()
