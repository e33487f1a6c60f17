"""A program that waits for its token while a person confirms in the browser: asked for it here, it is answered as soon as
there is one. Heroku's command line asks four times at most, each time for as long as we let it wait."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from paas.streams.grants import Grants, Question, WebUnavailable

PREFIX = b"logins/"
HOLD_SECONDS = 50.0  # clients wait for 60
PAUSE_SECONDS = 1.0

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def wait_for_token(
    grants: Grants, question: Question, receive: Receive, *, hold_seconds: float, pause_seconds: float = PAUSE_SECONDS
) -> tuple[int, str]:
    """Status and body of the answer. 503, when nobody has confirmed yet, means: ask again."""
    leaving = asyncio.ensure_future(until_gone(receive))
    deadline = time.monotonic() + hold_seconds
    try:
        while True:
            try:
                answer = await grants.ask(question)
            except WebUnavailable:
                return 503, _body({"error": "The platform does not answer."})
            if answer.status != 200:
                return 404, _body({"error": "There is no such login, or it is too late."})
            if "state" not in answer.grant:
                return 200, _body(answer.grant)
            left = deadline - time.monotonic()
            if left <= 0 or leaving.done():
                return 503, _body({"error": "Nobody has confirmed yet."})
            await asyncio.wait({leaving}, timeout=min(pause_seconds, left))
    finally:
        leaving.cancel()


def _body(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values))


async def until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
