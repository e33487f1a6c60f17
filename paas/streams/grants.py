"""Asks the web process what a stream is made of, and whether this person may see it.

`/streams/X` is granted by `/-/streams/X`, asked with the person's own cookie: sessions, roles and "no access means 404"
stay in one place, and this process needs neither Django nor the database.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11

TIMEOUT_SECONDS = 15.0
AT_ONCE = 3  # of the web process's threads; when all readers come back after a restart, pages must go on
MAX_BYTES = 256 * 1024


class WebUnavailable(Exception):
    """The web process did not answer; this says nothing about the person."""


@dataclass(frozen=True, slots=True)
class Question:
    target: str  # path and query below /streams/
    cookie: str
    forwarded: Mapping[str, str] = field(default_factory=dict, compare=False)
    authorization: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    grant: Mapping[str, Any]


class Grants:
    def __init__(self, socket: Path) -> None:
        self._socket = str(socket)
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting: dict[Question, asyncio.Task[Answer]] = {}

    async def ask(self, question: Question) -> Answer:
        """The same question from several tabs is asked once, unless it has been sent already: the answer to that may be
        older than what made us ask. Raises `WebUnavailable`."""
        waiting = self._waiting.get(question)
        if waiting is None:
            waiting = self._waiting[question] = asyncio.create_task(self._in_turn(question))
        return await asyncio.shield(waiting)

    async def _in_turn(self, question: Question) -> Answer:
        async with self._turn:
            del self._waiting[question]
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    return await self._exchange(question)
            except (OSError, TimeoutError, h11.ProtocolError, ValueError) as exc:
                raise WebUnavailable(str(exc)) from exc

    async def _exchange(self, question: Question) -> Answer:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            connection = h11.Connection(h11.CLIENT)
            headers = {
                "Host": "streams",
                **question.forwarded,
                "Cookie": question.cookie,
                "Authorization": question.authorization,
                "Connection": "close",
            }
            request = h11.Request(
                method="GET",
                target=f"/-/streams/{question.target}".encode("latin-1"),
                headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items() if value],
            )
            writer.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
            await writer.drain()
            status, body = 0, b""
            while True:
                received = connection.next_event()
                if received is h11.NEED_DATA:
                    connection.receive_data(await reader.read(65536))
                elif isinstance(received, h11.Response):
                    status = received.status_code
                elif isinstance(received, h11.Data):
                    body += received.data
                    if len(body) > MAX_BYTES:
                        raise ValueError("the answer is too long")
                elif isinstance(received, h11.EndOfMessage):
                    return Answer(status, json.loads(body) if status == 200 else {})
                elif isinstance(received, h11.ConnectionClosed):
                    raise ValueError("the connection was closed")
        finally:
            writer.close()
