"""A program's question for its token is held until somebody has confirmed it in the browser."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from paas.streams.grants import Answer, Question, WebUnavailable
from paas.streams.logins import wait_for_token
from tests.unit.paas.streams.test_streams import on_stage, played

PATH = "/streams/logins/1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
PENDING = Answer(200, {"state": "pending"})


class Web:
    """Answers the questions one after the other; the last one for ever."""

    def __init__(self, *answers: Answer | WebUnavailable) -> None:
        self.asked = 0
        self._answers = list(answers)

    async def ask(self, question: Question) -> Answer:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, WebUnavailable):
            raise answer
        return answer


def held(web: Web, *, hold_seconds: float = 30, gone: bool = False) -> tuple[int, Any]:
    async def scene() -> tuple[int, str]:
        async def receive() -> dict[str, Any]:
            if not gone:
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        grants: Any = web
        return await wait_for_token(grants, Question("", ""), receive, hold_seconds=hold_seconds, pause_seconds=0.001)

    status, body = asyncio.run(scene())
    return status, json.loads(body)


def test_the_token_comes_as_soon_as_somebody_has_confirmed():
    web = Web(PENDING, PENDING, Answer(200, {"access_token": "paas_1"}))
    assert held(web) == (200, {"access_token": "paas_1"})
    assert web.asked == 3


def test_a_refusal_comes_as_well():
    assert held(Web(PENDING, Answer(200, {"error": "No."}))) == (200, {"error": "No."})


def test_a_login_that_is_not_there_ends_at_once():
    assert held(Web(Answer(404, {})))[0] == 404


def test_without_an_answer_the_client_is_told_to_ask_again():
    assert held(Web(PENDING), hold_seconds=0.02)[0] == 503
    assert held(Web(WebUnavailable()))[0] == 503


def test_nobody_is_asked_for_a_client_that_has_gone():
    web = Web(PENDING)
    held(web, gone=True)
    assert web.asked <= 2


def test_the_streams_process_asks_with_the_programs_secret():
    async def scene() -> None:
        async with on_stage(hold_seconds=0.05) as stage:
            stage.web.grants[PATH] = {"state": "pending"}
            visit = stage.visit(PATH, authorization="Bearer secret")
            assert "Nobody has confirmed yet" in await visit.end()
            assert visit.status == 503
            assert stage.web.secrets == {"Bearer secret"}
            stage.web.grants[PATH] = {"access_token": "paas_1"}
            visit = stage.visit(PATH, authorization="Bearer secret")
            assert json.loads(await visit.end()) == {"access_token": "paas_1"}
            assert visit.status == 200

    played(scene)


def test_who_shows_another_secret_asks_another_question():
    """The same questions are asked once for all who wait, and an answer may be a token."""
    first, second = (Question("logins/x", "", {}, secret) for secret in ("Bearer one", "Bearer two"))
    assert first != second
