"""Webhooks, notifications and drains as people set them up in a browser."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.browser import Visitor
from tests.e2e.harness import App, wait_until
from tests.integration.hooks.receivers import Behaviour, HttpReceiver


def test_a_webhook_is_added_refused_looked_at_and_delivered_again(
    visitor: Visitor, steady: App, receiver: HttpReceiver
) -> None:
    page = visitor.open(f"/apps/{steady.name}/settings")
    page.get_by_role("navigation", name="Settings of").get_by_role("link", name="Webhooks").click()
    expect(page.get_by_role("heading", name="No webhooks")).to_be_visible()
    visitor.check()
    page.get_by_label("URL").fill("https://10.0.0.1/hook")
    page.get_by_label("Scale").check()
    page.get_by_role("button", name="Add webhook").click()
    expect(page.get_by_text("leads to an address that is not public")).to_be_visible()
    expect(page.get_by_label("Scale")).to_be_checked()
    visitor.check(may_complain="422")

    receiver.behaviour = Behaviour(status=404, body=b"nobody of that name")
    page.get_by_label("URL").fill(receiver.url)
    page.get_by_label("When it does not arrive").select_option("notify")
    page.get_by_role("button", name="Add webhook").click()
    secret = page.locator("section", has_text="The secret of this webhook").locator("pre").inner_text()
    visitor.check(may_complain="422")
    steady.paas("ps:scale", "worker=2")
    delivery = page.locator(".deliveries > li").filter(has_text="worker=2")
    expect(delivery).to_contain_text("Failed", timeout=30_000)
    page.reload()
    expect(page.get_by_text("The secret of this webhook")).to_have_count(0)
    delivery.locator("summary").first.click()
    expect(delivery.get_by_text("nobody of that name")).to_be_visible()
    visitor.check(may_complain="422")
    receiver.behaviour = Behaviour()
    delivery.get_by_role("button", name="Deliver again").click()
    wait_until(lambda: len(receiver.got) == 2, "it is delivered again")
    page.reload()
    expect(delivery).to_contain_text("Succeeded")
    for got in receiver.got:
        assert got.is_signed(secret.strip())

    page.get_by_text("Change or remove it").click()
    page.get_by_role("button", name="Remove webhook").click()
    expect(page.get_by_role("heading", name="No webhooks")).to_be_visible()
    steady.paas("ps:scale", "worker=1")


def test_a_room_is_told_and_a_drain_fills(visitor: Visitor, steady: App, receiver: HttpReceiver) -> None:
    page = visitor.open(f"/apps/{steady.name}/settings/notifications")
    expect(page.get_by_text("This platform sends no mail.")).to_be_visible()
    visitor.check()
    page.get_by_label("Incoming webhook of the room").fill(receiver.url)
    page.get_by_role("textbox", name="Name").fill("#deploys")
    page.get_by_role("button", name="Add room").click()
    page.get_by_role("button", name="Send a test to #deploys").click()
    expect(page.get_by_role("status")).to_contain_text("The test has been sent to #deploys.")
    assert b"a test" in receiver.got[0].body
    visitor.check()
    page.get_by_role("button", name="Remove #deploys").click()
    expect(page.get_by_role("heading", name="Nobody is told")).to_be_visible()

    page.get_by_role("navigation", name="Settings of").get_by_role("link", name="Log drains").click()
    expect(page.get_by_role("heading", name="No log drains")).to_be_visible()
    visitor.check()
    page.get_by_label("URL").fill(receiver.url)
    page.get_by_role("button", name="Add drain").click()
    steady.get("/to-be-drained/")
    wait_until(lambda: any(b"/to-be-drained/" in got.body for got in receiver.got), "the line arrives")
    page.reload()
    row = page.get_by_role("row", name=receiver.url)
    expect(row).to_contain_text("On")
    visitor.check()
    row.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", name="No log drains")).to_be_visible()


def test_the_machine_has_notifications_of_its_own(visitor: Visitor) -> None:
    page = visitor.open("/host/notifications")
    expect(page.get_by_role("checkbox", name="The machine's disk is nearly full").first).to_be_visible()
    visitor.check()
