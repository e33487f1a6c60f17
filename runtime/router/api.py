"""The router: a table from host names, and from public ports, to addresses.

Drivers: `nginx.py`, `memory.py`, held by one contract suite.

A change is one small file (the truth, survives a crash) and one call; nothing is ever reloaded.
Calls raise `RouterUnavailable` when the router does not answer and `RouterError` when it refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class RouteState(StrEnum):
    UP = "up"  # to the addresses
    MAINTENANCE = "maintenance"  # 503, a page, Retry-After
    DOWN = "down"  # nothing runs: 503, a page that says so
    STOPPED = "stopped"  # somebody has stopped it: 503, a page that says so


@dataclass(frozen=True, slots=True)
class Route:
    """One app's entry. `addresses` are "ip:port" of its instances that serve HTTP. `hosts` are in normal form (lower
    case, punycode, no final dot); "*.example.com" stands for every name below that has no route of its own."""

    app: str  # slug: the app's name
    hosts: Sequence[str]
    state: RouteState = RouteState.UP
    addresses: Sequence[str] = ()
    timeout_seconds: int = 60
    max_body_bytes: int = 0  # 0 = the router's default
    headers: Mapping[str, str] = field(default_factory=dict)  # set in every answer of the app
    buffered: bool = True  # request bodies
    force_https: bool = False  # plain HTTP is redirected, where the router has an HTTPS port
    page: str = ""  # HTML, shown during maintenance instead of ours


class PortProtocol(StrEnum):
    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True)
class Binding:
    """A public port of an app, on every address that the router listens on. `addresses` are "ip:port" of the instances
    behind it; without any, connections are closed at once and datagrams dropped."""

    app: str
    protocol: PortProtocol
    port: int
    addresses: Sequence[str] = ()

    @property
    def key(self) -> PublicPort:
        return self.protocol, self.port


PublicPort = tuple[PortProtocol, int]


@dataclass(frozen=True, slots=True)
class InFlight:
    """What an instance is busy with at this moment."""

    requests: int
    websockets: int


@dataclass(frozen=True, slots=True)
class AppTraffic:
    """Counters since the router started. `latency_buckets` maps an upper bound in ms to a cumulative count."""

    requests: Mapping[str, int]  # by class: "2xx" …
    latency_buckets: Mapping[float, int]
    last_request_at: float | None  # Unix time
    sent_bytes: int = 0  # to visitors, headers included


class Router(Protocol):
    def put(self, route: Route) -> None:
        """Idempotent. A host that another app or the platform has: `RouterError` with id "host_taken"; a value that no
        route can have: "bad_route"; nothing changed."""
        ...

    def remove(self, app: str) -> None:
        """With its counters; a missing one is fine."""
        ...

    def get(self, app: str) -> Route | None: ...
    def table(self) -> Mapping[str, Route]: ...
    def in_flight(self, app: str, address: str) -> InFlight: ...
    def drained(self, app: str, address: str, *, timeout_seconds: float) -> bool:
        """Wait until no request is in flight to an address that is no longer routed (WebSockets don't count). False when
        the time was not enough."""
        ...

    def bind(self, binding: Binding) -> None:
        """Idempotent. New connections, and the next datagram of every client, go to its addresses when this returns;
        connections that are open stay where they are. A port that another app or another process has: `RouterError` with
        id "port_taken"; a value that no binding can have: "bad_binding"; nothing changed."""
        ...

    def unbind(self, protocol: PortProtocol, port: int) -> None:
        """A missing one is fine. Open connections stay."""
        ...

    def bindings(self) -> Mapping[PublicPort, Binding]: ...
    def binding_drained(self, protocol: PortProtocol, address: str, *, timeout_seconds: float) -> bool:
        """Wait until an address that is no longer bound has no open connection, or has been silent for a second (UDP).
        False when the time was not enough."""
        ...

    def listener(self, protocol: PortProtocol, port: int) -> str:
        """Who of this machine, other than the router, has the port: "python3 (process 812)". "" when nobody has."""
        ...

    def put_certificate(self, name: str, *, key_pem: bytes, chain_pem: bytes) -> None:
        """Shown from the next handshake on for this host name, or for one label below `*.example.com`; an exact name
        comes first. One that does not fit its key, or a name that is none: `RouterError` with id "bad_certificate"."""
        ...

    def remove_certificate(self, name: str) -> None:
        """A missing one is fine."""
        ...

    def certificate(self, name: str) -> tuple[bytes, bytes] | None:
        """(key, chain) as PEM, of exactly this name."""
        ...

    def traffic(self) -> Mapping[str, AppTraffic]: ...
    def healthy(self) -> bool: ...
    def rotate_logs(self) -> bool:
        """Start new log files where the present ones have grown too large; the one before is kept. True if one had."""
        ...
