"""A router that remembers what it was told and notices an order that would cost requests."""

from __future__ import annotations

from runtime.router.api import Route
from runtime.router.memory import MemoryRouter


class WatchedRouter(MemoryRouter):
    def __init__(self) -> None:
        super().__init__()
        self.history: list[Route] = []
        self.drains: list[tuple[str, str]] = []

    def put(self, route: Route) -> None:
        super().put(route)
        self.history.append(self.table()[route.app])

    def drained(self, app: str, address: str, *, timeout_seconds: float) -> bool:
        route = self.get(app)
        assert route is None or address not in route.addresses, "drained while it is still routed"
        self.drains.append((app, address))
        return super().drained(app, address, timeout_seconds=timeout_seconds)
