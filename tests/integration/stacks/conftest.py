from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.builder.api import HostSettings
from runtime.registry import Registry
from runtime.stacks.store import StackStore
from tests.integration.registry.conftest import running_registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("stacks")) as address, Registry(address) as registry:
        yield registry


@pytest.fixture(scope="session")
def host_settings() -> HostSettings:
    """As the platform would have them: the packages' own defaults, and this machine's proxies."""
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    return HostSettings(environment=proxies)


@pytest.fixture(scope="module")
def shared_store(registry: Registry, host_settings: HostSettings) -> StackStore:
    """Keeps what it made between runs, by key: only the first run of a recipe takes half a minute."""
    folder = Path(tempfile.gettempdir()) / f"paas-test-stacks-{os.geteuid()}"
    return StackStore(registry, work_dir=folder, host=host_settings)
