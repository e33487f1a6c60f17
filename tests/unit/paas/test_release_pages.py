"""The timeline, a release, comparisons, rollbacks and tags, as a browser without scripts meets them."""

from __future__ import annotations

import html
import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from paas.apps.models import Role
from paas.core.models import AuditEvent
from paas.releases.models import Image, Release
from paas.releases.selectors import tags_of
from paas.releases.services import fail_release, set_pinned
from paas.releases.tags import add_tag
from runtime.errors import BootFailed
from tests.factories import make_app, make_change, make_config, make_image, make_live, make_port, make_release, make_user

pytestmark = pytest.mark.django_db


def text_of(answer) -> str:
    """What is to be read on a page, on one line."""
    page = re.sub(r"<(script|style|title).*?</\1>|<[^>]+>", " ", answer.content.decode(), flags=re.DOTALL)
    return " ".join(html.unescape(page).split())


@pytest.fixture
def alice():
    return make_user("alice")


@pytest.fixture
def shop(alice, client):
    """v1 config, v2 deploy, v3 config and ports, v5 deploy, which is live."""
    app = make_app("shop", owner=alice)
    make_config(app, GREETING="canary-old")
    make_release(app, commit_subject="Sell shoes")
    make_live(make_config(app, GREETING="canary-new", EXTRA="canary-extra"))
    make_live(make_change(app, ports=[make_port(20001)]))
    make_release(app, commit_subject="Sell hats")
    client.force_login(alice)
    return app


def image_of(release: Release) -> Image:
    assert release.image is not None
    return release.image


def test_the_timeline_says_who_did_what_why_and_how_it_ended(client, alice, shop):
    failed = make_release(shop, live=False)
    fail_release(failed, BootFailed("web.1 exited with 1."))
    old = shop.releases.get(version=2)
    set_pinned(old, True, by=alice)
    add_tag(shop, "stable", image_of(old), by=alice)
    Release.objects.filter(pk=old.pk).update(why="Shoes are in fashion.", door="git")
    text = text_of(client.get("/apps/shop/releases"))
    assert "6 releases" in text
    assert "web.1 exited with 1." in text
    assert "stable" in text
    assert "“Shoes are in fashion.”" in text
    assert "alice@example.com through git pinned 48.0 MB" in text
    assert text.count("Current") == 1
    assert text.count("Roll back to v") == 3, "to what ran, and neither to what is live nor to what failed"


def test_a_release_page_holds_all_of_it_but_no_config_value(client, shop):
    make_live(make_change(shop, limits={"web": {"memory_bytes": 256 << 20}}))
    make_live(make_change(shop, health_overrides={"web": {"kind": "http", "path": "/up"}}))
    answer = client.get("/apps/shop/releases/7")
    text = text_of(answer)
    for words in ("v7", "gunicorn app:app", "256.0", "GET /up", "0.0.0.0:20001", "GREETING", "Sell hats", "v6"):
        assert words in text, words
    assert "canary" not in answer.content.decode()
    assert client.get("/apps/shop/releases/99").status_code == 404


def test_a_comparison_masks_values_until_an_operator_asks_and_that_is_recorded(client, shop):
    address = "/apps/shop/releases/compare?from=v2&to=v5"
    answer = client.get(address)
    text = text_of(answer)
    assert "canary" not in answer.content.decode()
    assert "Added: EXTRA" in text
    assert "Changed: GREETING" in text
    assert "0.0.0.0:20001/tcp web on port 9000" in text
    revealed = client.post(address)
    assert "canary-old → canary-new" in text_of(revealed)
    assert "no-store" in revealed.headers["Cache-Control"]
    event = AuditEvent.objects.filter(action="config.reveal").get()
    assert "canary" not in str(event.detail)
    assert client.get("/apps/shop/releases/compare?from=v2&to=nothing").status_code == 404


def test_a_rollback_is_previewed_then_done_with_a_reason(client, shop):
    page = client.get("/apps/shop/releases/2/rollback")
    text = text_of(page)
    assert "This will change" in text
    assert "Removed: EXTRA" in text
    assert "Removed: 0.0.0.0:20001/tcp" in text
    assert shop.releases.count() == 5, "a look changes nothing"
    narrowed = text_of(client.get("/apps/shop/releases/2/rollback", {"chosen": "1", "only": "config"}))
    assert "Roll back to v2: config" in narrowed
    assert "20001" not in narrowed
    seen = re.search(r'name="seen" value="(\d+)"', page.content.decode())
    assert seen is not None
    form = {"only": ["config", "ports"], "why": "Hats  don't sell.", "seen": seen.group(1)}
    answer = client.post("/apps/shop/releases/2/rollback", form)
    assert answer.headers["Location"] == "/apps/shop/releases"
    made = shop.releases.get(version=6)
    assert (made.config, made.ports, made.why) == ({"GREETING": "canary-old"}, [], "Hats don't sell.")
    assert made.image == shop.releases.get(version=5).image
    assert "v6 is being released" in text_of(client.get("/apps/shop/releases"))


def test_a_rollback_that_was_previewed_too_long_ago_is_shown_anew(client, shop):
    make_config(shop, LATE="1")
    answer = client.post("/apps/shop/releases/2/rollback", {"only": ["config"], "seen": "5", "why": "Hats."})
    assert answer.status_code == 409
    text = text_of(answer)
    assert "shop has changed since you looked at it: that was v5, now it is v6." in text
    assert "Removed: LATE" in text
    assert 'value="Hats."' in answer.content.decode()
    assert shop.releases.count() == 6


def test_a_rollback_to_a_port_of_another_app_can_not_be_confirmed(client, alice, shop):
    make_live(make_change(shop, ports=[]))
    make_change(make_app("blog", owner=alice), ports=[make_port(20001)])
    page = client.get("/apps/shop/releases/4/rollback")
    assert "Port 20001/tcp on 0.0.0.0 belongs to the app blog." in text_of(page)
    assert re.search(r"button-primary\"\s+disabled", page.content.decode())
    answer = client.post("/apps/shop/releases/4/rollback", {"only": ["code", "ports"], "seen": "6"})
    assert answer.status_code == 409
    assert (
        'button-primary" disabled'
        not in client.get("/apps/shop/releases/4/rollback?chosen=1&only=config").content.decode()
    )


def test_a_rollback_of_nothing_asks_what(client, shop):
    answer = client.post("/apps/shop/releases/2/rollback", {"seen": "5"})
    assert answer.status_code == 422
    assert "There is nothing chosen to restore." in text_of(answer)
    page = client.get("/apps/shop/releases/2/rollback?chosen=1")
    assert "There is nothing chosen to restore." in text_of(page)
    assert 'button-primary" disabled' in page.content.decode()
    assert shop.releases.count() == 5


def test_a_release_whose_image_was_collected_says_so_and_offers_its_settings(client, shop):
    old = shop.releases.get(version=2)
    Image.objects.filter(pk=image_of(old).pk).update(collected_at=timezone.now())
    day = f"{timezone.now():%Y-%m-%d}"
    assert f"image collected on {day}" in text_of(client.get("/apps/shop/releases"))
    assert "Its image was collected." in text_of(client.get("/apps/shop/releases/2"))
    page = client.get("/apps/shop/releases/2/rollback")
    assert "Roll back to v2: config, ports, limits, health" in text_of(page)
    refused = client.post("/apps/shop/releases/2/rollback", {"only": "code", "seen": "5"})
    assert refused.status_code == 409
    assert f"The image of v2 was collected on {day}." in text_of(refused)


def test_pins_and_tags_are_set_and_taken_back_in_a_browser(client, shop):
    client.post("/apps/shop/releases/2/pin")
    assert shop.releases.get(version=2).pinned
    client.post("/apps/shop/releases/2/pin", {"off": "1"})
    assert not shop.releases.get(version=2).pinned

    assert "No tags of your own yet" in text_of(client.get("/apps/shop/releases/tags"))
    client.post("/apps/shop/releases/tags", {"name": "stable", "target": "v2"})
    assert "v4 " in text_of(client.get("/apps/shop/releases/tags")), "the newest release that ran it"
    assert tags_of(shop).get(name="stable").image == shop.releases.get(version=2).image
    for form, words in (
        ({"name": "v9", "target": "v2"}, "kept by the platform"),
        ({"name": "no spaces", "target": "v2"}, "can't be the name of a tag"),
        ({"name": "new", "target": "v99"}, "has no release v99"),
    ):
        answer = client.post("/apps/shop/releases/tags", form)
        assert answer.status_code == 422
        assert words in text_of(answer)
    client.post("/apps/shop/releases/tags/protect", {"tag": "stable"})
    assert client.post("/apps/shop/releases/tags/remove", {"tag": "stable"}).status_code == 409
    client.post("/apps/shop/releases/tags/protect", {"tag": "stable", "off": "1"})
    client.post("/apps/shop/releases/tags/remove", {"tag": "stable"})
    assert not tags_of(shop).filter(name="stable").exists()


def test_a_tag_is_deployed_after_a_look_at_what_changes(client, alice, shop):
    old = image_of(shop.releases.get(version=2))
    add_tag(shop, "stable", old, by=alice)
    page = client.get("/apps/shop/releases/tags/deploy", {"tag": "stable"})
    assert "This will change Code" in text_of(page)
    answer = client.post("/apps/shop/releases/tags/deploy", {"tag": "stable", "seen": "5"})
    assert answer.headers["Location"] == "/apps/shop/releases"
    assert shop.releases.get(version=6).image == old
    late = client.post("/apps/shop/releases/tags/deploy", {"tag": "stable", "seen": "5"})
    assert late.status_code == 409


READS = ("", "/2", "/2/rollback", "/compare?from=v2&to=v5", "/tags", "/tags/deploy?tag=stable")
WRITES = ("/2/rollback", "/2/pin", "/compare?from=v2&to=v5", "/tags", "/tags/remove", "/tags/protect", "/tags/deploy")


def test_charlie_finds_nothing_and_a_stranger_the_way_to_sign_in(client, alice, shop):
    add_tag(shop, "stable", image_of(shop.releases.get(version=2)), by=alice)
    for signed_in in (False, True):
        other = Client()
        if signed_in:
            other.force_login(make_user("charlie"))
        for path in READS:
            answer = other.get(f"/apps/shop/releases{path}")
            assert answer.status_code == (404 if signed_in else 302), path
        for path in WRITES:
            answer = other.post(f"/apps/shop/releases{path}", {"tag": "stable", "only": "code"})
            assert answer.status_code == (404 if signed_in else 302), path
    assert shop.releases.count() == 5


def test_a_viewer_sees_everything_but_values_and_changes_nothing(client, alice, shop):
    add_tag(shop, "stable", image_of(shop.releases.get(version=2)), by=alice)
    bob = make_user("bob")
    shop.collaborators.create(user=bob, role=Role.VIEWER)
    client.force_login(bob)
    for path in ("", "/2", "/compare?from=v2&to=v5", "/tags"):
        answer = client.get(f"/apps/shop/releases{path}")
        assert answer.status_code == 200, path
        assert 'method="post"' not in answer.content.decode().partition("<main")[2], path
    for path in WRITES:
        assert client.post(f"/apps/shop/releases{path}", {"tag": "stable", "only": "code"}).status_code == 403, path
    assert shop.releases.count() == 5
    assert not AuditEvent.objects.filter(action="config.reveal").exists()


def test_no_form_works_without_its_token(alice, shop):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    for path in WRITES:
        assert strict.post(f"/apps/shop/releases{path}", {"tag": "stable", "only": "code"}).status_code == 403, path


def queries(client, address: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(address).status_code == 200
    return len(captured)


def test_a_long_history_takes_no_more_queries_than_a_short_one(client, alice, shop):
    addresses = ("/apps/shop/releases", "/apps/shop/releases/2", "/apps/shop/releases/tags")
    add_tag(shop, "stable", image_of(shop.releases.get(version=2)), by=alice)
    client.get("/")  # the session notes that it was used
    before = [queries(client, address) for address in addresses]
    for number in range(60):
        release = make_release(shop, image=make_image(shop))
        add_tag(shop, f"own-{number}", image_of(release), by=alice)
    assert [queries(client, address) for address in addresses] == before
    page = client.get("/apps/shop/releases?page=2").content.decode()
    assert "21–40 of 65" in page
    assert "v45" in page
