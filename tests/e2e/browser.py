"""A real browser on the dashboard.

def test_the_config_page(visitor, steady):          # signed in as an admin
    page = visitor.open(f"/apps/{steady.name}/config")
    page.get_by_label("Name").fill("GREETING")      # by role and label, as people do
    …
    visitor.check()                                 # what every page must keep
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize, sync_playwright

from tests.e2e.harness import Platform

CHROMIUM = "/usr/bin/chromium"
WIDE = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=360, height=740)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# The engine makes and removes network devices while tests run, and Chromium gives up what it was loading then.
CHANGED = "ERR_NETWORK_CHANGED"
# Who leaves a page while a part of it asks for itself again breaks that off. A request that failed says more than this.
BROKEN_OFF = ("htmx:afterRequest", "htmx:sendAbort")


@dataclass(frozen=True)
class Person:
    email: str
    password: str


class Visitor:
    """Somebody with a browser: a page, and what its console complained about."""

    def __init__(self, platform: Platform, chromium: Browser, person: Person | None = None) -> None:
        self.home: str = platform.info["dashboard_url"]
        self.context: BrowserContext = chromium.new_context(viewport=WIDE, base_url=self.home)
        self.context.set_default_timeout(15_000)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        if person is not None:
            self.sign_in(person)

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def sign_in(self, person: Person) -> None:
        self.open("/login")
        self.page.get_by_label("E-mail").fill(person.email)
        self.page.get_by_label("Password").fill(person.password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("button", name="Sign out").wait_for()

    def open(self, path: str) -> Page:
        """Go there, again while the network of the machine changes under the browser."""
        for _ in range(8):
            seen = len(self.complaints)
            try:
                self.page.goto(path, wait_until="load")
            except Exception as exc:
                if CHANGED not in str(exc):
                    raise
                continue
            news = self.complaints[seen:]
            if not any(CHANGED in each for each in news):
                break
            del self.complaints[seen:]
        return self.page

    def check(self, *, may_complain: str | tuple[str, ...] = ()) -> None:
        """No violation of WCAG 2.2 AA in light and dark, wide and on a phone; nothing to scroll sideways there; nothing
        in the console but what contains one of `may_complain`, such as the status of a page that is refused."""
        page, found = self.page, []
        for size, scheme in ((WIDE, SCHEMES[0]), (WIDE, SCHEMES[1]), (PHONE, SCHEMES[0])):
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            where = f"{size['width']} px, {scheme}"
            found += [f"{where}: {each}" for each in _violations(page)]
            width = page.evaluate("document.documentElement.scrollWidth")
            if width > size["width"]:
                found.append(f"{where}: the page is {width} px wide")
        page.set_viewport_size(WIDE)
        page.emulate_media(color_scheme="light")
        found += [f"console: {each}" for each in self.heard(may_complain)]
        assert not found, f"{page.url}\n" + "\n".join(found)

    def heard(self, may_complain: str | tuple[str, ...] = ()) -> list[str]:
        allowed = (CHANGED, may_complain) if isinstance(may_complain, str) else (CHANGED, *may_complain)
        heard = [each for each in self.complaints if not each.startswith(BROKEN_OFF)]
        return [each for each in heard if not any(words in each for words in allowed)]

    def transferred(self, path: str) -> int:
        """Bytes that come over the wire when the page is opened for the first time."""
        self.page.goto("about:blank")  # what the page before still loads does not count
        session = self.context.new_cdp_session(self.page)
        total = 0

        def count(event: dict[str, Any]) -> None:
            nonlocal total
            total += int(event["encodedDataLength"])

        session.send("Network.enable")
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        session.on("Network.loadingFinished", count)
        self.open(path)
        session.detach()
        return total


def _violations(page: Page) -> list[str]:
    options = {"runOnly": RULES, "resultTypes": ["violations"]}
    answer = Axe().run(page, options=options).response
    return [
        f"{violation['id']} ({violation['impact']}): {violation['help']}\n  {node['target'][0]}: {node['failureSummary']}"
        for violation in answer["violations"]
        for node in violation["nodes"]
    ]


def make_person(platform: Platform, *arguments: str) -> Person:
    """`--admin` for an admin; otherwise somebody who has no apps yet."""
    person = Person(f"u-{secrets.token_hex(4)}@example.com", secrets.token_urlsafe(12))
    platform.paas("users:create", person.email, "--password", person.password, *arguments)
    return person


@pytest.fixture(scope="session")
def chromium(platform: Platform) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                f"--host-resolver-rules=MAP *.{platform.domain} 127.0.0.1",
            ],
        )  # fmt: skip
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def admin(platform: Platform) -> Person:
    return make_person(platform, "--admin")


@pytest.fixture
def visitor(platform: Platform, chromium: Browser, admin: Person) -> Iterator[Visitor]:
    """An admin, signed in."""
    made = Visitor(platform, chromium, admin)
    yield made
    made.context.close()


@pytest.fixture
def stranger(platform: Platform, chromium: Browser) -> Iterator[Visitor]:
    """Nobody yet: `stranger.sign_in(make_person(platform))`."""
    made = Visitor(platform, chromium)
    yield made
    made.context.close()
