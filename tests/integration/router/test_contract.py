"""nginx keeps the same promises as the twin in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runtime.router.nginx import NginxRouter
from tests.integration.router.conftest import RunningNginx, until
from tests.integration.router.upstream import Upstream
from tests.unit.runtime.router.contract import Hold, RouterContract


class TestNginxRouter(RouterContract):
    @pytest.fixture
    def router(self, nginx: RunningNginx) -> NginxRouter:
        return nginx.router

    @pytest.fixture
    def address(self, a: Upstream) -> str:
        return a.address

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
