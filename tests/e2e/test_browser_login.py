"""A program signs in through the browser, as `heroku login` and `paas login` do."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.browser import Visitor
from tests.e2e.harness import Platform


@pytest.fixture
def api(platform: Platform) -> Iterator[httpx.Client]:
    with platform.http(seconds=70) as client:
        yield client


def test_a_program_gets_its_token_when_somebody_confirms_its_code(
    platform: Platform, api: httpx.Client, visitor: Visitor
) -> None:
    begun = api.post("/auth", json={"description": "paas on laptop"}).json()
    code = begun["browser_url"].rpartition("/")[2]
    lead = api.get(begun["browser_url"])
    assert (lead.status_code, lead.headers["Location"].endswith(f"/login/programs/{code}")) == (302, True)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.get, begun["cli_url"], headers={"Authorization": f"Bearer {begun['token']}"})
        page = visitor.open(f"/login/programs/{code}")
        assert page.get_by_text(code, exact=True).is_visible()
        assert page.get_by_text("paas on laptop").is_visible()
        visitor.check()
        page.get_by_role("button", name="Yes, sign it in").click()
        page.get_by_role("heading", name="You can go back to your terminal").wait_for()
        visitor.check()
        answer = waiting.result(timeout=70)
    assert answer.status_code == 200, answer.text
    with platform.http(answer.json()["access_token"]) as program:
        assert program.get("/apps").status_code == 200
        assert program.delete("/oauth/authorizations/~").status_code == 200
        assert program.get("/apps").status_code == 401


def test_a_program_that_somebody_refuses_gets_none(api: httpx.Client, visitor: Visitor) -> None:
    begun = api.post("/auth", json={"description": "somebody else's"}).json()
    page = visitor.open(f"/login/programs/{begun['browser_url'].rpartition('/')[2]}")
    page.get_by_role("button", name="No, refuse it").click()
    page.get_by_role("heading", name="Nothing was signed in").wait_for()
    answer = api.get(begun["cli_url"], headers={"Authorization": f"Bearer {begun['token']}"})
    assert (answer.status_code, list(answer.json())) == (200, ["error"])
