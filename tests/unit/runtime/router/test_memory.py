from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runtime.errors import RouterUnavailable
from runtime.router.api import InFlight, Route
from runtime.router.memory import MemoryRouter
from tests.unit.runtime.router.contract import TCP, UDP, Connect, Hold, RouterContract


class TestMemoryRouter(RouterContract):
    @pytest.fixture
    def router(self) -> MemoryRouter:
        return MemoryRouter(reserved_hosts=["dashboard.localhost"])

    @pytest.fixture
    def address(self) -> str:
        return "10.0.0.2:8000"

    @pytest.fixture
    def hold(self, router: MemoryRouter) -> Hold:
        @contextmanager
        def hold(host: str, address: str) -> Iterator[None]:
            route = router.route_for(host)
            assert route is not None
            with router.hold(route.app, address):
                yield

        return hold

    @pytest.fixture
    def instance(self) -> str:
        return "10.0.0.2:9000"

    @pytest.fixture
    def free_port(self) -> int:
        return 20001

    @pytest.fixture
    def connect(self, router: MemoryRouter) -> Connect:
        return router.connect

    @pytest.fixture
    def occupied(self, router: MemoryRouter) -> int:
        for protocol in (TCP, UDP):
            router.occupy(protocol, 20002, by="python3 (process 812)")
        return 20002

    def test_an_exact_name_goes_before_the_nearest_wildcard(self, router) -> None:
        router.put(Route(app="wide", hosts=("*.example.com",)))
        router.put(Route(app="near", hosts=("*.shop.example.com",)))
        router.put(Route(app="exact", hosts=("a.shop.example.com",)))
        found = {host: router.route_for(host) for host in ("a.shop.example.com", "b.shop.example.com", "c.example.com")}
        assert [route.app for route in found.values() if route] == ["exact", "near", "wide"]
        assert router.route_for("example.com") is None

    def test_websockets_do_not_keep_a_drain_waiting(self, router) -> None:
        with router.hold("shop", "10.0.0.2:8000", websocket=True):
            assert router.in_flight("shop", "10.0.0.2:8000") == InFlight(requests=0, websockets=1)
            assert router.drained("shop", "10.0.0.2:8000", timeout_seconds=0)

    def test_a_router_that_is_away_says_so(self, router) -> None:
        router.available = False
        assert not router.healthy()
        with pytest.raises(RouterUnavailable):
            router.put(Route(app="shop", hosts=()))
