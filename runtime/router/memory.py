"""A router without a socket: the same promises, kept in memory, for tests."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from runtime.errors import InvalidInput, RouterError, RouterUnavailable
from runtime.router import ca, document
from runtime.router.api import AppTraffic, Binding, InFlight, PortProtocol, PublicPort, Route

BOUNDS_MS = (5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0, 30000.0, math.inf)


class MemoryRouter:
    """`available = False` makes it a router that does not answer. Visitors are played with `visit` and `hold`."""

    def __init__(self, *, reserved_hosts: Sequence[str] = ()) -> None:
        self.available = True
        self._reserved = frozenset(reserved_hosts)
        self._routes: dict[str, Route] = {}
        self._hosts: dict[str, str] = {}
        self._busy: Counter[tuple[str, str, bool]] = Counter()
        self._classes: dict[str, Counter[str]] = {}
        self._latencies: dict[str, list[float]] = {}
        self._last: dict[str, float] = {}
        self._sent: Counter[str] = Counter()
        self._bindings: dict[PublicPort, Binding] = {}
        self._listeners: dict[PublicPort, str] = {}
        self._connections: Counter[tuple[PortProtocol, str]] = Counter()
        self._certificates: dict[str, tuple[bytes, bytes]] = {}
        self._changed = threading.Condition()

    def put(self, route: Route) -> None:
        route = document.normal(route)
        with self._changed:
            self._reach()
            for host in route.hosts:
                owner = "the platform" if host in self._reserved else self._hosts.get(host, route.app)
                if owner != route.app:
                    raise RouterError(f"{host} belongs to {owner}.", id="host_taken")
            self._release_hosts(route.app)
            self._routes[route.app] = route
            self._hosts.update(dict.fromkeys(route.hosts, route.app))

    def remove(self, app: str) -> None:
        with self._changed:
            self._reach()
            self._release_hosts(app)
            for table in (self._routes, self._classes, self._latencies, self._last, self._sent):
                table.pop(app, None)

    def get(self, app: str) -> Route | None:
        with self._changed:
            self._reach()
            return self._routes.get(app)

    def table(self) -> Mapping[str, Route]:
        with self._changed:
            self._reach()
            return dict(self._routes)

    def in_flight(self, app: str, address: str) -> InFlight:
        with self._changed:
            self._reach()
            return InFlight(self._busy[app, address, False], self._busy[app, address, True])

    def drained(self, app: str, address: str, *, timeout_seconds: float) -> bool:
        with self._changed:
            self._reach()
            return self._changed.wait_for(lambda: self._busy[app, address, False] == 0, timeout_seconds)

    def bind(self, binding: Binding) -> None:
        document.check_binding(binding)
        with self._changed:
            self._reach()
            owner = self._bindings.get(binding.key, binding).app
            taken_by = self._listeners.get(binding.key, "" if owner == binding.app else owner)
            if taken_by:
                raise RouterError(f"Port {binding.port}/{binding.protocol} belongs to {taken_by}.", id="port_taken")
            self._bindings[binding.key] = replace(binding, addresses=tuple(binding.addresses))

    def unbind(self, protocol: PortProtocol, port: int) -> None:
        with self._changed:
            self._reach()
            self._bindings.pop((protocol, port), None)

    def bindings(self) -> Mapping[PublicPort, Binding]:
        with self._changed:
            return dict(self._bindings)

    def binding_drained(self, protocol: PortProtocol, address: str, *, timeout_seconds: float) -> bool:
        with self._changed:
            self._reach()
            return self._changed.wait_for(lambda: self._connections[protocol, address] == 0, timeout_seconds)

    def listener(self, protocol: PortProtocol, port: int) -> str:
        with self._changed:
            return self._listeners.get((protocol, port), "")

    def put_certificate(self, name: str, *, key_pem: bytes, chain_pem: bytes) -> None:
        if not document.is_host(name):
            raise RouterError(f"{name[:100]!r} is no host name.", id="bad_certificate")
        try:
            ca.check_pair(key_pem, chain_pem)
        except InvalidInput as exc:
            raise RouterError(exc.message, id="bad_certificate") from exc
        with self._changed:
            self._reach()
            self._certificates[name] = key_pem, chain_pem

    def remove_certificate(self, name: str) -> None:
        with self._changed:
            self._reach()
            self._certificates.pop(name, None)

    def certificate(self, name: str) -> tuple[bytes, bytes] | None:
        with self._changed:
            return self._certificates.get(name)

    def traffic(self) -> Mapping[str, AppTraffic]:
        with self._changed:
            self._reach()
            return {app: self._traffic_of(app) for app in self._routes}

    def healthy(self) -> bool:
        return self.available

    def rotate_logs(self) -> bool:
        return False

    # What a visitor does.

    def route_for(self, host: str) -> Route | None:
        """Where a request for this host goes: an exact name, then the nearest wildcard above it."""
        with self._changed:
            name = host
            while name:
                app = self._hosts.get(name if name == host else f"*.{name}")
                if app:
                    return self._routes[app]
                name = name.partition(".")[2]
            return None

    def visit(self, app: str, *, status: int = 200, milliseconds: float = 1.0, sent_bytes: int = 200) -> None:
        """A request that has come and gone."""
        with self._changed:
            self._classes.setdefault(app, Counter())[f"{status // 100}xx"] += 1
            self._latencies.setdefault(app, []).append(milliseconds)
            self._last[app] = time.time()
            self._sent[app] += sent_bytes

    @contextmanager
    def hold(self, app: str, address: str, *, websocket: bool = False) -> Iterator[None]:
        """A request that is being answered, or a WebSocket that is open, until the block ends."""
        with self._changed:
            self._busy[app, address, websocket] += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy[app, address, websocket] -= 1
                self._changed.notify_all()
            self.visit(app)

    @contextmanager
    def connect(self, protocol: PortProtocol, port: int) -> Iterator[str]:
        """A connection to a public port, until the block ends: to which address it leads, "" when to none."""
        with self._changed:
            addresses = self._bindings[protocol, port].addresses if (protocol, port) in self._bindings else ()
            address = addresses[0] if addresses else ""
            self._connections[protocol, address] += 1
        try:
            yield address
        finally:
            with self._changed:
                self._connections[protocol, address] -= 1
                self._changed.notify_all()

    def occupy(self, protocol: PortProtocol, port: int, by: str) -> None:
        """Another process of the machine takes the port."""
        with self._changed:
            self._listeners[protocol, port] = by

    def _reach(self) -> None:
        if not self.available:
            raise RouterUnavailable("The router does not answer.", hint="Is it running?")

    def _release_hosts(self, app: str) -> None:
        self._hosts = {host: owner for host, owner in self._hosts.items() if owner != app}

    def _traffic_of(self, app: str) -> AppTraffic:
        latencies = self._latencies.get(app, [])
        return AppTraffic(
            requests={f"{n}xx": self._classes.get(app, Counter())[f"{n}xx"] for n in range(1, 6)},
            latency_buckets={bound: sum(ms <= bound for ms in latencies) for bound in BOUNDS_MS},
            last_request_at=self._last.get(app),
            sent_bytes=self._sent[app],
        )
