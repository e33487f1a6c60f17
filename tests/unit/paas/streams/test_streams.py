"""The streams process, called as a server calls it; the web process behind it is a small one on a socket of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from django.conf import settings
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from paas.streams import asgi, sse
from paas.streams.asgi import Streams
from paas.streams.watch import CHANGES, parse_id
from runtime.logs.read import Filter
from runtime.logs.record import Line, Source
from runtime.logs.store import LogStore

APP = str(uuid.uuid4())
OTHER = str(uuid.uuid4())


@dataclasses.dataclass
class Web:
    """Answers every question with what `grants` holds for its path."""

    grants: dict[str, Any] = dataclasses.field(default_factory=dict)
    asked: list[str] = dataclasses.field(default_factory=list)
    cookies: set[str] = dataclasses.field(default_factory=set)
    secrets: set[str] = dataclasses.field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1].partition("?")[0].removeprefix("/-")
        self.asked.append(path)
        lines = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in head.split("\r\n"))]
        self.cookies |= {value for name, value in lines if name == "cookie"}
        self.secrets |= {value for name, value in lines if name == "authorization"}
        grant = self.grants.get(path)
        body = json.dumps(grant).encode() if grant is not None else b"<h1>Nothing here</h1>"
        status = "200 OK" if grant is not None else "404 Not Found"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()


class Visit:
    """One request, as far as its answer has come."""

    def __init__(self, streams: Streams, path: str, query: str, headers: dict[str, str]) -> None:
        self.status, self.text = 0, ""
        self.headers: dict[str, str] = {}
        self.arrived = asyncio.Event()
        self._gone = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()
        scope = {
            "type": "http",
            "method": "GET",
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
        self.task = asyncio.create_task(streams(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, str]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.takes.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.text += message["body"].decode()
        self.arrived.set()

    async def until(self, is_enough: Callable[[str], bool]) -> str:
        async with asyncio.timeout(10):
            while not is_enough(self.text):
                self.arrived.clear()
                await self.arrived.wait()
        return self.text

    async def end(self) -> str:
        async with asyncio.timeout(10):
            await self.task
        return self.text

    async def leave(self) -> None:
        self._gone.set()
        await self.end()


class Stage:
    def __init__(self, streams: Streams, web: Web, redis: Any) -> None:
        self.streams, self.web, self.redis = streams, web, redis

    def visit(self, path: str, query: str = "", **headers: str) -> Visit:
        return Visit(self.streams, path, query, {"cookie": "paas_session=alice", **headers})

    async def change(self, app: str) -> str:
        return str(await self.redis.xadd(CHANGES, {"app": app}))


@asynccontextmanager
async def on_stage(**how: float) -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory() as folder:  # short, as paths of sockets have to be
        env = dataclasses.replace(settings.ENV, home=Path(folder))
        env.run_dir.mkdir()
        (env.home / "builds").mkdir()
        redis = fakeredis.FakeAsyncRedis(decode_responses=True)
        web = Web()
        streams = Streams(env, redis, **how)
        server = await asyncio.start_unix_server(web.serve, env.run_dir / "web.sock")
        listening = asyncio.create_task(streams.changes.run())
        try:
            yield Stage(streams, web, redis)
        finally:
            listening.cancel()
            server.close()
            await redis.aclose()


def played(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scene())


class Build:
    PATH = "/streams/apps/hello/builds/1"

    def __init__(self, stage: Stage) -> None:
        self.id, self._stage = uuid.uuid4(), stage
        self.file = stage.streams._env.home / "builds" / f"{self.id}.log"
        self.told(None)

    def told(self, outcome: dict[str, object] | None) -> None:
        self._stage.web.grants[self.PATH] = {"kind": "file", "file": str(self.id), "app": APP, "outcome": outcome}

    def write(self, text: str) -> None:
        with self.file.open("a", newline="") as file:
            file.write(text)


def test_a_build_log_is_told_from_its_beginning_as_it_grows_and_ends_with_the_result():
    async def scene() -> None:
        async with on_stage() as stage:
            build = Build(stage)
            build.write("-----> one\n       two\n")
            visit = stage.visit(build.PATH)
            await visit.until(lambda text: "two" in text)
            build.write("three\n")
            await visit.until(lambda text: "three" in text)
            build.write("four")  # not whole yet, and nobody will end it
            build.told({"status": "failed", "reason": "It broke."})
            await stage.change(APP)
            assert await visit.end() == (
                "retry: 2000\n\n"
                "id: 2\ndata: -----> one\ndata:        two\n\n"
                "id: 3\ndata: three\n\n"
                "id: 4\ndata: four\n\n"
                'event: end\nid: 4\ndata: {"status": "failed", "reason": "It broke."}\n\n'
            )
            assert stage.web.cookies == {"paas_session=alice"}

    played(scene)


@pytest.mark.parametrize("how", [{"query": "after=2"}, {"last-event-id": "2", "query": "after=0"}])
def test_a_build_log_is_joined_again_after_a_line(how: dict[str, str]):
    async def scene() -> None:
        async with on_stage() as stage:
            build = Build(stage)
            build.write("one\rfirst\ntwo\nthree\n")
            build.told({"status": "succeeded"})
            text = await stage.visit(build.PATH, **how).end()
            assert text.startswith("retry: 2000\n\nid: 3\ndata: three\n\nevent: end\n")

    played(scene)


def test_who_joins_after_more_lines_than_there_are_gets_the_result():
    async def scene() -> None:
        async with on_stage() as stage:
            build = Build(stage)
            build.write("one\n")
            build.told({"status": "succeeded"})
            text = await stage.visit(build.PATH, "after=7").end()
            assert text == 'retry: 2000\n\nevent: end\nid: 1\ndata: {"status": "succeeded"}\n\n'

    played(scene)


def test_what_the_web_process_refuses_is_refused():
    async def scene() -> None:
        async with on_stage() as stage:
            visit = stage.visit("/streams/apps/secret/builds/1")
            assert (await visit.end(), visit.status) == ("No stream for you here.\n", 404)
            assert stage.web.asked == ["/streams/apps/secret/builds/1"]

    played(scene)


def test_a_stream_ends_when_its_reader_may_not_see_the_app_any_more():
    async def scene() -> None:
        async with on_stage(look_again_seconds=0.05) as stage:
            build = Build(stage)
            build.write("one\n")
            visit = stage.visit(build.PATH)
            await visit.until(lambda text: "one" in text)
            stage.web.grants.clear()
            text = await visit.end()
            build.write("two\n")
            assert "two" not in text
            assert stage.streams.open == 0

    played(scene)


def test_a_web_process_that_does_not_answer_ends_a_stream_only_after_a_while():
    async def scene() -> None:
        async with on_stage(look_again_seconds=0.05, patience_seconds=0.4) as stage:
            build = Build(stage)
            visit = stage.visit(build.PATH)
            await visit.until(bool)
            (stage.streams._env.run_dir / "web.sock").unlink()
            build.write("still told\n")
            await visit.until(lambda text: "still told" in text)
            await visit.end()

    played(scene)


def test_comments_keep_a_silent_connection_open():
    async def scene() -> None:
        async with on_stage(look_again_seconds=0.05) as stage:
            visit = stage.visit(Build(stage).PATH)
            await visit.until(lambda text: text.count(": still here\n\n") >= 2)
            await visit.leave()
            assert stage.streams.open == 0

    played(scene)


def test_a_reader_that_takes_nothing_holds_up_nobody_and_is_given_up(monkeypatch: pytest.MonkeyPatch):
    async def scene() -> None:
        monkeypatch.setattr(asgi, "SEND_SECONDS", 0.5)
        async with on_stage() as stage:
            build = Build(stage)
            slow, quick = stage.visit(build.PATH), stage.visit(build.PATH)
            await slow.until(bool)
            slow.takes.clear()
            build.write("one\n")
            await quick.until(lambda text: "one" in text)
            await slow.end()
            await quick.leave()

    played(scene)


def test_changes_are_told_of_the_apps_that_somebody_sees_and_of_no_other():
    async def scene() -> None:
        async with on_stage() as stage:
            stage.web.grants["/streams/changes"] = {"kind": "changes", "apps": [APP]}
            visit = stage.visit("/streams/changes")
            await visit.until(bool)
            await stage.change(OTHER)
            first = await stage.change(APP)
            text = await visit.until(lambda text: "changed" in text)
            assert text == f'retry: 2000\n\nevent: changed\nid: {first}\ndata: {{"apps": ["{APP}"]}}\n\n'
            await visit.leave()

            missed = await stage.change(APP)
            again = stage.visit("/streams/changes", **{"last-event-id": first})
            assert f"id: {missed}\n" in await again.until(lambda text: "changed" in text)
            await again.leave()

    played(scene)


def test_an_admin_hears_of_every_app_and_a_page_of_what_happened_while_it_was_made():
    async def scene() -> None:
        async with on_stage() as stage:
            stage.web.grants["/streams/changes"] = {"kind": "changes", "apps": None}
            made_at = int((await stage.change(OTHER)).partition("-")[0])
            visit = stage.visit("/streams/changes", f"after={made_at}")
            assert OTHER in await visit.until(lambda text: "changed" in text)
            await visit.leave()

    played(scene)


@settings_of_hypothesis(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r")), min_size=1))
def test_lines_arrive_as_they_were_sent(lines: list[str]):
    text = sse.event("message", lines, id="1").decode()
    assert text.endswith("\n\n")
    fields = text.removesuffix("\n\n").split("\n")
    assert fields[0] == "id: 1"
    assert [field.removeprefix("data: ") for field in fields[1:]] == lines


@given(st.text())
def test_any_last_event_id_is_understood_somehow(text: str):
    assert parse_id(text) >= (-1, 0)


# Addresses that the API gave away


class Session:
    PATH = "/streams/log-sessions/5ec7e7"

    def __init__(self, stage: Stage, *, lines: int = 100, tail: bool = False) -> None:
        self._store = LogStore(stage.streams._env.app_logs)
        stage.web.grants[self.PATH] = {
            "kind": "session",
            "app": APP,
            "filter": Filter().dump(),
            "lines": lines,
            "tail": tail,
        }

    def say(self, *texts: str) -> None:
        at = datetime(2026, 11, 25, 9, tzinfo=UTC)
        self._store.append(APP, [Line(at, Source.APP, "web.1", text) for text in texts])


STAMP = "2026-11-25T09:00:00.000000+00:00 app[web.1]:"
EVENTS = {"accept": "text/event-stream"}


def test_a_log_session_tells_the_newest_lines_and_ends():
    async def scene() -> None:
        async with on_stage() as stage:
            session = Session(stage, lines=2)
            session.say("one", "two", "three")
            visit = stage.visit(session.PATH)
            assert await visit.end() == f"{STAMP} two\n{STAMP} three\n"
            assert visit.headers["content-type"] == "text/plain; charset=utf-8"

            visit = stage.visit(session.PATH, **EVENTS)
            text = await visit.end()
            assert visit.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert re.sub(r"id: [0-9]+-[0-9]+", "id: N", text) == f"data: {STAMP} two\n\nid: N\ndata: {STAMP} three\n\n"

    played(scene)


@pytest.mark.parametrize("accept", [{}, EVENTS])
def test_a_tail_goes_on_and_is_joined_again_where_it_broke_off(accept: dict[str, str]):
    async def scene() -> None:
        async with on_stage(look_again_seconds=0.05) as stage:
            session = Session(stage, lines=1, tail=True)
            session.say("one", "two")
            visit = stage.visit(session.PATH, **accept)
            await visit.until(lambda text: "two" in text)
            session.say("three")
            text = await visit.until(lambda text: "three" in text)
            assert "one" not in text
            await visit.leave()
            session.say("four")
            if accept:
                last = re.findall(r"id: (\S+)", text)[-1]
                again = stage.visit(session.PATH, **accept, **{"last-event-id": last})
                text = await again.until(lambda text: "four" in text)
                assert "three" not in text
                await again.until(lambda text: ": still here" in text)
                await again.leave()

    played(scene)


def test_a_log_without_lines_is_an_empty_answer():
    async def scene() -> None:
        async with on_stage() as stage:
            visit = stage.visit(Session(stage).PATH)
            assert (await visit.end(), visit.status) == ("", 200)

    played(scene)


def test_output_is_told_as_it_is_until_there_is_a_result():
    async def scene() -> None:
        async with on_stage(look_again_seconds=0.05) as stage:
            build = Build(stage)
            path = "/streams/output/builds.x"
            stage.web.grants[path] = {**stage.web.grants[build.PATH], "kind": "output"}
            build.write("one\ntwo\n")
            visit = stage.visit(path)
            await visit.until(lambda text: "two" in text)
            build.write("three")
            stage.web.grants[path] |= {"outcome": {"status": "succeeded"}}
            await stage.change(APP)
            assert await visit.end() == "one\ntwo\nthree\n"
            assert visit.headers["content-type"] == "text/plain; charset=utf-8"

    played(scene)
