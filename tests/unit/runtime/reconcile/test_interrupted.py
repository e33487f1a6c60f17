"""A process that applies a plan may die between any two calls. Whatever it left, the next look sets right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runtime.reconcile.apply import Applier
from runtime.reconcile.observe import observe
from runtime.reconcile.plan import plan
from runtime.reconcile.spec import AppSpec, CheckKind, HealthCheck
from tests.unit.runtime.reconcile.test_apply import BLINK, HOME, Platform
from tests.unit.runtime.reconcile.world import app, web, worker


class Died(BaseException):
    """kill -9: no handler gets to do anything any more."""


class Mortal:
    """Passes calls on until its life is over."""

    def __init__(self, target: Any, life: list[int], calls: frozenset[str]) -> None:
        self._target = target
        self._life = life
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)
        if name not in self._calls:
            return attribute

        def call(*args: Any, **options: Any) -> Any:
            if self._life[0] <= 0:
                raise Died
            self._life[0] -= 1
            return attribute(*args, **options)

        return call


ENGINE_CALLS = frozenset({"create", "start", "stop", "remove", "pull", "ensure_network", "remove_network", "inspect"})
ROUTER_CALLS = frozenset({"put", "remove", "drained"})


def converge_until_it_dies(platform: Platform, desired: AppSpec, life: int) -> bool:
    """Whether it died before it was done."""
    left = [life]
    applier = Applier(
        Mortal(platform.engine, left, ENGINE_CALLS),
        Mortal(platform.router, left, ROUTER_CALLS),
        home=HOME,
        accepts=platform.engine.accepts,
        answers=platform.engine.answers,
    )
    try:
        applier.apply(platform.look(desired))
    except Died:
        return True
    return False


def assert_visitors_are_served(platform: Platform) -> None:
    for address in platform.router.table()["hello"].addresses:
        host, port = address.split(":")
        assert platform.engine.accepts(host, int(port)), f"the route leads to {address}, where nobody is"


@pytest.mark.parametrize("restart", [False, True])
def test_whenever_a_deploy_dies_visitors_are_served_and_the_next_look_ends_it(restart: bool) -> None:
    life = 0
    died = True
    while died:
        platform = Platform()
        old = app(platform.image(web(6, 2)), worker(6, health=BLINK))
        new = app(web(6, 2), worker(6, health=BLINK), restart_epoch=1) if restart else None
        new = new or app(platform.image(web(7, 2)), worker(7, health=BLINK))
        platform.converge(old)
        died = converge_until_it_dies(platform, new, life)
        assert_visitors_are_served(platform)
        platform.converge(new)
        assert_visitors_are_served(platform)
        version = "v6" if restart else "v7"
        assert platform.running() == [f"web.1 {version}", f"web.2 {version}", f"worker.1 {version}"]
        assert platform.containers() == 3
        assert len(platform.router.table()["hello"].addresses) == 2
        assert not platform.look(new)
        life += 1
    assert life > 15  # it did die at many places


def test_whenever_a_deploy_dies_going_back_ends_where_it_began() -> None:
    life = 0
    died = True
    while died:
        platform = Platform()
        old = app(platform.image(web(6)), worker(6, health=BLINK))
        platform.converge(old)
        died = converge_until_it_dies(platform, app(platform.image(web(7)), worker(7, health=BLINK)), life)
        platform.converge(old)
        assert_visitors_are_served(platform)
        assert platform.running() == ["web.1 v6", "worker.1 v6"]
        assert platform.containers() == 2
        assert not platform.look(old)
        life += 1


def test_whenever_the_end_of_an_app_dies_the_next_look_ends_it() -> None:
    life = 0
    died = True
    while died:
        platform = Platform()
        platform.converge(app(platform.image(web(6)), worker(6, health=BLINK)))
        died = converge_until_it_dies(platform, app(deleted=True), life)
        platform.converge(app(deleted=True))
        assert (platform.containers(), platform.engine.list_networks(), platform.router.table()) == (0, [], {})
        life += 1


def test_whichever_container_ends_at_whatever_moment_everything_runs_again() -> None:
    desired = app(web(1, 2), worker(1, health=HealthCheck(CheckKind.UPTIME, uptime_seconds=0.02)))
    for victims in range(1, 8):
        platform = Platform()
        platform.image(web(1))
        platform.converge(desired)
        for number, container in enumerate(platform.engine.list()):
            if victims & (1 << number):
                platform.engine.end(container.id)
        platform.now = datetime.now(UTC) + timedelta(seconds=2)
        platform.converge(desired)
        assert_visitors_are_served(platform)
        assert platform.running() == ["web.1 v1", "web.2 v1", "worker.1 v1"]
        observed = observe(platform.engine, platform.router, home=HOME).of(desired)
        assert not plan(desired, observed, now=platform.now)
