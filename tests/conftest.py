"""For all tests: nothing reaches a real broker, and PAAS_HOME is a folder of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """End-to-end tests talk to the platform of the environment; all others get an empty home."""
    if "e2e" in Path(str(request.node.path)).parts:
        yield
        return
    import dataclasses

    from django.conf import settings

    home = tmp_path_factory.mktemp("home")
    before = settings.ENV
    settings.ENV = dataclasses.replace(
        before, home=home, domain="apps.example", http_port=80, port_range=(20_000, 20_199)
    )
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one is slow on purpose
    yield
    settings.ENV = before
