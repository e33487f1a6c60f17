"""Real sockets on loopback."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.outbound.addresses import Guard, parse_ranges
from tests.integration.hooks.receivers import HttpReceiver, SyslogReceiver, authority

LOOPBACK = Guard(parse_ranges("127.0.0.0/8, ::1"))


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    made = HttpReceiver()
    yield made
    made.close()


@pytest.fixture
def secure_receiver(tls) -> Iterator[HttpReceiver]:
    made = HttpReceiver(tls[1])
    yield made
    made.close()


@pytest.fixture
def syslog() -> Iterator[Callable[..., SyslogReceiver]]:
    made: list[SyslogReceiver] = []

    def make(context: ssl.SSLContext | None = None, port: int = 0) -> SyslogReceiver:
        made.append(SyslogReceiver(context, port))
        return made[-1]

    yield make
    for each in made:
        each.close()
