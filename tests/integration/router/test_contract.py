"""nginx keeps the same promises as the twin in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runtime.router.api import PortProtocol
from runtime.router.nginx import NginxRouter
from tests.integration.router.conftest import RunningNginx, until
from tests.integration.router.echo import Echo, listening, talk
from tests.integration.router.upstream import Upstream
from tests.unit.runtime.router.contract import Connect, Hold, RouterContract


class TestNginxRouter(RouterContract):
    @pytest.fixture
    def router(self, nginx: RunningNginx) -> NginxRouter:
        return nginx.router

    @pytest.fixture
    def address(self, a: Upstream) -> str:
        return a.address

    @pytest.fixture
    def instance(self) -> Iterator[str]:
        echo = Echo(b"A:")
        yield echo.address
        echo.close()

    @pytest.fixture
    def hold(self, nginx: RunningNginx, a: Upstream) -> Hold:
        @contextmanager
        def hold(host: str, address: str) -> Iterator[None]:
            a.released.clear()
            statuses = []
            visitor = threading.Thread(target=lambda: statuses.append(nginx.get(host, "/hold").status_code))
            visitor.start()
            assert a.arrived.acquire(timeout=20)
            try:
                yield
            finally:
                a.released.set()
                visitor.join()
            assert statuses == [200]
            until(lambda: not nginx.router.in_flight("shop", address).requests, "the request to be over")

        return hold

    @pytest.fixture
    def free_port(self, nginx: RunningNginx) -> int:
        return nginx.range[0]

    @pytest.fixture
    def connect(self) -> Connect:
        @contextmanager
        def connect(protocol: PortProtocol, port: int) -> Iterator[None]:
            with talk(protocol, port) as conversation:
                conversation.say(b"hello")
                yield

        return connect

    @pytest.fixture
    def occupied(self, nginx: RunningNginx) -> Iterator[int]:
        """Beyond the range: the ports of the range are the router's own."""
        with listening("127.0.0.1", nginx.beyond):
            yield nginx.beyond
