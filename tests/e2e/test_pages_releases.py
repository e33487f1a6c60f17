"""Releases in a real browser: read, compare, go back, tag and pin, with scripts and without."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import Person, Visitor
from tests.e2e.harness import App, Platform


@pytest.fixture(scope="module")
def shop(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """v1 and v3 are deploys, v2 sets a config var, v4 changes it; what tests add comes after that."""
    app = App(platform, tmp_path_factory.mktemp("shop"))
    try:
        app.deploy("flask", "one", message="Serve one.")
        app.paas("config:set", "GREETING=canary-old")
        app.deploy(version="two", message="Serve two.")
        app.paas("config:set", "GREETING=canary-new", "EXTRA=1")
        yield app
    finally:
        app.destroy()


def next_version(app: App) -> str:
    return f"v{app.releases()[-1]['version'] + 1}"


def item(page: Page, version: str):
    """A release in the timeline."""
    return page.get_by_role("listitem").filter(has=page.get_by_role("link", name=version, exact=True))


def test_the_timeline_leads_to_releases_and_comparisons(visitor: Visitor, shop: App):
    page = visitor.open(f"/apps/{shop.name}/releases")
    expect(item(page, f"v{shop.json('releases:info')['version']}")).to_contain_text("Current")
    expect(item(page, "v3")).to_contain_text("Serve two.")
    visitor.check()
    page.get_by_role("link", name="v3", exact=True).click()
    expect(page.get_by_role("heading", name="v3 Deploy")).to_be_visible()
    expect(page.get_by_role("row", name="web")).to_be_visible()
    visitor.check()
    page.go_back()
    page.get_by_label("Compare").fill("v2")
    page.get_by_label("with", exact=True).fill("v4")
    page.get_by_role("button", name="Show changes").click()
    expect(page.get_by_text("forward by 1 commit")).to_be_visible()
    assert "canary" not in page.content()
    visitor.check()
    page.get_by_role("button", name="Reveal values").click()
    expect(page.get_by_text("canary-old")).to_be_visible()
    visitor.check()


def test_a_rollback_is_chosen_part_by_part_before_it_is_made(visitor: Visitor, shop: App):
    shop.paas("rollback", "v4")
    made = next_version(shop)
    page = visitor.open(f"/apps/{shop.name}/releases")
    item(page, "v1").get_by_role("link", name="Roll back").click()
    expect(page.get_by_text("back by 1 commit")).to_be_visible()
    visitor.check()
    page.get_by_label("Why").fill("Two is slow.")
    for part in ("Config", "Ports", "Limits", "Health"):
        page.get_by_role("checkbox", name=re.compile(f"^{part}")).uncheck()
    expect(page.get_by_role("button", name="Roll back to v1: code", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Config")).to_have_count(0)
    expect(page.get_by_label("Why")).to_have_value("Two is slow.")
    page.get_by_role("button", name="Roll back to v1: code", exact=True).click()
    expect(item(page, made)).to_contain_text("“Two is slow.”")
    expect(item(page, made)).to_contain_text("Current")  # nobody reloads
    assert shop.answers(version="one", greeting="canary-new")
    visitor.check()


def test_a_rollback_needs_no_scripts(platform: Platform, chromium: Browser, admin: Person, shop: App):
    shop.paas("rollback", "v4")
    made = next_version(shop)
    context = chromium.new_context(base_url=platform.info["dashboard_url"], java_script_enabled=False)
    page = context.new_page()
    page.goto("/login")
    page.get_by_label("E-mail").fill(admin.email)
    page.get_by_label("Password").fill(admin.password)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"/apps/{shop.name}/releases/2/rollback")
    page.get_by_role("checkbox", name=re.compile("^Code")).uncheck()
    page.get_by_role("button", name="Show what would change").click()
    page.get_by_role("button", name="Roll back to v2: config, ports, limits, health").click()
    expect(item(page, made)).to_be_visible()
    shop.comes_to_rest()
    assert shop.answers(version="two", greeting="canary-old")
    context.close()


def test_tags_and_pins_are_set_in_the_browser(visitor: Visitor, shop: App):
    shop.paas("rollback", "v4")
    made = next_version(shop)
    page = visitor.open(f"/apps/{shop.name}/releases/2")
    page.get_by_role("button", name="Pin").click()
    expect(page.get_by_role("button", name="Unpin")).to_be_visible()
    page.get_by_role("link", name="Tag its image").click()
    visitor.check()
    page.get_by_label("Name").fill("v7")
    page.get_by_role("button", name="Add or move").click()
    expect(page.locator(".field-error")).to_contain_text("kept by the platform")
    visitor.check(may_complain="422")
    page.get_by_label("Name").fill("stable")
    page.get_by_role("button", name="Add or move").click()
    row = page.get_by_role("row", name="stable")
    row.get_by_role("button", name="Protect").click()
    expect(row).to_contain_text("protected")
    expect(row.get_by_role("button", name="Remove")).to_have_count(0)
    expect(row.get_by_role("link", name="Roll back")).to_be_visible()
    visitor.check(may_complain="422")
    row.get_by_role("link", name="Deploy").click()
    expect(page.get_by_role("heading", name="Code")).to_be_visible()
    visitor.check(may_complain="422")
    page.get_by_role("button", name="Deploy stable").click()
    expect(item(page, made)).to_contain_text("Current")
    assert shop.answers(version="one", greeting="canary-new")


def test_a_page_of_releases_is_under_150_kb_with_everything(visitor: Visitor, shop: App):
    for path in ("", "/3", "/compare?from=v1&to=v4", "/2/rollback", "/tags"):
        assert visitor.transferred(f"/apps/{shop.name}/releases{path}") < 150_000, path
