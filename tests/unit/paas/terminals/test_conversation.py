"""Between a client and a container."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from paas import wiring
from paas.runs.models import Run
from paas.runs.services import Session
from paas.terminals.conversation import converse
from paas.terminals.line import Line
from runtime.engine.api import ContainerSpec
from runtime.engine.memory import Behaviour, MemoryEngine
from tests.unit.paas.terminals.client import Client


@pytest.fixture
def engine() -> Iterator[MemoryEngine]:
    engine = MemoryEngine()
    with wiring.replaced(engine=engine):
        yield engine


def talk(
    engine: MemoryEngine,
    behaviour: Behaviour,
    script: Callable[[Line, Client, str], object],
    *,
    terminal: bool = False,
    says_end: bool = False,
) -> tuple[int, list[tuple[bytes, bool]]]:
    """Exit code, and what the client got; `script` is what it does meanwhile."""
    engine.add_image("image", behaviour)
    container_id = engine.create(ContainerSpec("run", "image", open_stdin=True, tty=terminal))

    async def scene() -> tuple[int, list[tuple[bytes, bool]]]:
        client = Client()
        line = Line(client)
        with engine.attach(container_id) as attached:
            session = Session(Run(has_terminal=terminal), attached, container_id)
            engine.start(container_id)
            conversing = asyncio.create_task(asyncio.to_thread(converse, session, line, says_end=says_end))
            for _ in range(3):
                await asyncio.sleep(0)
            script(line, client, container_id)
            return await conversing, client.got

    return asyncio.run(scene())


def end_when(engine: MemoryEngine, container_id: str, is_time: Callable[[], bool]) -> None:
    """With 0; with 1 when that time does not come."""

    def wait() -> None:
        deadline = time.monotonic() + 20
        while not is_time() and time.monotonic() < deadline:
            threading.Event().wait(0.001)
        engine.end(container_id, exit_code=0 if is_time() else 1)

    threading.Thread(target=wait, daemon=True).start()


def test_what_a_program_says_arrives_by_stream_and_its_code_at_the_end(engine: MemoryEngine) -> None:
    said = Behaviour(output=[("stdout", "fine"), ("stderr", "hm")], exit_code=3)
    code, got = talk(engine, said, lambda line, client, _: None)
    assert code == 3
    assert [(data.strip(), is_error) for data, is_error in got] == [(b"fine", False), (b"hm", True)]


def test_input_reaches_the_program_and_its_end_too(engine: MemoryEngine) -> None:
    def script(line: Line, client: Client, _: str) -> None:
        line.received(b"abc" * 5000)
        line.ended()

    code, got = talk(engine, Behaviour(echoes=True), script)
    assert (code, b"".join(data for data, _ in got)) == (0, b"abc" * 5000)


def test_an_end_that_is_said_in_a_byte_counts_only_when_nothing_follows(engine: MemoryEngine) -> None:
    def script(line: Line, client: Client, _: str) -> None:
        line.received(b"one\x04")
        line.received(b"two\x04")

    code, got = talk(engine, Behaviour(echoes=True), script, says_end=True)
    assert (code, b"".join(data for data, _ in got)) == (0, b"one\x04two")


def test_in_a_terminal_that_byte_is_the_programs_to_understand(engine: MemoryEngine) -> None:
    def script(line: Line, client: Client, container_id: str) -> None:
        line.received(b"one\x04")
        end_when(engine, container_id, lambda: bool(client.got))

    code, got = talk(engine, Behaviour(echoes=True), script, terminal=True, says_end=True)
    assert (code, b"".join(data for data, _ in got)) == (0, b"one\x04")


def test_a_terminal_has_the_size_of_the_clients(engine: MemoryEngine) -> None:
    def script(line: Line, client: Client, container_id: str) -> None:
        line.resized(50, 120)
        end_when(engine, container_id, lambda: engine.window(container_id) == (50, 120))

    assert talk(engine, Behaviour(), script, terminal=True) == (0, [])


def test_a_client_that_leaves_ends_the_conversation(engine: MemoryEngine) -> None:
    code, got = talk(engine, Behaviour(), lambda line, client, _: line.lost())
    assert (code, got) == (-1, [])
