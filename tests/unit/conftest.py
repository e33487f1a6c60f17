"""Unit tests open no sockets: Redis is an in-memory one, the broker too."""

from __future__ import annotations

from collections.abc import Iterator

import fakeredis
import pytest
from pytest_socket import disable_socket, enable_socket

from paas.celery import celery_app


@pytest.fixture(autouse=True)
def _no_sockets() -> Iterator[None]:
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture(autouse=True)
def _memory_redis(monkeypatch: pytest.MonkeyPatch) -> Iterator[fakeredis.FakeRedis]:
    from paas.core import redis

    server = fakeredis.FakeRedis(decode_responses=True)
    monkeypatch.setattr(redis, "client", lambda: server)
    yield server
    server.close()


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
