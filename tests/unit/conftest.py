"""Unit tests open no sockets: Redis, the broker, the engine and the router are in memory."""

from __future__ import annotations

from collections.abc import Iterator

import fakeredis
import pytest
from pytest_socket import disable_socket, enable_socket

from paas import wiring
from paas.celery import celery_app
from runtime.engine.memory import MemoryEngine
from runtime.registry.tokens import TokenIssuer, make_key
from runtime.router.memory import MemoryRouter
from runtime.router.names import MemoryNames


@pytest.fixture(autouse=True)
def _no_sockets() -> Iterator[None]:
    disable_socket()
    yield
    enable_socket()


@pytest.fixture(scope="session")
def registry_tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenIssuer:
    """With a key of the tests' own."""
    folder = tmp_path_factory.mktemp("tokens")
    make_key(folder / "key", folder / "certificate")
    return TokenIssuer((folder / "key").read_bytes(), (folder / "certificate").read_bytes())


@pytest.fixture(autouse=True)
def _memory_drivers(registry_tokens: TokenIssuer) -> Iterator[None]:
    """A test that cares puts its own in their place."""
    with wiring.replaced(
        engine=MemoryEngine(), router=MemoryRouter(), names=MemoryNames(), registry_tokens=registry_tokens
    ):
        yield


@pytest.fixture(autouse=True)
def _memory_redis(monkeypatch: pytest.MonkeyPatch) -> Iterator[fakeredis.FakeRedis]:
    from paas.core import redis

    server = fakeredis.FakeRedis(decode_responses=True)
    monkeypatch.setattr(redis, "client", lambda: server)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _every_part_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real checks ask over sockets."""
    from paas.machine import health

    parts = ("redis", "registry", "router", "web", "git", "streams", "terminals", "workers", "agent")
    monkeypatch.setattr(health, "checks", lambda **_: dict.fromkeys(parts, str))


@pytest.fixture
def sent_tasks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[object, ...]]]:
    """Names and arguments of the tasks that were sent."""
    sent: list[tuple[str, tuple[object, ...]]] = []

    def send(name: str, args: tuple[object, ...] = (), **_: object) -> None:
        sent.append((name, tuple(args)))

    monkeypatch.setattr(celery_app, "send_task", send)
    return sent


@pytest.fixture(autouse=True)
def _no_broker(sent_tasks: list[tuple[str, tuple[object, ...]]]) -> None:
    """Nothing is sent anywhere."""
