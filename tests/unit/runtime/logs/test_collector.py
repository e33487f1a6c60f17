"""Containers, requests and the platform's words end up in the store, once each."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from runtime.engine.api import ContainerSpec
from runtime.engine.memory import Behaviour, MemoryEngine
from runtime.logs.access import AccessLog
from runtime.logs.collector import Collector
from runtime.logs.flood import Allowance
from runtime.logs.read import AppLogReader, Filter
from runtime.logs.record import Line, Source
from runtime.logs.store import LogStore
from runtime.reconcile.spec import APP, APP_ID, HOME, INDEX, KIND, LOGS, PROCESS, RELEASE

HERE = "/srv/paas"


class World:
    def __init__(self, root: Path) -> None:
        self.root, self.engine = root, MemoryEngine()
        self.access = root / "access.json"
        self.collected: list[str] = []

    @contextmanager
    def collecting(self) -> Iterator[Collector]:
        collector = Collector(
            self.engine,
            LogStore(self.root / "apps"),
            home=HERE,
            access_log=self.access,
            on_collected=self.collected.append,
        )
        collector.start()
        try:
            yield collector
        finally:
            collector.stop()

    def run(
        self,
        *said: str,
        kind: str = "instance",
        exits: bool = False,
        labels: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        image = f"registry/app@{len(self.engine.started)}-{'-'.join(said)}"
        output = [("stdout", text) for text in said]
        self.engine.add_image(
            image, Behaviour(output=output, exit_code=1 if exits else None, last_words=[("stderr", "bye")])
        )
        own = {HOME: HERE, APP: "hello", APP_ID: "1d", KIND: kind, PROCESS: "web", INDEX: "1", RELEASE: "3"} | dict(
            labels or {}
        )
        spec = ContainerSpec(name=image, image=image, labels=own, environment=environment or {})
        container = self.engine.create(spec)
        self.engine.start(container)
        return container

    def lines(self) -> list[str]:
        found = AppLogReader(self.root / "apps" / "1d").everything(Filter())
        return [f"{line.label}: {line.text}" for line in found]

    def until(self, expected: list[str]) -> None:
        until(lambda: self.lines() == expected, lambda: f"the log is {self.lines()}")


def until(question: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + 10
    while not question():
        assert time.monotonic() < deadline, what()
        threading.Event().wait(0.01)


@pytest.fixture
def world(tmp_path) -> World:
    (tmp_path / "apps").mkdir()
    return World(tmp_path)


def test_values_of_config_vars_that_are_named_like_secrets_are_masked(world):
    environment = {"API_TOKEN": "abc123def", "MODE": "production", "PAAS_URL": "http://hello.localhost"}
    with world.collecting() as collector:
        world.run("token abc123def in production at http://hello.localhost", environment=environment)
        collector.look()
        world.until(["app[web.1]: token [API_TOKEN] in production at http://hello.localhost"])


def test_what_a_container_says_is_kept_beyond_its_end(world: World):
    with world.collecting() as collector:
        container = world.run("Boot", "Ready")
        collector.look()
        world.until(["app[web.1]: Boot", "app[web.1]: Ready"])
        world.engine.stop(container)
        world.until(["app[web.1]: Boot", "app[web.1]: Ready", "app[web.1]: bye"])
        until(lambda: world.collected == [container], lambda: "it may be removed")
        world.engine.remove(container)
    assert len(world.lines()) == 3


def test_a_container_that_crashed_at_once_is_read_all_the_same(world: World):
    with world.collecting() as collector:
        world.run("Traceback", exits=True)
        collector.look()
        world.until(["app[web.1]: Traceback"])


def test_a_collector_that_is_started_again_neither_loses_nor_doubles_a_line(world: World):
    with world.collecting() as collector:
        container = world.run("one", "two")
        collector.look()
        world.until(["app[web.1]: one", "app[web.1]: two"])
    world.engine.stop(container)
    with world.collecting():
        world.until(["app[web.1]: one", "app[web.1]: two", "app[web.1]: bye"])
        until(lambda: container in world.collected, lambda: "it may be removed")
    with world.collecting():
        until(lambda: world.collected.count(container) == 2, lambda: "it has been looked at once more")
    assert len(world.lines()) == 3


def test_only_what_belongs_to_apps_of_this_platform_is_followed(world: World):
    with world.collecting() as collector:
        world.run("elsewhere", labels={HOME: "/other"})
        world.run("building", kind="build")
        world.run("keystrokes", kind="run", labels={LOGS: "no"})
        world.run("migrating", kind="release", labels={INDEX: ""})
        world.run("shell", kind="run", labels={INDEX: "7"})
        collector.look()
        until(lambda: len(world.lines()) == 2, lambda: str(world.lines()))
    assert sorted(world.lines()) == ["app[release.3]: migrating", "app[run.7]: shell"]


def test_the_engine_going_away_for_a_moment_costs_no_line(world: World):
    with world.collecting() as collector:
        container = world.run("one")
        collector.look()
        world.until(["app[web.1]: one"])
        world.engine.available = False
        world.engine.available = True
        world.engine.stop(container)
        world.until(["app[web.1]: one", "app[web.1]: bye"])


def request(app: str, path: str = "/", **entry: object) -> str:
    facts = {
        "time": "2026-11-23T16:00:00+00:00", "at": 1795449600.25, "app": app, "id": "f00", "client": "192.0.2.7",
        "scheme": "https", "method": "GET", "host": "hello.example", "path": path, "status": 200, "bytes_in": 90,
        "bytes_out": 512, "seconds": 0.021, "upstream": "10.210.0.2:8080", "upstream_seconds": "0.018",
    }  # fmt: skip
    return json.dumps(facts | entry) + "\n"


def test_requests_are_told_in_the_app_they_were_for(world: World):
    world.access.write_text("")
    with world.collecting() as collector:
        world.run("Boot")
        collector.look()
        world.until(["app[web.1]: Boot"])
        with world.access.open("a") as file:
            file.write(request("hello", '/x"y') + request("unknown") + request("") + "{not json\n")
        until(lambda: len(world.lines()) == 2, lambda: str(world.lines()))
    assert world.lines()[-1] == (
        'paas[router]: at=info method=GET path="/x\\"y" host=hello.example request_id=f00 fwd="192.0.2.7" process=- '
        "service=18ms status=200 bytes=512 protocol=https"
    )
    with world.access.open("a") as file:
        file.write(request("hello", "/while-away", status=502))
    with world.collecting():
        until(lambda: len(world.lines()) == 3, lambda: str(world.lines()))
    assert "at=error" in world.lines()[-1]


def test_requests_of_a_renamed_app_are_told_although_nothing_of_it_runs(world: World):
    world.access.write_text("")
    kept: list[str] = []
    with world.collecting() as collector:
        for number, name in enumerate(("hello", "world")):
            line = Line(datetime.now(tz=UTC), Source.PLATFORM, "api", f"As {name}", origin=f"platform.{number + 1}-0")
            collector.say("1d", name, line, partial(kept.append, name))
        until(lambda: len(kept) == 2, lambda: str(kept))
        with world.access.open("a") as file:
            file.write(request("hello", "/one"))
        until(lambda: len(world.lines()) == 3, lambda: str(world.lines()))
    with world.access.open("a") as file:
        file.write(request("hello", "/two"))
    with world.collecting():
        until(lambda: len(world.lines()) == 4, lambda: str(world.lines()))
    assert 'path="/two"' in world.lines()[-1]


def test_requests_written_before_a_crash_are_not_told_again(world: World):
    world.access.write_text("")
    with world.collecting() as collector:
        world.run("Boot")
        collector.look()
        world.until(["app[web.1]: Boot"])
        before = json.dumps(AccessLog(world.access, None).position)
        with world.access.open("a") as file:
            file.write(request("hello", "/one") + request("hello", "/two"))
        until(lambda: len(world.lines()) == 3, lambda: str(world.lines()))
    (world.root / "apps" / "router.json").write_text(before)  # as if it had been killed before this was written
    with world.access.open("a") as file:
        file.write(request("hello", "/three"))
    with world.collecting():
        until(lambda: len(world.lines()) >= 4, lambda: str(world.lines()))
    assert [line.split('path="')[1].split('"')[0] for line in world.lines()[1:]] == ["/one", "/two", "/three"]


def test_the_access_log_is_followed_through_its_rotation(tmp_path):
    path = tmp_path / "access.json"
    path.write_text(request("hello", "/0"))
    reader = AccessLog(path)
    assert reader.read() == []  # what was before is not told
    with path.open("a") as file:
        file.write(request("hello", "/1"))
    path.replace(tmp_path / "access.json.1")
    path.write_text(request("hello", "/2"))
    found = [*reader.read(), *reader.read(), *reader.read()]
    assert [each.entry["path"] for each in found] == ["/1", "/2"]
    again = AccessLog(path, reader.position)
    assert again.read() == []


def test_the_platform_says_each_thing_once_and_is_told_when_it_is_kept(world: World):
    kept: list[str] = []
    line = Line(datetime.now(tz=UTC), Source.PLATFORM, "api", "Restarted by alice", origin="platform.5-0")
    with world.collecting() as collector:
        collector.say("1d", "hello", line, lambda: kept.append("first"))
        until(lambda: kept == ["first"], lambda: "it is kept")
    with world.collecting() as collector:
        collector.say("1d", "hello", line, lambda: kept.append("again"))
        until(lambda: kept == ["first", "again"], lambda: "it is known")
        assert world.lines() == ["paas[api]: Restarted by alice"]
        collector.forget("1d", lambda: kept.append("gone"))
        until(lambda: "gone" in kept, lambda: "it is gone")
        assert not (world.root / "apps" / "1d").exists()


def test_a_flood_is_left_out_and_the_log_says_so(world: World, monkeypatch: pytest.MonkeyPatch):
    from runtime.logs import collector as module

    monkeypatch.setattr(module, "Allowance", lambda: Allowance(rate=10, burst=20))
    monkeypatch.setattr(module, "FLOOD_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(module, "FLOOD_TAIL", 1)
    with world.collecting() as collector:
        container = world.run(*[f"{n}" for n in range(500)])
        collector.look()
        until(lambda: len(world.lines()) >= 20, lambda: str(world.lines()))
        world.engine.stop(container)
        until(lambda: container in world.collected, lambda: "it may be removed")
    assert world.lines()[:20] == [f"app[web.1]: {n}" for n in range(20)]
    assert "paas[logs]: web.1 writes more than 10 lines a second: those from" in world.lines()[20]
    assert len(world.lines()) < 100


def test_an_allowance_counts_by_the_lines_own_clock():
    began = datetime(2026, 11, 23, tzinfo=UTC)
    bucket = Allowance(rate=10, burst=5)
    assert [bucket.take(began, 10) for _ in range(7)] == [True] * 5 + [False] * 2
    assert bucket.take(began + timedelta(seconds=1), 10)
    assert not bucket.take(began + timedelta(seconds=1), 1024 * 1024)


def test_after_a_rest_lines_of_one_moment_are_taken_again():
    began = datetime(2026, 11, 23, tzinfo=UTC)
    bucket = Allowance(rate=10, burst=5)
    while bucket.take(began, 10):
        pass
    bucket.rested()
    assert [bucket.take(began, 10) for _ in range(11)] == [True] * 10 + [False]
