"""The config page as ops people use it, in a real browser."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import Visitor, make_person
from tests.e2e.harness import App, Platform, wait_until

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIBhTCCASugAwIBAgIQIRi6\n-----END CERTIFICATE-----\n"


def add(page: Page, name: str, value: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Value", exact=True).fill(value)
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")


def row(page: Page, name: str):
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name, exact=True)).first


def test_a_var_is_added_revealed_changed_and_removed(visitor: Visitor, steady: App):
    page = visitor.open(f"/apps/{steady.name}/config")
    visitor.check()
    add(page, "GREETING", "Moin")
    visitor.check()
    wait_until(lambda: steady.answers(greeting="Moin"), "the app has the new value")
    expect(row(page, "GREETING")).not_to_contain_text("Moin")
    page.get_by_role("button", name="Reveal GREETING").click()
    expect(row(page, "GREETING")).to_contain_text("Moin")
    visitor.check()
    page.get_by_role("button", name="Change GREETING").click()
    page.get_by_label("Value of GREETING").fill(CERTIFICATE)
    visitor.check()
    page.get_by_role("button", name="Save GREETING").click()
    wait_until(lambda: steady.answers(greeting=CERTIFICATE), "the app has the changed value, line ends as typed")
    page.get_by_role("button", name="Remove GREETING").click()
    wait_until(lambda: steady.answers(greeting="Hello"), "the app has its own value again")
    expect(page.get_by_role("region", name="Changes")).to_contain_text("Removed GREETING")
    steady.comes_to_rest()


def test_a_mistake_is_said_beside_what_was_typed(visitor: Visitor, app: App, platform: Platform):
    platform.paas("apps:create", app.name)
    page = visitor.open(f"/apps/{app.name}/config")
    expect(page.get_by_text("No config vars yet")).to_be_visible()
    visitor.check()
    page.get_by_label("Name").fill("1-IS-WRONG")
    page.get_by_label("Value", exact=True).fill("typed by hand")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("can't be the name of a config var")
    expect(page.get_by_label("Value", exact=True)).to_have_value("typed by hand")
    visitor.check(may_complain="422")


def test_many_are_edited_as_text_with_a_preview(visitor: Visitor, app: App, platform: Platform, tmp_path: Path):
    platform.paas("apps:create", app.name)
    app.paas("config:set", "TOKEN=do-not-show", "MODE=old", "GONE=1")
    page = visitor.open(f"/apps/{app.name}/config")
    page.get_by_role("link", name="Edit as text").click()
    text = page.get_by_label(".env")
    expect(text).to_have_value("GONE=••••••\nMODE=••••••\nTOKEN=••••••\n")
    visitor.check()
    text.fill("MODE='new\nTOKEN=••••••\n")
    page.get_by_role("button", name="Preview changes").click()
    expect(page.get_by_role("alert")).to_contain_text("Line 1: the ' that begins the value is never closed.")
    visitor.check(may_complain="422")
    text.fill(f"MODE=new\nTOKEN=••••••\nCERTIFICATE='{CERTIFICATE}'\n")
    page.get_by_role("button", name="Preview changes").click()
    changes = page.get_by_role("region", name="This will change")
    for change in ("Added: CERTIFICATE", "Changed: MODE", "Removed: GONE", "Unchanged: TOKEN"):
        expect(changes).to_contain_text(change)
    expect(page.get_by_text("do-not-show")).to_have_count(0)
    visitor.check(may_complain="422")

    app.paas("config:set", "MODE=theirs")  # somebody else, meanwhile
    page.get_by_role("button", name="Apply 3 changes").click()
    expect(page.get_by_role("main")).to_contain_text(
        "has changed since you looked at it: that was v1, now it is v2: Set MODE."
    )
    visitor.check(may_complain="4")
    page.get_by_role("button", name="Go on editing").click()
    expect(text).to_have_value(f"MODE=new\nTOKEN=••••••\nCERTIFICATE='{CERTIFICATE}'\n")
    page.get_by_role("button", name="Preview changes").click()
    page.get_by_role("button", name="Apply 3 changes").click()
    expect(page.get_by_role("status")).to_contain_text("Saved as v3.")
    assert app.json("config") == {"MODE": "new", "TOKEN": "do-not-show", "CERTIFICATE": CERTIFICATE}

    with page.expect_download() as download:
        page.get_by_role("button", name="Download .env").click()
    file = tmp_path / "downloaded.env"
    download.value.save_as(file)
    app.paas("config:unset", "MODE", "TOKEN", "CERTIFICATE")
    page = visitor.open(f"/apps/{app.name}/config/text")
    page.get_by_label("Or a file").set_input_files(file)
    page.get_by_role("button", name="Preview changes").click()
    page.get_by_role("button", name="Apply 3 changes").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    assert app.json("config") == {"MODE": "new", "TOKEN": "do-not-show", "CERTIFICATE": CERTIFICATE}


def test_everything_works_without_scripts(platform: Platform, chromium: Browser, admin, app: App):
    platform.paas("apps:create", app.name)
    context = chromium.new_context(java_script_enabled=False, base_url=platform.info["dashboard_url"])
    page = context.new_page()
    page.goto("/login")
    page.get_by_label("E-mail").fill(admin.email)
    page.get_by_label("Password").fill(admin.password)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"/apps/{app.name}/config")
    add(page, "ONE", CERTIFICATE)
    page.get_by_role("button", name="Reveal all").click()
    expect(row(page, "ONE")).to_contain_text("MIIBhTCCASugAwIBAgIQIRi6")
    page.get_by_role("link", name="Edit as text").click()
    page.get_by_label(".env").fill("TWO=2")
    page.get_by_label("stays as it is").check()
    page.get_by_role("button", name="Preview changes").click()
    page.get_by_role("button", name="Apply 1 change").click()
    assert app.json("config") == {"ONE": CERTIFICATE, "TWO": "2"}
    page.get_by_role("button", name="Remove TWO").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    context.close()


def test_a_viewer_sees_names_and_nothing_to_press(stranger: Visitor, platform: Platform, app: App):
    person = make_person(platform)
    platform.paas("apps:create", app.name)
    app.paas("config:set", "TOKEN=do-not-show")
    app.paas("access:add", person.email, "--role", "viewer")
    stranger.sign_in(person)
    page = stranger.open(f"/apps/{app.name}/config")
    expect(page.get_by_role("rowheader", name="TOKEN")).to_be_visible()
    expect(page.get_by_role("main").get_by_role("button")).to_have_count(0)
    assert "do-not-show" not in page.content()
    stranger.check()


def test_the_page_is_under_150_kb_with_everything(visitor: Visitor, steady: App):
    assert visitor.transferred(f"/apps/{steady.name}/config") < 150_000
