"""Ports and domains as ops people see to them in a browser."""

from __future__ import annotations

import os
import socket

from playwright.sync_api import expect

from tests.e2e.browser import Visitor
from tests.e2e.harness import App, Platform, wait_until
from tests.e2e.test_ports import TCP, UDP, ask


def test_a_port_is_opened_changed_and_closed(visitor: Visitor, app: App):
    app.deploy("echo", "good")
    page = visitor.open(f"/apps/{app.name}/ports")
    expect(page.get_by_role("heading", name="No public ports")).to_be_visible()
    visitor.check()
    page.get_by_label("Process type").select_option("echo")
    page.get_by_label("Port in the app").fill("9000")
    page.get_by_label("Protocol").select_option("UDP")
    page.get_by_role("button", name="Open port").click()
    expect(page.get_by_role("status")).to_contain_text("Opening port")
    table = page.locator("#ports-table")
    expect(table.get_by_role("row").nth(1)).to_contain_text("Up", timeout=60_000)  # nobody reloads
    visitor.check()
    (port,) = app.json("ports")
    assert port["address"] in table.inner_text()
    assert ask(UDP, port["public_port"]).startswith("good v2 ")

    table.get_by_role("link", name="Change").click()
    visitor.check()
    expect(page.get_by_label("Port in the app")).to_have_value("9000")
    page.get_by_label("Process type").select_option("echo")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("leads there already")

    table.get_by_role("button", name="Close").click()
    expect(page.get_by_role("status")).to_contain_text("Closing port")
    wait_until(lambda: not app.json("ports"), "the port is closed")


def test_a_port_of_another_process_is_refused_with_its_name_and_nothing_typed_is_lost(visitor: Visitor, app: App):
    app.deploy("echo", "good")
    page = visitor.open(f"/apps/{app.name}/ports")
    with socket.create_server(("0.0.0.0", 0)) as taken:
        public = taken.getsockname()[1]
        page.get_by_label("Process type").select_option("echo")
        page.get_by_label("Port in the app").fill("9000")
        page.get_by_role("spinbutton", name="Public port").fill(str(public))
        page.get_by_role("button", name="Open port").click()
        expect(page.get_by_role("alert")).to_contain_text(f"Port {public}/tcp of this machine is taken by")
        expect(page.get_by_role("alert")).to_contain_text(f"(process {os.getpid()})")
    expect(page.get_by_role("spinbutton", name="Public port")).to_have_value(str(public))
    visitor.check(may_complain="422")
    page.get_by_role("button", name="Open port").click()  # that process is gone
    expect(page.locator("#ports-table").get_by_role("row").nth(1)).to_contain_text("Up", timeout=60_000)
    assert ask(TCP, public).startswith("good v2 ")


def test_a_domain_is_added_explained_and_removed(visitor: Visitor, app: App, platform: Platform):
    app.deploy("echo", "good")
    name = f"{app.name}.example.com"
    page = visitor.open(f"/apps/{app.name}/ports")
    page.get_by_label("Domain of your own").fill("not a name")
    page.get_by_role("button", name="Add domain").click()
    expect(page.get_by_role("alert")).to_contain_text("is not a host name")
    visitor.check(may_complain="422")
    page.get_by_label("Domain of your own").fill(name.upper())
    page.get_by_role("button", name="Add domain").click()
    row = page.get_by_role("row", name=name)
    expect(row).to_be_visible()
    visitor.check(may_complain="422")
    wait_until(lambda: platform.get(name).status == 200, "the domain answers")
    page.get_by_role("button", name="Ask DNS again").click()
    expect(page.get_by_role("status")).to_contain_text("DNS is being asked")
    row.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)
    wait_until(lambda: platform.get(name).status == 404, "the domain is gone")
    visitor.check(may_complain="422")
