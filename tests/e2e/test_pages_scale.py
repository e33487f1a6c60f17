"""Scale & health and metrics as ops people use them, in a real browser, on an app that runs."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.browser import Visitor
from tests.e2e.harness import App, Platform, wait_until

OWN_PAGE = "<!doctype html><title>Soon</title><h1>Wir sind gleich zurück</h1>{{title}} $host"


def containers(platform: Platform, app: App, process: str) -> set[str]:
    found = platform.containers(f"paas.app={app.name}", f"paas.process={process}", "paas.kind=instance")
    return {each["Id"] for each in found}


def test_an_app_is_scaled_by_its_page(visitor: Visitor, steady: App, platform: Platform):
    page = visitor.open(f"/apps/{steady.name}/scale")
    visitor.check()
    page.get_by_label("Instances of web").fill("2")
    page.get_by_role("button", name="Scale", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Scaling")
    wait_until(lambda: len(containers(platform, steady, "web")) == 2, "two instances of web run")
    instances = page.get_by_role("region", name="Instances")
    expect(instances.get_by_role("rowheader", name="web.2")).to_be_visible()  # live, or after this:
    before = containers(platform, steady, "web")
    page = visitor.open(f"/apps/{steady.name}/scale")
    page.get_by_role("button", name="Restart web.2").click()
    expect(page.get_by_role("status")).to_contain_text("Restarting web.2")
    wait_until(
        lambda: len(now := containers(platform, steady, "web")) == 2 and len(now & before) == 1,
        "one of the two is another one, and the other the same",
    )
    page.get_by_label("Instances of web").fill("1")
    page.get_by_role("button", name="Scale", exact=True).click()
    wait_until(lambda: len(containers(platform, steady, "web")) == 1, "one instance of web runs")
    steady.comes_to_rest()


def test_limits_and_health_are_changed_and_mistakes_said(visitor: Visitor, steady: App):
    page = visitor.open(f"/apps/{steady.name}/scale")
    page.get_by_text("Change limits of worker").click()
    page.get_by_label("Memory of each instance").locator("visible=true").fill("900 TiB")
    page.get_by_role("button", name="Save limits of worker").click()
    expect(page.get_by_role("alert")).to_contain_text("more than this machine has")
    visitor.check(may_complain="422")
    page.get_by_label("Memory of each instance").locator("visible=true").fill("96 MiB")
    page.get_by_role("button", name="Save limits of worker").click()
    expect(page.get_by_role("status")).to_contain_text("Limit worker: memory 96 MiB")
    page.get_by_text("Change health check of web").click()
    page.get_by_label("Seconds for one attempt").locator("visible=true").fill("3")
    visitor.check(may_complain="422")
    page.get_by_role("button", name="Save health check of web").click()
    expect(page.get_by_role("status")).to_contain_text("Health of web")
    steady.comes_to_rest()
    steady.paas("limits:set", "worker", "--memory", "default")
    steady.paas("health:set", "web", "--default")
    steady.comes_to_rest()


def test_an_app_is_stopped_and_started_by_its_page(visitor: Visitor, steady: App, platform: Platform):
    page = visitor.open(f"/apps/{steady.name}/scale")
    page.get_by_role("button", name=f"Stop {steady.name}").click()
    expect(page.get_by_text("This app is stopped.")).to_be_visible()
    wait_until(lambda: not containers(platform, steady, "web"), "nothing runs")
    answer = platform.get(f"{steady.name}.{platform.domain}")
    assert (answer.status, "stopped" in answer.text) == (503, True)
    visitor.check()
    steady.paas("config:set", "STOPPED=1")  # a release that is made ready, and not started
    assert not containers(platform, steady, "web")
    page = visitor.open(f"/apps/{steady.name}/scale")
    page.get_by_role("button", name=f"Start {steady.name}").click()
    wait_until(lambda: platform.get(f"{steady.name}.{platform.domain}").status == 200, "the app answers again")
    steady.paas("config:unset", "STOPPED")
    steady.comes_to_rest()


def test_visitors_see_the_apps_own_maintenance_page(visitor: Visitor, steady: App, platform: Platform):
    page = visitor.open(f"/apps/{steady.name}/scale")
    page.get_by_text("The platform's page is shown").click()
    page.get_by_label("HTML of the page").fill(OWN_PAGE)
    page.get_by_role("button", name="Save the page").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    page.get_by_role("button", name="Turn maintenance on").click()
    expect(page.get_by_text("Maintenance mode is on.")).to_be_visible()
    visitor.check()
    before = containers(platform, steady, "web")
    answer = wait_until(
        lambda: (seen := platform.get(f"{steady.name}.{platform.domain}")).status == 503 and seen, "visitors are kept out"
    )
    assert answer.text == OWN_PAGE
    assert int(answer.headers["retry-after"]) > 0
    assert containers(platform, steady, "web") == before
    page.get_by_role("button", name="Let visitors in").click()
    wait_until(lambda: platform.get(f"{steady.name}.{platform.domain}").status == 200, "visitors get in again")
    steady.paas("maintenance:on", "--default-page")
    steady.paas("maintenance:off")
    steady.comes_to_rest()


def test_the_metrics_page_draws_what_was_measured(visitor: Visitor, steady: App, platform: Platform):
    for _ in range(20):
        platform.get(f"{steady.name}.{platform.domain}")

    def is_measured() -> bool:
        platform.get(f"{steady.name}.{platform.domain}")
        return "requests in the last hour" in visitor.open(f"/apps/{steady.name}/metrics").inner_text("main")

    wait_until(is_measured, "requests were counted", seconds=60, pause=2)
    page = visitor.page
    expect(page.locator(".chart-drawn canvas").first).to_be_visible()
    expect(page.get_by_role("region", name="Memory")).to_contain_text("came closest to its limit")
    visitor.check()
    page.get_by_role("link", name="Last 24 hours").click()
    expect(page.get_by_role("link", name="Last 24 hours")).to_have_attribute("aria-current", "page")


def test_the_metrics_page_is_small(visitor: Visitor, steady: App):
    assert visitor.transferred(f"/apps/{steady.name}/metrics") < 250_000
