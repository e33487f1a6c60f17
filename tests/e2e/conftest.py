"""Fixtures of the end-to-end tests. They need a platform that is up and PAAS_HOME to find it: see bin/test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.browser import admin, chromium, stranger, visitor
from tests.e2e.harness import App, Platform
from tests.integration.hooks.conftest import receiver

__all__ = ["admin", "chromium", "receiver", "stranger", "visitor"]  # fixtures


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.platform)


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    if "PAAS_TEST_PLATFORM" not in os.environ:  # these tests kill its processes: never by accident somebody's own
        pytest.skip("run it with: bin/test e2e")
    platform = Platform()
    yield platform
    platform.engine.close()
    platform.redis.close()


@pytest.fixture
def new_app(platform: Platform, tmp_path: Path) -> Iterator[Callable[[], App]]:
    """Apps of one test. The first push creates them, the end of the test destroys them."""
    made: list[App] = []

    def make() -> App:
        made.append(App(platform, tmp_path / f"app{len(made)}"))
        return made[-1]

    yield make
    for app in made:
        app.destroy()


@pytest.fixture
def app(new_app: Callable[[], App]) -> App:
    return new_app()


class Steady:
    """An app that is up, with `web` and `worker`, and the commit it was made from. Several tests share it."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.app.use("multi").set_version("good")
        self.commit = app.commit("The good one.")
        app.push().succeeded()

    def fresh(self) -> App:
        """The good commit in the work tree, whatever a test before did to it."""
        self.app.back_to(self.commit)
        return self.app


@pytest.fixture(scope="session")
def _steady(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steady]:
    app = App(platform, tmp_path_factory.mktemp("steady"))
    try:
        yield Steady(app)
    finally:
        app.destroy()


@pytest.fixture
def steady(_steady: Steady) -> App:
    return _steady.fresh()
