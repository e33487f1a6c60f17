"""A router that remembers what it was told and notices an order that would cost requests."""

from __future__ import annotations

from runtime.router.api import PortProtocol, Route
from runtime.router.memory import MemoryRouter


class WatchedRouter(MemoryRouter):
    def __init__(self) -> None:
        super().__init__()
        self.history: list[Route] = []
        self.drains: list[tuple[str, str]] = []

    def put(self, route: Route) -> None:
        super().put(route)
        self.history.append(self.table()[route.app])

    def binding_drained(self, protocol: PortProtocol, address: str, *, timeout_seconds: float) -> bool:
        bound = (each for key, binding in self.bindings().items() if key[0] == protocol for each in binding.addresses)
        assert address not in bound, "drained while it is still bound"
        self.drains.append((protocol, address))
        return super().binding_drained(protocol, address, timeout_seconds=timeout_seconds)

    def drained(self, app: str, address: str, *, timeout_seconds: float) -> bool:
        route = self.get(app)
        assert route is None or address not in route.addresses, "drained while it is still routed"
        self.drains.append((app, address))
        return super().drained(app, address, timeout_seconds=timeout_seconds)
