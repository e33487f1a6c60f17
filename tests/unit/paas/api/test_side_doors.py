"""What Heroku's clients ask of other hosts of Heroku's: its status page and its registry of buildpacks."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from paas.machine import health
from tests.unit.paas.api.conftest import ACCEPT, ApiClient

pytestmark = pytest.mark.django_db


def anonymous(path: str, accept: str = "application/json") -> Any:
    return Client(raise_request_exception=False).get(path, headers={"X-Paas-Door": "api", "Accept": accept})


def test_the_status_page_says_that_all_is_well():
    answer = anonymous("/api/v4/current-status")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": [{"system": "Apps", "status": "green"}, {"system": "Tools", "status": "green"}],
        "incidents": [],
        "scheduled": [],
    }


@pytest.mark.parametrize(
    ("part", "apps", "tools"), [("router", "red", "green"), ("git", "green", "yellow"), ("agent", "green", "yellow")]
)
def test_an_ill_part_is_seen_by_its_colour_and_no_more(monkeypatch: pytest.MonkeyPatch, part: str, apps: str, tools: str):
    well = health.checks()
    monkeypatch.setattr(health, "checks", lambda **_: {**well, part: lambda: "secret details"})
    answer = anonymous("/api/v4/current-status")
    assert [each["status"] for each in answer.json()["status"]] == [apps, tools]
    assert b"secret" not in answer.content


def test_buildpacks_are_found_as_the_cli_asks_for_them(api: ApiClient):
    assert {f"{each['namespace']}/{each['name']}" for each in anonymous("/buildpacks").json()} == {
        "heroku/python",
        "heroku/nodejs",
        "heroku-community/static",
    }
    by_name = anonymous("/buildpacks?in[name][]=python&in[name][]=cobol").json()
    by_words = anonymous("/buildpacks?like[description]=LOCK").json()
    assert [each["name"] for each in by_name] == ["python"]
    assert [each["name"] for each in by_words] == ["python", "nodejs"]
    assert anonymous("/buildpacks?in[namespace][]=heroku&in[name][]=static").json() == []
    assert anonymous("/buildpacks/cobol%2Fsixty").status_code == 404

    found = anonymous("/buildpacks/heroku%2Fpython", f"{ACCEPT}.buildpack-registry").json()["blob_url"]
    api.post("/apps", {"name": "hello"})
    answer = api.put("/apps/hello/buildpack-installations", {"updates": [{"buildpack": found}]})
    assert [each["buildpack"]["name"] for each in answer.data] == ["heroku/python"]
