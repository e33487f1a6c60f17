"""People in a browser: share an app, look after an account, sign in with a second step, read who did what."""

from __future__ import annotations

import re
import secrets
from contextlib import closing
from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import Person, Visitor, make_person
from tests.e2e.harness import App, Platform, git
from tests.factories import make_public_key

REFUSED = "status of 4"  # what the console says about a page that is meant to be refused


@pytest.fixture
def bare(platform: Platform, new_app) -> App:
    """An app with nothing deployed."""
    app: App = new_app()
    platform.paas("apps:create", app.name)
    return app


@pytest.fixture
def bob(platform: Platform) -> Person:
    return make_person(platform)


def give_access(page: Page, email: str, role: str) -> None:
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Role", exact=True).select_option(role)
    page.get_by_role("button", name="Give access").click()


def test_an_app_is_shared_with_a_user_whose_role_changes_and_goes(
    visitor: Visitor, stranger: Visitor, bare: App, bob: Person
):
    page = visitor.open(f"/apps/{bare.name}/people")
    give_access(page, bob.email, "Viewer")
    expect(page.get_by_role("status")).to_contain_text(f"{bob.email} is viewer")
    visitor.check()
    stranger.sign_in(bob)
    theirs = stranger.open(f"/apps/{bare.name}/people")
    expect(theirs.get_by_role("button", name="Give access")).to_have_count(0)
    stranger.check()
    page.get_by_label(f"Role of {bob.email}").select_option("Owner")
    page.get_by_role("button", name=f"Change the role of {bob.email}").click()
    theirs.reload()
    expect(theirs.get_by_role("button", name="Give access")).to_be_visible()
    page.get_by_role("button", name=f"Remove {bob.email}").click()
    expect(page.get_by_role("status")).to_contain_text("no access")
    theirs.reload()
    expect(theirs.get_by_role("heading", level=1)).to_contain_text("No app named")


def test_somebody_new_accepts_an_invitation_once(visitor: Visitor, stranger: Visitor, bare: App):
    email = f"new-{secrets.token_hex(4)}@example.com"
    page = visitor.open(f"/apps/{bare.name}/people")
    give_access(page, email, "Operator")
    link = page.get_by_text(re.compile(r"/invitations/")).inner_text().strip()
    visitor.check()
    theirs = stranger.open(link)
    theirs.get_by_label("Your name").fill("Dora")
    theirs.get_by_label("Password", exact=True).fill("short")
    theirs.get_by_label("Password again").fill("short")
    theirs.get_by_role("button", name="Accept and sign in").click()
    expect(theirs.locator(".field-error").first).to_contain_text("too short")
    stranger.check(may_complain=REFUSED)
    theirs.get_by_label("Password", exact=True).fill("a long and good one")
    theirs.get_by_label("Password again").fill("a long and good one")
    theirs.get_by_role("button", name="Accept and sign in").click()
    expect(theirs.get_by_role("link", name=bare.name, exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("row", name=email)).to_contain_text("Operator")
    theirs.get_by_role("button", name="Sign out").click()
    stranger.open(link)
    expect(theirs.get_by_role("heading", level=1)).to_have_text("This invitation can't be used.")


def test_an_app_is_handed_over_by_typing_its_name(visitor: Visitor, bare: App, bob: Person):
    page = visitor.open(f"/apps/{bare.name}/people")
    page.get_by_label("New owner").fill(bob.email)
    page.get_by_label(f"Type {bare.name} to confirm").fill(bare.name)
    page.get_by_role("button", name="Hand over").click()
    expect(page.get_by_role("status")).to_contain_text(f"{bob.email} owns {bare.name}")


def test_people_are_managed_without_scripts(platform: Platform, chromium: Browser, admin: Person, bare: App, bob: Person):
    context = chromium.new_context(java_script_enabled=False, base_url=platform.info["dashboard_url"])
    with closing(context):
        page = context.new_page()
        page.goto(f"/apps/{bare.name}/people")
        page.get_by_label("E-mail").fill(admin.email)
        page.get_by_label("Password").fill(admin.password)
        page.get_by_role("button", name="Sign in").click()
        give_access(page, bob.email, "Developer")
        expect(page.get_by_role("status")).to_contain_text(f"{bob.email} is developer")
        page.get_by_role("button", name=f"Remove {bob.email}").click()
        expect(page.get_by_role("status")).to_contain_text("no access")


def test_a_token_made_in_the_browser_is_the_password_of_git_until_it_is_revoked(
    visitor: Visitor, platform: Platform, bare: App, tmp_path: Path
):
    page = visitor.open("/account/tokens")
    visitor.check()
    page.get_by_label("Name").fill("laptop")
    page.get_by_label("Good for").select_option(bare.name)
    page.get_by_role("button", name="Create token").click()
    secret = page.get_by_text(re.compile(r"paas_[0-9a-f]{40}")).inner_text().strip()
    visitor.check()
    page.reload()
    expect(page.get_by_text(secret)).to_have_count(0)
    git("ls-remote", platform.push_url(bare.name, secret), cwd=tmp_path)
    assert "not found" in git("ls-remote", platform.push_url("other", secret), cwd=tmp_path, check=False).err
    page.reload()
    row = page.get_by_role("row", name=f"laptop {secret[:10]}")
    expect(row).to_contain_text("127.0.0.1")
    row.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("status")).to_contain_text("revoked")
    assert git("ls-remote", platform.push_url(bare.name, secret), cwd=tmp_path, check=False).code != 0


def test_an_ssh_key_is_added_and_removed(visitor: Visitor):
    page = visitor.open("/account/keys")
    page.get_by_label("Public key").fill("ssh-rsa nonsense")
    page.get_by_role("button", name="Add key").click()
    expect(page.locator(".field-error")).to_contain_text("not an SSH public key")
    visitor.check(may_complain=REFUSED)
    name = f"key-{secrets.token_hex(4)}"
    page.get_by_label("Public key").fill(f"{make_public_key()} {name}")
    page.get_by_role("button", name="Add key").click()
    expect(page.get_by_role("row", name=name)).to_contain_text("SHA256:")
    visitor.check(may_complain=REFUSED)
    page.get_by_role("button", name=f"Remove {name}").click()
    expect(page.get_by_role("status")).to_contain_text("removed")


def test_another_session_is_seen_and_ended(visitor: Visitor, stranger: Visitor, admin: Person):
    stranger.sign_in(admin)
    page = visitor.open("/account/sessions")
    expect(page.get_by_role("row", name=re.compile("Chrome .* on Linux")).first).to_contain_text("127.0.0.1")
    visitor.check()
    page.get_by_role("button", name="End all other sessions").click()
    expect(page.get_by_role("status")).to_contain_text("ended")
    theirs = stranger.open("/")
    expect(theirs.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_changed_password_ends_the_other_sessions(
    visitor: Visitor, stranger: Visitor, platform: Platform, chromium: Browser, bob: Person
):
    stranger.sign_in(bob)
    page = stranger.open("/account")
    stranger.check()
    for label, text in (("Present password", bob.password), ("New password again", "quite another one")):
        page.get_by_label(label, exact=True).fill(text)
    page.get_by_label("New password", exact=True).fill("quite another one")
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_role("status")).to_contain_text("changed")
    other = Visitor(platform, chromium, Person(bob.email, "quite another one"))
    with closing(other.context):
        expect(other.page.get_by_role("button", name="Sign out")).to_be_visible()


def test_a_second_step_is_set_up_asked_for_and_replaced_by_a_recovery_code(stranger: Visitor, bob: Person):
    stranger.sign_in(bob)
    page = stranger.open("/account/two-factor")
    stranger.check()
    page.get_by_role("button", name="Set up two-factor authentication").click()
    expect(page.get_by_role("img", name="QR code")).not_to_have_js_property("naturalWidth", 0)
    secret = page.locator("code").filter(has_text=re.compile(r"^[A-Z2-7]{32}$")).inner_text()
    stranger.check()
    page.get_by_label("Code").fill(pyotp.TOTP(secret).now())
    page.get_by_role("button", name="Switch on").click()
    codes = page.get_by_text(re.compile(r"^([a-z2-7]{4}-){3}[a-z2-7]{4}")).inner_text().split()
    assert len(codes) == 10
    stranger.check()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("E-mail").fill(bob.email)
    page.get_by_label("Password").fill(bob.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("One more step")
    stranger.check()
    page.get_by_label("Code").fill(codes[0])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("status")).to_contain_text("9 are left")


def test_a_deactivated_person_is_out_at_once(visitor: Visitor, stranger: Visitor, bob: Person):
    stranger.sign_in(bob)
    page = visitor.open("/people")
    visitor.check()
    page.get_by_role("link", name=bob.email).click()
    visitor.check()
    page.get_by_role("button", name=f"Deactivate {bob.email}").click()
    expect(page.get_by_role("status")).to_contain_text("deactivated")
    theirs = stranger.open("/")
    expect(theirs.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_the_audit_log_is_filtered_opened_and_exported(visitor: Visitor, platform: Platform, bare: App, bob: Person):
    platform.paas("access:add", "-a", bare.name, "--role", "viewer", bob.email)
    platform.paas("access:update", "-a", bare.name, "--role", "developer", bob.email)
    page = visitor.open("/audit")
    visitor.check()
    page.get_by_label("App", exact=True).fill(bare.name)
    page.get_by_label("Action").select_option("access.change")
    page.get_by_role("button", name="Filter").click()
    row = page.get_by_role("row", name="access.change")
    expect(row).to_contain_text("Viewer → Developer")
    row.locator("summary").click()
    expect(row.get_by_text(re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"))).to_be_visible()
    visitor.check()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 2
    assert bob.email in lines[1]
