from __future__ import annotations

import pytest

from runtime.engine.api import ContainerSpec, Listener
from runtime.engine.memory import Behaviour, MemoryEngine
from runtime.errors import EngineUnavailable, ImageMissing
from tests.unit.runtime.engine.contract import EngineContract

PROGRAMS = {
    "hello": Behaviour(output=[("stdout", "hello"), ("stderr", "oh dear")], exit_code=3),
    "serve": Behaviour(output=[("stdout", "ready")], on_sigterm=0, last_words=[("stdout", "bye")]),
    "stubborn": Behaviour(output=[("stdout", "ready")], on_sigterm=None),
    "hungry": Behaviour(exit_code=137, oom_killed=True),
    "cat": Behaviour(echoes=True),
}


class TestMemoryEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> MemoryEngine:
        engine = MemoryEngine()
        engine.add_image("programs:1", lambda spec: PROGRAMS[spec.command[0]])
        return engine

    @pytest.fixture
    def image(self) -> str:
        return "programs:1"


def test_a_pull_brings_what_the_registry_has() -> None:
    engine = MemoryEngine()
    engine.add_image("r/a@sha256:1", present=False)
    with pytest.raises(ImageMissing):
        engine.create(ContainerSpec(name="a", image="r/a@sha256:1"))
    engine.pull("r/a@sha256:1", registry_token="t")
    engine.pull("r/a@sha256:1", registry_token="again")
    assert engine.tokens == ["t"]
    engine.create(ContainerSpec(name="a", image="r/a@sha256:1"))
    with pytest.raises(ImageMissing):
        engine.pull("r/b@sha256:1")


def test_an_engine_that_went_away_says_so_and_ends_its_events() -> None:
    engine = MemoryEngine()
    events = engine.events()
    engine.available = False
    with pytest.raises(EngineUnavailable):
        next(events)
    with pytest.raises(EngineUnavailable):
        engine.list()


def test_a_process_is_reachable_only_where_it_listens() -> None:
    engine = MemoryEngine()
    engine.ensure_network("n", subnet="10.1.0.0/28", labels={})
    engine.add_image("web:1")
    engine.add_image("shy:1", Behaviour(listens=[Listener("127.0.0.1", 8000)]))
    environment = {"PORT": "8000"}
    for number, image in enumerate(("web:1", "shy:1"), start=2):
        spec = ContainerSpec(
            name=image[:3], image=image, environment=environment, network="n", address=f"10.1.0.{number}"
        )
        engine.start(engine.create(spec))
    assert engine.accepts("10.1.0.2", 8000)
    assert engine.answers("10.1.0.2", 8000, "/", "") == 200
    assert not engine.accepts("10.1.0.2", 9000)
    assert not engine.accepts("10.1.0.3", 8000)
    assert engine.answers("10.1.0.3", 8000, "/", "") is None
