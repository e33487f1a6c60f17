"""The dashboard as ops people use it: sign in, look at apps, follow a build, search, destroy."""

from __future__ import annotations

from contextlib import closing

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.browser import Visitor, make_person
from tests.e2e.harness import App, Platform


def test_signing_in_takes_the_right_password(stranger: Visitor, platform: Platform):
    person = make_person(platform)
    page = stranger.open("/apps/nothing")
    page.get_by_label("E-mail").fill(person.email)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("don't match")
    stranger.check(may_complain="422")
    page.get_by_label("Password").fill(person.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("No app named 'nothing'")
    stranger.check(may_complain=("422", "404"))


def test_the_patterns_hold_what_every_page_has_to(visitor: Visitor):
    visitor.open("/-/patterns")
    visitor.check()


def test_an_app_is_created_in_the_browser(visitor: Visitor, new_app, platform: Platform):
    app: App = new_app()
    page = visitor.open("/")
    page.get_by_role("link", name="Create app").click()
    visitor.check()
    page.get_by_label("Name").fill("Not a name")
    page.get_by_role("button", name="Create app").click()
    expect(page.locator(".field-error")).to_contain_text("lower-case letters")
    visitor.check(may_complain="422")
    page.get_by_label("Name").fill(app.name)
    page.get_by_role("button", name="Create app").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(app.name)
    expect(page.get_by_text(f"git remote add paas {platform.info['git_url']}/{app.name}.git")).to_be_visible()
    visitor.check(may_complain="422")


def test_the_overview_shows_what_runs_and_follows_it(visitor: Visitor, steady: App):
    page = visitor.open(f"/apps/{steady.name}")
    instances = page.get_by_role("row", name="web.1")
    expect(instances).to_contain_text("Up")
    visitor.check()
    steady.paas("ps:scale", "web=2")
    expect(page.get_by_role("row", name="web.2")).to_contain_text("Up")  # nobody reloads
    steady.paas("ps:scale", "web=1")
    expect(page.get_by_role("row", name="web.2")).to_have_count(0)
    visitor.open("/")
    expect(page.get_by_role("row", name=steady.name)).to_contain_text("2 of 2")
    visitor.check()


def test_a_build_is_followed_left_joined_again_and_stopped(visitor: Visitor, app: App):
    app.use_slow_build(40)
    app.commit("Build slowly.")
    push = app.start_push()
    push.wait_for("-----> Build 1")
    page = visitor.open(f"/apps/{app.name}/builds/1")
    log = page.get_by_label("Build log")
    expect(log).to_contain_text("tick 2", timeout=60_000)
    visitor.check()
    page.goto("about:blank")
    visitor.open(f"/apps/{app.name}/builds")
    page.get_by_role("link", name="Build 1").click()
    expect(log).to_contain_text("tick 4", timeout=60_000)
    assert log.inner_text().count("tick 1\n") == 1  # nothing comes twice
    page.get_by_role("button", name="Stop build 1").click()
    expect(page.get_by_role("status")).to_contain_text("is being stopped")
    expect(page.locator("#build")).to_contain_text("Cancelled", timeout=60_000)  # nobody reloads
    expect(page.get_by_role("button", name="Stop build 1")).to_have_count(0)
    push.failed()
    visitor.check()


def test_a_failed_build_says_why_and_what_to_do(visitor: Visitor, app: App):
    app.use("fails-no-buildpack").commit("Notes only.")
    app.push().failed()
    page = visitor.open(f"/apps/{app.name}")
    expect(page.get_by_role("alert")).to_contain_text("No buildpack")
    page.get_by_role("link", name="See its log").click()
    expect(page.get_by_role("heading", name="Build 1")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("Add one of them")
    visitor.check()


def test_an_app_is_destroyed_by_typing_its_name(visitor: Visitor, new_app):
    app: App = new_app()
    app.platform.paas("apps:create", app.name)
    page = visitor.open(f"/apps/{app.name}/settings")
    visitor.check()
    page.get_by_label(f"Type {app.name} to confirm").fill("something else")
    page.get_by_role("button", name=f"Destroy {app.name}").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was destroyed")
    visitor.check(may_complain="422")
    page.get_by_label(f"Type {app.name} to confirm").fill(app.name)
    page.get_by_role("button", name=f"Destroy {app.name}").click()
    expect(page.get_by_role("status")).to_contain_text(f"{app.name} is being removed")
    expect(page.get_by_role("row", name=app.name)).to_have_count(0)


def test_everything_that_is_followed_live_also_works_without_scripts(platform: Platform, chromium: Browser, steady: App):
    with closing(chromium.new_context(base_url=platform.info["dashboard_url"], java_script_enabled=False)) as context:
        person = make_person(platform, "--admin")
        page = context.new_page()
        page.goto("/login")
        page.get_by_label("E-mail").fill(person.email)
        page.get_by_label("Password").fill(person.password)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Search").click()
        page.get_by_label("Apps and pages", exact=True).fill(steady.name)
        page.get_by_role("button", name="Search").click()
        page.get_by_role("link", name=f"{steady.name} Overview").click()
        expect(page.get_by_role("row", name="web.1")).to_contain_text("Up")
        page.get_by_role("link", name="Builds", exact=True).click()
        page.get_by_role("link", name="Build 1", exact=True).click()
        expect(page.get_by_label("Build log")).to_contain_text("is live at")
        expect(page.get_by_role("button", name="Copy the commit")).to_have_count(0)


def test_search_leads_to_an_app_by_keyboard_alone(visitor: Visitor, steady: App):
    page = visitor.open("/")
    page.keyboard.press("/")
    page.keyboard.type(steady.name[:6])
    expect(page.get_by_role("option", name=steady.name)).to_be_visible()
    visitor.check()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(steady.name)


def test_every_page_that_one_can_go_to_keeps_what_each_must(visitor: Visitor, steady: App):
    page = visitor.open(f"/apps/{steady.name}")
    links = page.locator("nav.tabs a, .rail a.rail-link")
    for path in {link.get_attribute("href") for link in links.all()}:
        visitor.open(str(path))
        visitor.check()


def test_nothing_moves_when_nothing_has_happened(visitor: Visitor, steady: App):
    page = visitor.open(f"/apps/{steady.name}")
    page.evaluate("window.kept = document.querySelector('#overview')")
    with page.expect_response(f"**/apps/{steady.name}"):
        page.evaluate("document.body.dispatchEvent(new CustomEvent('changed'))")
    page.wait_for_function("!document.querySelector('.htmx-request')")
    assert page.evaluate("document.contains(window.kept)")
    visitor.check()


@pytest.mark.parametrize("path", ["/", "/host", "/login", "/new-app", "/-/patterns"])
def test_a_page_is_under_150_kb_with_everything(visitor: Visitor, path: str):
    assert visitor.transferred(path) < 150_000
