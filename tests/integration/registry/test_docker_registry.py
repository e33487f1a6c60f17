from __future__ import annotations

from collections.abc import Iterator

import pytest

from runtime.errors import RegistryUnavailable
from runtime.registry import Registry
from tests.unit.runtime.registry.contract import RegistryContract


class TestDockerRegistry(RegistryContract):
    @pytest.fixture
    def registry(self, registry_address: str) -> Iterator[Registry]:
        with Registry(registry_address) as registry:
            yield registry

    @pytest.fixture
    def small_pieces(self, registry_address: str) -> Iterator[Registry]:
        with Registry(registry_address, chunk_bytes=65536) as registry:
            yield registry


def test_where_nothing_listens_the_registry_is_unavailable():
    with Registry("http://127.0.0.1:9", backoff_seconds=0.0) as registry, pytest.raises(RegistryUnavailable):
        registry.ping()
