"""A client between the loop and a thread."""

from __future__ import annotations

import asyncio
import select
from typing import Any

import pytest

from paas.terminals import line as line_module
from paas.terminals.line import MOST_UNREAD, Line
from tests.unit.paas.terminals.client import Client


def test_a_thread_gets_what_was_received_in_pieces_and_then_the_end() -> None:
    async def scene() -> list[bytes | None]:
        line = Line(Client())
        line.received(b"hello")
        line.received(b"world")
        got = [await asyncio.to_thread(line.recv, 3) for _ in range(4)]
        got.append(await asyncio.to_thread(line.recv, 3))
        line.ended()
        got.append(await asyncio.to_thread(line.recv, 3))
        return got

    assert asyncio.run(scene()) == [b"hel", b"lo", b"wor", b"ld", None, b""]


def test_a_client_that_is_faster_than_its_reader_has_to_wait() -> None:
    async def scene() -> list[bool]:
        client = Client()
        line = Line(client)
        line.received(bytes(MOST_UNREAD + 1))
        states = [client.is_paused]
        while await asyncio.to_thread(line.recv, 64 * 1024):
            pass
        await asyncio.sleep(0)
        return [*states, client.is_paused]

    assert asyncio.run(scene()) == [True, False]


def test_a_client_that_should_send_and_does_not_counts_as_gone() -> None:
    async def scene() -> bytes | None:
        line = Line(Client())
        line.expect(0.0)
        return await asyncio.to_thread(line.recv, 10)

    assert asyncio.run(scene()) == b""


def test_writing_waits_until_the_client_has_room_and_ends_when_it_is_gone() -> None:
    async def scene() -> tuple[Client, Any]:
        client = Client()
        line = Line(client)
        await asyncio.to_thread(line.write, b"one")
        client.news.clear()
        line.pause()
        writing = asyncio.create_task(asyncio.to_thread(line.write, b"two", is_error=True))
        async with asyncio.timeout(20):
            await client.news.wait()
        assert not writing.done()
        line.resume()
        await writing
        line.lost()
        with pytest.raises(OSError, match="has gone"):
            await asyncio.to_thread(line.write, b"three")
        return client, await line.read()

    client, rest = asyncio.run(scene())
    assert (client.got, rest) == ([(b"one", False), (b"two", True)], b"")


def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "PATIENCE_SECONDS", 0.01)

    async def scene() -> bool:
        client = Client()
        line = Line(client)
        line.pause()
        with pytest.raises(OSError, match="takes nothing"):
            await line.say(b"hello")
        return client.is_closed

    assert asyncio.run(scene())


def test_the_bell_rings_for_input_for_a_new_size_and_for_the_end() -> None:
    async def scene() -> list[tuple[bool, bytes]]:
        line = Line(Client())
        heard = []
        with line.bell() as bell:
            line.heed(bell)
            for what in (lambda: line.received(b"x"), lambda: line.resized(40, 100), line.ended):
                quiet = not select.select([bell], [], [], 0)[0]
                what()
                heard.append((quiet and bool(select.select([bell], [], [], 0)[0]), line.take()))
                line.heed(bell)
        assert line.window == (40, 100)
        return heard

    assert asyncio.run(scene()) == [(True, b"x"), (True, b""), (True, b"")]


@pytest.mark.parametrize("size", [(0, 80), (24, 0), (5000, 80), (-1, 5)])
def test_a_size_that_no_terminal_has_is_ignored(size: tuple[int, int]) -> None:
    async def scene() -> Any:
        line = Line(Client())
        line.resized(*size)
        return line.window

    assert asyncio.run(scene()) is None
