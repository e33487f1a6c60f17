"""Lines of real containers: kept beyond removal, once each, whatever becomes of the collector."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from runtime.engine.api import ContainerSpec
from runtime.engine.docker import DockerEngine
from runtime.errors import EngineError
from runtime.logs.collector import Collector
from runtime.logs.read import AppLogReader, Filter
from runtime.logs.record import MAX_TEXT_BYTES
from runtime.logs.store import LogStore
from runtime.reconcile.spec import APP, APP_ID, HOME, INDEX, INSTANCE, KIND, PROCESS, RELEASE
from tests.waiting import until

pytestmark = pytest.mark.engine
APP_KEY = "1d"


class Bench:
    def __init__(self, engine: DockerEngine, image: str, folder: Path) -> None:
        self.engine, self.image, self.folder = engine, image, folder
        self.home = f"test-{uuid.uuid4().hex[:10]}"
        self.collected: list[str] = []

    def run(self, script: str, *, tty: bool = False) -> str:
        labels = {
            HOME: self.home, APP: "hello", APP_ID: APP_KEY, KIND: INSTANCE, PROCESS: "web", INDEX: "1", RELEASE: "1",
        }  # fmt: skip
        name = f"{self.home}-{uuid.uuid4().hex[:6]}"
        spec = ContainerSpec(name=name, image=self.image, command=("sh", "-c", script), labels=labels, tty=tty)
        container = self.engine.create(spec)
        self.engine.start(container)
        return container

    @contextmanager
    def collecting(self) -> Iterator[Collector]:
        store = LogStore(self.folder)
        collector = Collector(self.engine, store, home=self.home, on_collected=self.collected.append)
        collector.start()
        try:
            yield collector
        finally:
            collector.stop()

    def texts(self) -> list[str]:
        return [line.text for line in AppLogReader(self.folder / APP_KEY).everything(Filter())]

    def clean(self) -> None:
        for container in self.engine.list({HOME: self.home}):
            with suppress(EngineError):
                self.engine.remove(container.id)


@pytest.fixture
def bench(docker_engine: DockerEngine, programs: str, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(docker_engine, programs, tmp_path)
    yield made
    made.clean()


def test_the_words_of_a_crash_outlive_its_container(bench: Bench):
    with bench.collecting() as collector:
        container = bench.run("echo starting; echo 'No module named nowhere' >&2; exit 1")
        collector.look()
        until(lambda: container in bench.collected, "it has been read to its end")
        bench.engine.remove(container)
    assert sorted(bench.texts()) == ["No module named nowhere", "starting"]


def has_collected(bench: Bench, count: int) -> bool:
    return len(bench.texts()) >= count


def test_a_collector_that_is_killed_neither_loses_nor_doubles_a_line(bench: Bench):
    count = 400
    container = bench.run(f"i=0; while [ $i -lt {count} ]; do echo n$i; i=$((i+1)); sleep 0.01; done")
    for kills in range(1, 5):
        process = subprocess.Popen([sys.executable, "-m", "tests.integration.logs.collect", bench.folder, bench.home])
        try:
            until(partial(has_collected, bench, kills * 60), "it has collected a part")
        finally:
            process.kill()
            process.wait()
    bench.engine.wait(container, timeout_seconds=60)
    with bench.collecting():
        until(lambda: container in bench.collected, "the rest")
    assert bench.texts() == [f"n{n}" for n in range(count)]


def test_endless_lines_and_bytes_that_are_no_text_are_bounded(bench: Bench):
    with bench.collecting() as collector:
        container = bench.run(
            "dd if=/dev/zero bs=1000 count=150 2>/dev/null; echo; echo -e '\\xff\\x00\\x07after'; echo done"
        )
        collector.look()
        until(lambda: container in bench.collected, "it has been read to its end")
    assert bench.texts()[-1] == "done"
    assert all(len(text.encode()) < MAX_TEXT_BYTES + 100 for text in bench.texts())
    assert any("more bytes of this line are left out" in text for text in bench.texts())


def test_a_flood_costs_a_bounded_number_of_lines_and_the_end_is_there(bench: Bench):
    with bench.collecting() as collector:
        container = bench.run("i=0; while [ $i -lt 60000 ]; do echo flood$i; i=$((i+1)); done; sleep 2; echo the end")
        collector.look()
        until(lambda: container in bench.collected, "it has been read to its end")
    texts = bench.texts()
    assert texts[-1] == "the end"
    assert len(texts) < 30_000
    assert any("are left out" in text for text in texts)
