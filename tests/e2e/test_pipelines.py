"""What was tried in one app runs in another: the very same image, with that app's own config."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import Visitor
from tests.e2e.harness import App, Platform, steady_load


@pytest.fixture
def pipeline(platform: Platform) -> Iterator[str]:
    name = f"line-{secrets.token_hex(4)}"
    platform.paas("pipelines:create", name)
    yield name
    platform.paas("pipelines:destroy", name, "--confirm", name)


@pytest.fixture
def staged(pipeline: str, new_app: Callable[[], App]) -> tuple[App, App]:
    """One in staging that serves, and one in production that serves something older."""
    staging, live = new_app(), new_app()
    live.deploy("multi", "one", message="Serve one.")
    live.paas("config:set", "GREETING=Live")
    staging.deploy("multi", "two", message="Serve two.")
    staging.paas("pipelines:add", pipeline, "--stage", "staging")
    live.paas("pipelines:add", pipeline, "--stage", "production")
    return staging, live


def digest_of(app: App) -> str:
    return str(app.json("releases:info")["image"])


def test_a_promotion_runs_the_same_digest_without_a_failed_request(staged: tuple[App, App], platform: Platform):
    staging, live = staged
    preview = staging.paas("pipelines:promote", "--dry-run").out
    assert preview.startswith(f"{live.name}:")
    assert "GREETING" not in preview
    with steady_load(live):
        staging.paas("pipelines:promote", "--why", "It was tried.")
    assert live.answers(version="two", greeting="Live", release="v3")
    assert digest_of(live) == digest_of(staging)
    info = live.json("releases:info")
    assert info["description"].startswith(f"Promote {staging.name} v1 ")
    assert info["why"] == "It was tried."
    live.paas("rollback")
    assert live.answers(version="one", greeting="Live")
    staging.destroy()
    live.paas("rollback", "v3")
    assert live.answers(version="two"), "the image is its own, whatever becomes of the app it came from"
    live.comes_to_rest()


def test_a_promotion_of_what_does_not_boot_there_fails_in_words_and_changes_nothing(staged: tuple[App, App]):
    staging, live = staged
    staging.paas("config:set", "NEEDED=1")
    staging.edit("web.py", "import os\n", "import os\nos.environ['NEEDED']\n")
    staging.commit("Need a var.")
    staging.push().succeeded()
    refused = staging.paas("pipelines:promote", check=False, seconds=180)
    assert refused.code == 1
    assert f"{live.name}" in refused.err
    assert live.answers(version="one", greeting="Live")
    live.comes_to_rest()


def test_one_is_promoted_in_the_browser(staged: tuple[App, App], pipeline: str, visitor: Visitor):
    staging, live = staged
    page = visitor.open(f"/pipelines/{pipeline}")
    expect(page.get_by_text(f"Another image than in {staging.name}")).to_be_visible()
    visitor.check()
    page.get_by_role("link", name=f"Compare {live.name} with {staging.name}").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(live.name)
    visitor.check()
    visitor.open(f"/pipelines/{pipeline}")
    page.get_by_role("link", name=f"Promote {staging.name}").click()
    expect(page.get_by_role("heading", name=f"This will change in {live.name}")).to_be_visible()
    visitor.check()
    page.get_by_role("checkbox", name=live.name).uncheck()
    expect(page.get_by_role("button", name="Promote")).to_be_disabled()
    page.get_by_role("checkbox", name=live.name).check()
    page.get_by_label("Why").fill("It was tried.")
    page.get_by_role("button", name=f"Promote to {live.name}").click()
    expect(page.get_by_text(f"The same image as in {staging.name}")).to_be_visible(timeout=60_000)  # nobody reloads
    expect(page.get_by_text("Succeeded")).to_be_visible(timeout=60_000)
    visitor.check()
    assert live.answers(version="two", greeting="Live")
