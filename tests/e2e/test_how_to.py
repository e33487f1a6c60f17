"""docs/how-to, followed word for word: every label in bold is used as it says, every command is run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.browser import Visitor, make_person
from tests.e2e.harness import CHECKOUT, App, Platform, wait_until

FOLDER = CHECKOUT / "docs" / "how-to"


class Guide:
    """What a page says, and what of it has been used."""

    def __init__(self, name: str, page: Page) -> None:
        text = (FOLDER / name).read_text()
        self.labels = set(re.findall(r"\*\*(.+?)\*\*", text))
        blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        self.commands = [line for block in blocks for line in block.splitlines()]
        self.page, self.used = page, set[str]()

    def label(self, text: str) -> str:
        assert text in self.labels, f"the guide does not speak of {text}"
        self.used.add(text)
        return text

    def tab(self, text: str) -> None:
        tabs = self.page.get_by_role("navigation", name="Pages of")
        tabs.get_by_role("link", name=self.label(text), exact=True).click()

    def press(self, text: str, more: str = "", role: str = "button") -> None:
        self.page.get_by_role(role, name=self.label(text) + more).first.click()  # type: ignore[arg-type]

    def fill(self, text: str, value: str) -> None:
        self.page.get_by_label(self.label(text), exact=True).fill(value)


def test_an_operator_sets_config_opens_a_port_and_rolls_back(
    stranger: Visitor, platform: Platform, app: App, tmp_path: Path
):
    listen = 'import socket\nserver = socket.create_server(("", 9000))\nstop = '
    app.use("multi").edit("worker.py", "stop = ", listen)
    app.deploy()
    person = make_person(platform)
    app.paas("access:add", person.email, "--role", "operator")
    stranger.sign_in(person)
    page = stranger.open(f"/apps/{app.name}")
    guide = Guide("operate-an-app.md", page)

    guide.tab("Config")
    guide.fill("Name", "GREETING")
    guide.fill("Value", "first line\nsecond line")
    guide.press("Add")
    expect(page.get_by_role("status").first).to_contain_text("Saved")
    wait_until(lambda: app.answers(greeting="first line\nsecond line"), "the app is told")
    guide.press("Reveal", " GREETING")
    expect(page.get_by_role("main")).to_contain_text("second line")
    guide.press("Change", " GREETING")
    page.get_by_label("Value of GREETING").fill("Hi")
    page.get_by_role("button", name="Save GREETING").click()
    wait_until(lambda: app.answers(greeting="Hi"), "the app is told")
    guide.press("Remove", " GREETING")
    wait_until(lambda: app.answers(greeting="Hello"), "the app is told")

    guide.press("Edit as text", role="link")
    page.get_by_label(".env").fill('GREETING="Moin\\n\\"moin\\" $HOME"\nOTHER=\'as it is\'\n')
    page.get_by_label(guide.label("stays as it is")).check()
    page.get_by_label(guide.label("is removed")).check()
    guide.press("Preview changes")
    guide.press("Apply", " 2 changes")
    wait_until(lambda: app.answers(greeting='Moin\n"moin" $HOME'), "the app is told")

    guide.tab("Ports & domains")
    ports = page.get_by_role("region", name=guide.label("Public ports"))
    ports.get_by_label(guide.label("Process type")).select_option("worker")
    ports.get_by_label(guide.label("Port in the app")).fill("9000")
    expect(ports.get_by_label(guide.label("Public port"), exact=True)).to_have_value("")
    guide.press("Open port")
    expect(page.get_by_role("row").filter(has_text="worker:9000")).to_contain_text("PAAS_TCP_9000")
    app.comes_to_rest()

    guide.tab("Releases")
    page.get_by_role("link", name=guide.label("Roll back") + " to v1", exact=True).click()
    page.get_by_role("checkbox", name=re.compile("^Code")).uncheck()
    expect(page.get_by_role("checkbox", name=re.compile("^Config"))).to_be_checked()
    expect(page.get_by_role("button", name=re.compile("Roll back to v1: .*config"))).to_be_visible()
    page.get_by_role("button", name="Roll back to v1").click()
    wait_until(lambda: app.answers(greeting="Hello"), "the config is the old one")
    assert guide.used == guide.labels

    for command in guide.commands:
        line = command.replace("bin/paas", str(CHECKOUT / "bin" / "paas")).replace(" shop", f" {app.name}", 1)
        done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
