"""The host page of a platform that runs, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import Visitor
from tests.e2e.harness import App, Platform, wait_until

pytestmark = pytest.mark.alone  # it measures, and clears away, what others are about to use


def test_an_admin_sees_how_the_machine_and_every_part_are(visitor: Visitor, steady: App, platform: Platform):
    page = visitor.open("/host")
    expect(page.get_by_text("Every part is well")).to_be_visible()
    processes = page.get_by_role("region", name="Processes of the platform")
    for name in ("web", "worker", "agent", "redis", "router"):
        expect(processes.get_by_role("rowheader", name=name, exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Container engine")).to_contain_text("API 1.")
    expect(page.get_by_role("region", name="Work")).to_contain_text("Last sweep")
    page.get_by_role("button", name="Measure now").click()
    expect(page.get_by_text("is being measured")).to_be_visible()
    wait_until(lambda: steady.name in (platform.redis.get("paas:storage") or ""), "the disk is measured")
    page = visitor.open("/host")
    expect(page.get_by_role("region", name="Disk by kind")).to_contain_text("Images in the registry")
    expect(page.get_by_role("region", name="Disk by app")).to_contain_text(steady.name)
    visitor.check()


def test_a_cleanup_says_what_it_freed(visitor: Visitor, steady: App):
    page = visitor.open("/host")
    page.get_by_role("button", name="Clean up now").click()
    expect(page.get_by_text("The cleanup has been started")).to_be_visible()
    wait_until(
        lambda: "were freed" in visitor.open("/host").get_by_role("region", name="Cleanup").inner_text(),
        "the page tells what was freed",
        seconds=60,
    )
    steady.comes_to_rest()
