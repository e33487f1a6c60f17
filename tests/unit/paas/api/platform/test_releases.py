"""Releases in full, what differs, going back, pins and tags, over the API."""

from __future__ import annotations

import pytest

from paas.apps.models import Role
from paas.apps.services import add_collaborator
from paas.releases.models import Release
from paas.releases.services import fail_release
from runtime.errors import BootFailed
from tests.factories import make_app, make_change, make_config, make_live, make_port, make_release, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(alice):
    """v1 config, v2 deploy, v3 config, v4 ports, v5 deploy, which is live."""
    app = make_app("shop", owner=alice)
    make_config(app, GREETING="canary-old")
    make_release(app, commit_subject="Sell shoes")
    make_live(make_config(app, GREETING="canary-new", EXTRA="canary-extra"))
    make_live(make_change(app, ports=[make_port(20001)]))
    make_release(app, commit_subject="Sell hats")
    return app


def test_a_release_tells_all_it_holds_but_no_value(api, shop):
    shown = api.get("/apps/shop/release-details/v4")
    assert shown.data["ports"] == [
        {"process": "web", "port": 9000, "protocol": "tcp", "public_address": "0.0.0.0", "public_port": 20001}
    ]
    assert shown.data["config_names"] == ["EXTRA", "GREETING"]
    assert shown.data["commit_subject"] == "Sell shoes"
    assert not shown.data["current"]
    assert b"canary" not in shown.content


def test_releases_come_newest_first_and_in_parts_when_asked_for_so(api, shop):
    first = api.get("/apps/shop/release-details", headers={"Range": "version ..; order=desc,max=2"})
    assert (first.status_code, [each["version"] for each in first.data]) == (206, [5, 4])
    rest = api.get("/apps/shop/release-details", headers={"Range": first.headers["Next-Range"]})
    assert [each["version"] for each in rest.data] == [3, 2]


def test_a_release_is_named_by_version_id_tag_or_place(api, shop):
    release = shop.releases.get(version=2)
    api.put("/apps/shop/tags/stable", {"target": "v2"})
    for name in ("2", "v2", str(release.pk)):
        assert api.get(f"/apps/shop/release-details/{name}").data["version"] == 2, name
    assert api.get("/apps/shop/release-details/stable").data["version"] == 4  # the newest that ran its image
    assert api.get("/apps/shop/release-details/~current").data["version"] == 5
    assert api.get("/apps/shop/release-details/~previous").data["version"] == 4
    for name in ("v99", "nothing", "00000000-0000-0000-0000-000000000001", "99999999999"):
        assert api.get(f"/apps/shop/release-details/{name}").status_code == 404, name


def test_a_failed_release_says_why(api, shop):
    failed = make_release(shop, live=False)
    fail_release(failed, BootFailed("web.1 exited with 1.", hint="See its log."))
    shown = api.get("/apps/shop/release-details/v6").data
    assert (shown["status"], shown["error_id"], shown["reason"], shown["hint"]) == (
        "failed",
        "boot_failed",
        "web.1 exited with 1.",
        "See its log.",
    )


def test_what_differs_is_told_in_parts_and_as_text_without_values(api, shop):
    diff = api.get("/apps/shop/releases/v2/diff/v4")
    assert (diff.data["before"], diff.data["after"], diff.data["empty"]) == ("v2", "v4", False)
    assert [(each["group"], each["subject"], each["turn"]) for each in diff.data["changes"]] == [
        ("config", "EXTRA", "added"),
        ("config", "GREETING", "changed"),
        ("port", "0.0.0.0:20001/tcp", "added"),
    ]
    assert "config GREETING changed" in diff.data["lines"]
    assert b"canary" not in diff.content
    assert api.get("/apps/shop/releases/v5/diff").data["empty"]


def test_a_rollback_is_previewed_and_done_as_it_was_seen(api, shop):
    preview = api.get("/apps/shop/releases/v2/rollback?only=config,ports").data
    assert (preview["seen"], preview["refusal"]) == (5, None)
    assert {each["group"] for each in preview["changes"]} == {"config", "port"}
    made = api.post("/apps/shop/releases/v2/rollback", {"only": ["config"], "why": "Too many hats", "seen": 5})
    assert made.status_code == 201
    assert made.data["description"] == "Rollback to v2: config"
    assert (made.data["why"], made.data["copied_from"], made.data["door"]) == ("Too many hats", 2, "api")
    late = api.post("/apps/shop/releases/v2/rollback", {"seen": 5})
    assert (late.status_code, late.data["code"]) == (409, "changed_meanwhile")
    assert api.post("/apps/shop/releases/v2/rollback", {"only": ["soul"]}).data["code"] == "unknown_part"


def test_the_one_before_is_gone_back_to_without_a_number(api, shop):
    assert api.post("/apps/shop/releases/~previous/rollback").data["copied_from"] == 4


def test_a_release_is_pinned_and_unpinned(api, shop):
    assert api.put("/apps/shop/releases/v2/pin").data["pinned"]
    assert Release.objects.get(version=2).pinned
    assert not api.delete("/apps/shop/releases/v2/pin").data["pinned"]


def test_tags_are_made_moved_protected_and_removed(api, shop):
    made = api.put("/apps/shop/tags/stable", {"target": "v2", "protected": True}).data
    assert (made["own"], made["protected"], made["release"]) == (True, True, 4)
    kept = api.put("/apps/shop/tags/stable", {"target": "v5"})
    assert (kept.status_code, kept.data["code"]) == (409, "tag_protected")
    moved = api.put("/apps/shop/tags/stable", {"target": "v5", "protected": False}).data
    assert (moved["protected"], moved["release"]) == (False, 5)
    names = {each["name"]: each["own"] for each in api.get("/apps/shop/tags").data}
    assert names["stable"]
    assert not names["v2"]
    assert api.delete("/apps/shop/tags/v2").data["code"] == "reserved_tag"
    assert api.delete("/apps/shop/tags/stable").data["name"] == "stable"
    assert api.get("/apps/shop/tags/stable").status_code == 404


def test_a_new_tag_without_a_target_is_of_what_runs(api, shop):
    assert api.put("/apps/shop/tags/now").data["release"] == 5
    assert api.put("/apps/shop/tags/now").data["code"] == "nothing_to_change"


def test_a_tag_is_deployed_after_a_look(api, shop):
    api.put("/apps/shop/tags/stable", {"target": "v2"})
    preview = api.get("/apps/shop/tags/stable/deploy").data
    assert (preview["seen"], preview["code"] is None) == (5, False)
    made = api.post("/apps/shop/tags/stable/deploy", {"seen": 5, "why": "Shoes again"})
    assert (made.status_code, made.data["kind"], made.data["why"]) == (201, "tag", "Shoes again")


def test_a_viewer_looks_and_changes_nothing(shop, alice):
    bob = make_user("bob")
    add_collaborator(shop, bob, Role.VIEWER, by=alice)
    viewer = ApiClient(bob)
    for path in ("release-details", "release-details/v2", "releases/v2/diff", "tags", "tags/latest/deploy"):
        assert viewer.get(f"/apps/shop/{path}").status_code == 200, path
    for method, path in (
        ("POST", "releases/v2/rollback"),
        ("PUT", "releases/v2/pin"),
        ("PUT", "tags/stable"),
        ("DELETE", "tags/stable"),
        ("POST", "tags/latest/deploy"),
    ):
        assert viewer.request(method, f"/apps/shop/{path}").status_code == 403, path
    assert shop.releases.count() == 5
