"""As much of a router as applying a plan needs."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.errors import RouterUnavailable
from runtime.router.api import AppTraffic, InFlight, Route


class SmallRouter:
    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.history: list[Route] = []
        self.drains: list[tuple[str, str]] = []
        self.available = True

    def put(self, route: Route) -> None:
        if not self.available:
            raise RouterUnavailable("The router does not answer.")
        self.routes[route.app] = route
        self.history.append(route)

    def remove(self, app: str) -> None:
        self.routes.pop(app, None)

    def get(self, app: str) -> Route | None:
        return self.routes.get(app)

    def table(self) -> Mapping[str, Route]:
        return dict(self.routes)

    def in_flight(self, app: str, address: str) -> InFlight:
        return InFlight(0, 0)

    def drained(self, app: str, address: str, *, timeout_seconds: float) -> bool:
        assert app not in self.routes or address not in self.routes[app].addresses, "drained while it is still routed"
        self.drains.append((app, address))
        return True

    def traffic(self) -> Mapping[str, AppTraffic]:
        return {}

    def healthy(self) -> bool:
        return self.available
