"""`uvicorn --factory paas.streams.asgi:make_application`: what answers below /streams/."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

# redis and uvicorn load what development tools brought; see paas.logging.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]

import redis.asyncio  # noqa: E402

from paas import env as environment  # noqa: E402
from paas.streams import logins  # noqa: E402
from paas.streams.grants import Answer, Grants, Question, WebUnavailable  # noqa: E402
from paas.streams.readers import (  # noqa: E402
    ChangesReader,
    FileReader,
    LogReader,
    OutputReader,
    Reader,
    SessionReader,
)
from paas.streams.watch import Changes, EntryId, Files, parse_id  # noqa: E402

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PREFIX = b"/streams/"
MOST_STREAMS = 2000
SEND_SECONDS = 60.0  # a browser that takes nothing for this long is gone
PAUSE_SECONDS = 0.05  # between two looks: many lines become one event
HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


class Streams:
    def __init__(
        self,
        env: environment.Env,
        client: redis.asyncio.Redis,
        *,
        look_again_seconds: float = 15.0,  # at the person's access; a comment keeps the connection open as often
        patience_seconds: float = 90.0,  # with a web process that does not answer
        hold_seconds: float = logins.HOLD_SECONDS,
    ) -> None:
        self._env = env
        self._look_again, self._patience, self._hold = look_again_seconds, patience_seconds, hold_seconds
        self.grants = Grants(env.run_dir / "web.sock")
        self.files = Files()
        self.changes = Changes(client)
        self.open = 0
        self._listening: asyncio.Task[None] | None = None

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            return
        path: bytes = scope["raw_path"]
        if path == b"/streams/-/health":
            well = self.changes.is_connected
            await _answer(send, 200 if well else 503, "ok\n" if well else "Redis does not answer.\n")
        elif not path.startswith(PREFIX):
            await _answer(send, 404, "Nothing here.\n")
        elif scope["method"] != "GET":
            await _answer(send, 405, "Only GET.\n", (b"allow", b"GET"))
        elif self.open >= MOST_STREAMS:
            await _answer(send, 503, "Too many streams are open.\n", (b"retry-after", b"10"))
        else:
            self.open += 1
            try:
                await self._serve(scope, receive, send)
            finally:
                self.open -= 1

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._listening = asyncio.create_task(self.changes.run())
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._listening is not None:
                    self._listening.cancel()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _serve(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query: bytes = scope["query_string"]
        target = scope["raw_path"].removeprefix(PREFIX) + (b"?" + query if query else b"")
        question = Question(
            target.decode("latin-1"),
            headers.get("cookie", ""),
            {
                name: headers[name]
                for name in ("x-request-id", "x-forwarded-proto", "x-forwarded-for", "user-agent")
                if name in headers
            },
        )
        if target.startswith(logins.PREFIX):
            asked = replace(question, authorization=headers.get("authorization", ""))
            status, body = await logins.wait_for_token(self.grants, asked, receive, hold_seconds=self._hold)
            await _answer(send, status, body, (b"cache-control", b"no-store"), kind=b"application/json")
            return
        seen = self.changes.newest
        try:
            answer = await self.grants.ask(question)
        except WebUnavailable:
            await _answer(send, 503, "The dashboard does not answer.\n", (b"retry-after", b"2"))
            return
        if answer.status != 200:
            await _answer(send, answer.status if answer.status >= 400 else 401, "No stream for you here.\n")
            return
        given = parse_qs(query.decode("latin-1"))
        after = headers.get("last-event-id") or given.get("after", [""])[0]
        reader = self._reader(answer.grant, after, seen, as_events="text/event-stream" in headers.get("accept", ""))
        facts = [(b"content-type", reader.manner.content_type), *HEADERS]
        await send({"type": "http.response.start", "status": 200, "headers": facts})
        await send({"type": "http.response.body", "body": reader.manner.opening, "more_body": True})
        relaying = asyncio.create_task(self._relay(reader, question, send))
        leaving = asyncio.create_task(logins.until_gone(receive))
        try:
            await asyncio.wait({relaying, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if relaying.done():
                relaying.result()
                await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            pass  # it takes nothing any more
        finally:
            for task in (relaying, leaving):
                task.cancel()

    def _reader(self, grant: Mapping[str, Any], after: str, seen: EntryId, *, as_events: bool) -> Reader:
        """`as_events`: what a client of the API accepts."""
        builds, logs = self._env.home / "builds", self._env.app_logs
        files, changes = self.files, self.changes
        match grant["kind"]:
            case "file":
                return FileReader(builds, grant, after, files=files, changes=changes, seen=seen)
            case "output":
                return OutputReader(builds, grant, after, files=files, changes=changes, seen=seen)
            case "logs":
                return LogReader(logs, grant, after, files=files, changes=changes, seen=seen)
            case "session":
                return SessionReader(logs, grant, after, files=files, changes=changes, seen=seen, as_events=as_events)
            case _:
                return ChangesReader(grant, parse_id(after) if after else seen, changes)

    async def _relay(self, reader: Reader, question: Question, send: Send) -> None:
        """Until there is nothing more to come, or the person may not see it any longer."""
        heard = time.monotonic()
        look_again = heard + self._look_again
        with reader.watching():
            while True:
                reader.woken.clear()
                is_time = time.monotonic() >= look_again
                if is_time or reader.wants_renewal():
                    look_again = time.monotonic() + self._look_again
                    answer = await self._ask_again(question)
                    if answer is None:
                        if time.monotonic() - heard > self._patience:
                            return
                    elif answer.status != 200:
                        return
                    else:
                        heard = time.monotonic()
                        reader.renew(answer.grant)
                while events := await reader.pull():
                    await _write(send, events)
                last = reader.last_words()
                if last is not None:
                    await _write(send, last)
                    return
                if is_time and reader.manner.keepalive:
                    await _write(send, reader.manner.keepalive)
                await asyncio.sleep(PAUSE_SECONDS)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.woken.wait(), max(0.0, look_again - time.monotonic()))

    async def _ask_again(self, question: Question) -> Answer | None:
        try:
            answer = await self.grants.ask(question)
        except WebUnavailable:
            return None
        return answer if answer.status < 500 else None


async def _write(send: Send, events: bytes) -> None:
    """Waits for a slow reader. Raises TimeoutError when that takes too long."""
    async with asyncio.timeout(SEND_SECONDS):
        await send({"type": "http.response.body", "body": events, "more_body": True})


async def _answer(
    send: Send, status: int, text: str, *headers: tuple[bytes, bytes], kind: bytes = b"text/plain; charset=utf-8"
) -> None:
    body = text.encode()
    facts = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": facts})
    await send({"type": "http.response.body", "body": body})


def make_application() -> Streams:
    env = environment.load()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
    return Streams(env, redis.asyncio.Redis.from_url(env.redis_url, decode_responses=True, socket_timeout=10))
