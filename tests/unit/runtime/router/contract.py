"""What every router promises. Subclasses give the fixtures `router`, `address` (a place that answers), `hold`; and for
ports `instance` (that answers there), `free_port`, `connect` and `occupied`."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from runtime.errors import RouterError
from runtime.router.api import Binding, InFlight, PortProtocol, Route, Router, RouteState
from runtime.router.ca import self_signed

TCP, UDP = PortProtocol.TCP, PortProtocol.UDP

# Keeps a request to the app's first host in flight until the block ends.
Hold = Callable[[str, str], AbstractContextManager[None]]
# Keeps a conversation with a public port going until the block ends.
Connect = Callable[[PortProtocol, int], AbstractContextManager[object]]
both_protocols = pytest.mark.parametrize("protocol", [TCP, UDP])


class RouterContract:
    @pytest.fixture
    def router(self) -> Router:
        raise NotImplementedError

    @pytest.fixture
    def address(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def hold(self, router: Router) -> Hold:
        raise NotImplementedError

    def test_a_route_comes_back_as_it_was_put(self, router) -> None:
        route = Route(
            app="shop",
            hosts=("shop.example.com", "*.shop.example.com"),
            addresses=("10.0.0.2:8000", "[fd00::2]:8000"),
            timeout_seconds=30,
            max_body_bytes=1000,
            headers={"X-Frame-Options": "DENY"},
            buffered=False,
            force_https=True,
        )
        router.put(route)
        assert router.get("shop") == route
        assert router.table() == {"shop": route}

    def test_putting_the_same_route_again_changes_nothing(self, router) -> None:
        route = Route(app="shop", hosts=("shop.example.com",), addresses=("10.0.0.2:8000",))
        router.put(route)
        router.put(route)
        assert router.table() == {"shop": route}

    def test_the_last_put_wins(self, router) -> None:
        router.put(Route(app="shop", hosts=("shop.example.com",), addresses=("10.0.0.2:8000",)))
        last = Route(app="shop", hosts=("new.example.com",), state=RouteState.MAINTENANCE)
        router.put(last)
        assert router.get("shop") == last

    def test_what_is_missing_is_none_and_may_be_removed(self, router) -> None:
        assert router.get("nobody") is None
        router.remove("nobody")
        assert router.table() == {}

    def test_a_host_belongs_to_one_app(self, router) -> None:
        first = Route(app="shop", hosts=("shop.example.com",))
        router.put(first)
        with pytest.raises(RouterError, match=r"shop\.example\.com belongs to shop") as refused:
            router.put(Route(app="thief", hosts=("mine.example.com", "shop.example.com")))
        assert refused.value.id == "host_taken"
        assert router.table() == {"shop": first}

    def test_a_refused_change_leaves_the_route_and_its_hosts(self, router) -> None:
        router.put(Route(app="shop", hosts=("shop.example.com",)))
        before = Route(app="blog", hosts=("blog.example.com",))
        router.put(before)
        with pytest.raises(RouterError):
            router.put(Route(app="blog", hosts=("other.example.com", "shop.example.com")))
        assert router.get("blog") == before
        router.put(Route(app="free", hosts=("other.example.com",)))

    def test_a_host_given_up_can_be_taken(self, router) -> None:
        router.put(Route(app="shop", hosts=("a.example.com", "b.example.com")))
        router.put(Route(app="shop", hosts=("a.example.com",)))
        router.put(Route(app="blog", hosts=("b.example.com",)))
        router.remove("shop")
        router.put(Route(app="blog", hosts=("a.example.com", "b.example.com")))
        assert set(router.table()) == {"blog"}

    def test_the_platforms_own_names_are_taken(self, router) -> None:
        with pytest.raises(RouterError) as refused:
            router.put(Route(app="thief", hosts=("dashboard.localhost",)))
        assert refused.value.id == "host_taken"

    @pytest.mark.parametrize(
        "bad",
        [
            Route(app="../etc", hosts=()),
            Route(app="Shop", hosts=()),
            Route(app="shop", hosts=("Shop.example.com",)),
            Route(app="shop", hosts=("shop.example.com.",)),
            Route(app="shop", hosts=("a;b",)),
            Route(app="shop", hosts=("*.*.com",)),
            Route(app="shop", hosts=("",)),
            Route(app="shop", hosts=(), addresses=("10.0.0.2",)),
            Route(app="shop", hosts=(), addresses=("10.0.0.2:0",)),
            Route(app="shop", hosts=(), addresses=("unix:/run/web.sock:1",)),
            Route(app="shop", hosts=(), addresses=("example.com:80",)),
            Route(app="shop", hosts=(), timeout_seconds=0),
            Route(app="shop", hosts=(), max_body_bytes=-1),
            Route(app="shop", hosts=(), headers={"X-A": "b\r\nSet-Cookie: c"}),
            Route(app="shop", hosts=(), headers={"Content-Length": "3"}),
        ],
        ids=repr,
    )
    def test_what_no_route_can_have_is_refused(self, router, bad) -> None:
        with pytest.raises(RouterError) as refused:
            router.put(bad)
        assert refused.value.id == "bad_route"
        assert router.table() == {}

    def test_a_certificate_comes_back_and_can_be_replaced_and_removed(self, router) -> None:
        first, second = self_signed(["*.example.com"]), self_signed(["*.example.com"])
        for key, chain in (first, second):
            router.put_certificate("*.example.com", key_pem=key, chain_pem=chain)
            assert router.certificate("*.example.com") == (key, chain)
        assert router.certificate("shop.example.com") is None
        for _ in range(2):
            router.remove_certificate("*.example.com")
            assert router.certificate("*.example.com") is None

    def test_a_certificate_that_does_not_fit_is_refused(self, router) -> None:
        (key, chain), (other, _) = self_signed(["a.example.com"]), self_signed(["a.example.com"])
        for name, given in (("a.example.com", other), ("A b", key)):
            with pytest.raises(RouterError) as refused:
                router.put_certificate(name, key_pem=given, chain_pem=chain)
            assert refused.value.id == "bad_certificate"
            assert router.certificate(name) is None

    def test_nothing_is_in_flight_to_a_quiet_address(self, router) -> None:
        assert router.in_flight("shop", "10.0.0.2:8000") == InFlight(0, 0)
        assert router.drained("shop", "10.0.0.2:8000", timeout_seconds=0)

    def test_a_drain_waits_for_the_last_request(self, router, address, hold) -> None:
        router.put(Route(app="shop", hosts=("shop.example.com",), addresses=(address,)))
        ended = []

        def wait() -> None:
            ended.append(router.drained("shop", address, timeout_seconds=20))

        with hold("shop.example.com", address):
            assert router.in_flight("shop", address) == InFlight(requests=1, websockets=0)
            router.put(Route(app="shop", hosts=("shop.example.com",), state=RouteState.MAINTENANCE))
            assert not router.drained("shop", address, timeout_seconds=0.05)
            waiter = threading.Thread(target=wait)
            waiter.start()
            assert not ended
        waiter.join(20)
        assert ended == [True]
        assert router.in_flight("shop", address) == InFlight(0, 0)

    def test_requests_are_counted_by_class_and_latency(self, router, address, hold) -> None:
        router.put(Route(app="shop", hosts=("shop.example.com",), addresses=(address,)))
        before = time.time()
        assert router.traffic()["shop"].last_request_at is None
        for _ in range(3):
            with hold("shop.example.com", address):
                pass
        deadline = time.monotonic() + 10
        while router.traffic()["shop"].requests["2xx"] < 3:
            assert time.monotonic() < deadline, router.traffic()
        seen = router.traffic()["shop"]
        assert seen.requests == {"1xx": 0, "2xx": 3, "3xx": 0, "4xx": 0, "5xx": 0}
        assert list(seen.latency_buckets) == sorted(seen.latency_buckets)
        assert list(seen.latency_buckets.values()) == sorted(seen.latency_buckets.values())
        assert seen.latency_buckets[math.inf] == 3
        assert seen.sent_bytes >= 3 * len("HTTP/1.1 200 OK")
        assert seen.last_request_at is not None
        assert before - 1 < seen.last_request_at < time.time() + 1

    def test_the_counters_of_a_removed_app_are_gone(self, router, address, hold) -> None:
        route = Route(app="shop", hosts=("shop.example.com",), addresses=(address,))
        router.put(route)
        with hold("shop.example.com", address):
            pass
        assert router.drained("shop", address, timeout_seconds=5)
        router.remove("shop")
        assert router.traffic() == {}
        router.put(route)
        assert router.traffic()["shop"].requests["2xx"] == 0

    @pytest.fixture
    def instance(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def free_port(self) -> int:
        raise NotImplementedError

    @pytest.fixture
    def connect(self, router: Router) -> Connect:
        raise NotImplementedError

    @pytest.fixture
    def occupied(self, router: Router) -> int:
        """A port that another process has, for TCP and UDP."""
        raise NotImplementedError

    @both_protocols
    def test_a_binding_comes_back_as_it_was_put(self, router, free_port, protocol) -> None:
        binding = Binding("shop", protocol, free_port, ("10.0.0.2:9000", "[fd00::2]:9000"))
        router.bind(binding)
        router.bind(binding)
        assert router.bindings() == {(protocol, free_port): binding}

    @both_protocols
    def test_the_last_binding_wins(self, router, free_port, protocol) -> None:
        router.bind(Binding("shop", protocol, free_port, ("10.0.0.2:9000",)))
        router.bind(Binding("shop", protocol, free_port))
        assert router.bindings() == {(protocol, free_port): Binding("shop", protocol, free_port)}

    def test_a_port_is_one_for_tcp_and_one_for_udp(self, router, free_port) -> None:
        router.bind(Binding("shop", TCP, free_port))
        router.bind(Binding("dns", UDP, free_port))
        router.unbind(TCP, free_port)
        assert router.bindings() == {(UDP, free_port): Binding("dns", UDP, free_port)}

    @both_protocols
    def test_what_is_not_bound_may_be_unbound(self, router, free_port, protocol) -> None:
        router.unbind(protocol, free_port)
        assert router.bindings() == {}

    @both_protocols
    def test_a_port_belongs_to_one_app(self, router, free_port, protocol) -> None:
        first = Binding("shop", protocol, free_port, ("10.0.0.2:9000",))
        router.bind(first)
        with pytest.raises(RouterError, match=f"{free_port}/{protocol} belongs to shop") as refused:
            router.bind(Binding("thief", protocol, free_port))
        assert refused.value.id == "port_taken"
        assert router.bindings() == {first.key: first}

    @both_protocols
    def test_a_port_of_another_process_is_refused_and_nothing_changes(self, router, occupied, protocol) -> None:
        assert "process" in router.listener(protocol, occupied)
        with pytest.raises(RouterError, match=str(occupied)) as refused:
            router.bind(Binding("shop", protocol, occupied))
        assert refused.value.id == "port_taken"
        assert router.bindings() == {}

    @both_protocols
    def test_a_port_that_is_bound_has_no_listener_but_the_router(self, router, free_port, protocol) -> None:
        assert router.listener(protocol, free_port) == ""
        router.bind(Binding("shop", protocol, free_port))
        assert router.listener(protocol, free_port) == ""

    @pytest.mark.parametrize(
        "bad",
        [
            Binding("../etc", TCP, 20001),
            Binding("shop", TCP, 0),
            Binding("shop", UDP, 65536),
            Binding("shop", TCP, 20001, ("10.0.0.2",)),
            Binding("shop", TCP, 20001, ("unix:/run/web.sock:1",)),
            Binding("shop", UDP, 20001, ("example.com:53",)),
            Binding("shop", TCP, 20001, ("10.0.0.2:9000;",)),
        ],
        ids=repr,
    )
    def test_what_no_binding_can_have_is_refused(self, router, bad) -> None:
        with pytest.raises(RouterError) as refused:
            router.bind(bad)
        assert refused.value.id == "bad_binding"
        assert router.bindings() == {}

    @both_protocols
    def test_a_drain_waits_for_the_last_conversation(self, router, instance, connect, free_port, protocol) -> None:
        router.bind(Binding("shop", protocol, free_port, (instance,)))
        with connect(protocol, free_port):
            router.bind(Binding("shop", protocol, free_port))
            assert not router.binding_drained(protocol, instance, timeout_seconds=0.05)
        assert router.binding_drained(protocol, instance, timeout_seconds=20)

    def test_it_is_healthy(self, router) -> None:
        assert router.healthy()
