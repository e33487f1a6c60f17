"""Roles, users, tokens, invitations, the audit log and the machine, over the API."""

from __future__ import annotations

import csv
import io

import pytest

from paas.accounts.models import ApiToken, User
from paas.apps.models import App, Collaborator, Invitation, Role
from paas.apps.services import add_collaborator, invite
from paas.core.models import AuditEvent
from tests.factories import make_app, make_release, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(alice):
    return make_app("shop", owner=alice)


@pytest.fixture
def root():
    return ApiClient(make_user("root", is_admin=True))


def test_access_is_given_changed_and_taken_away(api, shop):
    make_user("bob")
    given = api.put("/apps/shop/access/bob@example.com", {"role": "viewer"}).data
    assert (given["email"], given["role"]) == ("bob@example.com", "viewer")
    assert api.put("/apps/shop/access/bob@example.com", {"role": "developer"}).data["role"] == "developer"
    assert [(each["email"], each["role"]) for each in api.get("/apps/shop/access").data] == [
        ("alice@example.com", "owner"),
        ("bob@example.com", "developer"),
    ]
    assert api.put("/apps/shop/access/bob@example.com", {"role": "king"}).data["code"] == "unknown_role"
    assert api.put("/apps/shop/access/alice@example.com", {"role": "viewer"}).data["code"] == "already_owner"
    assert api.put("/apps/shop/access/nobody@example.com", {"role": "viewer"}).status_code == 404
    assert api.delete("/apps/shop/access/bob@example.com").data["role"] == "developer"
    assert api.delete("/apps/shop/access/bob@example.com").status_code == 404


def test_somebody_with_a_role_gives_it_back_and_changes_no_other(shop, alice):
    bob, carol = make_user("bob"), make_user("carol")
    for user in (bob, carol):
        add_collaborator(shop, user, Role.DEVELOPER, by=alice)
    theirs = ApiClient(bob)
    assert theirs.delete("/apps/shop/access/carol@example.com").status_code == 403
    assert theirs.put("/apps/shop/access/bob@example.com", {"role": "owner"}).status_code == 403
    assert theirs.post("/apps/shop/transfer", {"to": "bob@example.com"}).status_code == 403
    assert theirs.get("/apps/shop/invitations").status_code == 403
    assert theirs.delete("/apps/shop/access/bob@example.com").status_code == 200
    assert theirs.get("/apps/shop/access").status_code == 404
    assert Collaborator.objects.get().user == carol


def test_an_app_is_given_to_a_collaborator(api, shop, alice):
    bob = make_user("bob")
    assert api.post("/apps/shop/transfer", {"to": "bob@example.com"}).data["code"] == "not_a_collaborator"
    add_collaborator(shop, bob, Role.VIEWER, by=alice)
    rows = api.post("/apps/shop/transfer", {"to": "bob@example.com"}).data
    assert {each["email"]: each["role"] for each in rows} == {
        "bob@example.com": "owner",
        "alice@example.com": "developer",
    }
    assert App.objects.get().owner == bob


def test_an_invitation_to_an_app_shows_its_link_once(api, shop):
    made = api.post("/apps/shop/invitations", {"email": "new@example.com", "role": "operator"})
    assert made.status_code == 201
    assert made.data["url"].startswith("http://dashboard.apps.example/invitations/")
    listed = api.get("/apps/shop/invitations").data
    assert [(each["email"], each["role"], each["url"]) for each in listed] == [("new@example.com", "operator", None)]
    assert api.delete(f"/apps/shop/invitations/{made.data['id']}").status_code == 200
    assert not Invitation.objects.exists()


def test_an_invitation_of_another_app_is_not_there(api, shop, alice):
    other = make_app("other")
    row, _ = invite(email="new@example.com", by=other.owner, app=other, role=Role.VIEWER)
    assert api.delete(f"/apps/shop/invitations/{row.pk}").status_code == 404
    assert Invitation.objects.exists()


def test_tokens_are_made_listed_and_revoked(api, alice, shop):
    made = api.post("/tokens", {"name": "CI", "scopes": ["write"], "app": "shop", "days": 30})
    assert made.status_code == 201
    assert made.data["secret"].startswith(made.data["prefix"])
    assert (made.data["app"], made.data["scopes"]) == ("shop", ["write"])
    listed = {each["name"]: each for each in api.get("/tokens").data}
    assert "secret" not in listed["CI"]
    assert api.delete(f"/tokens/{made.data['id']}").data["name"] == "CI"
    assert not ApiToken.objects.filter(name="CI").exists()
    assert api.post("/tokens", {"name": "CI", "scopes": ["all"]}).data["code"] == "invalid_scope"
    assert api.post("/tokens", {"name": "CI", "days": 0}).status_code == 422


def test_a_token_of_somebody_else_is_not_there(api):
    theirs = ApiClient(make_user("bob")).token
    assert api.delete(f"/tokens/{theirs.pk}").status_code == 404


def test_a_token_that_is_not_for_everything_makes_no_other(alice):
    writer = ApiClient(alice, scopes=("write",))
    refused = writer.post("/tokens", {"name": "more", "scopes": ["global"]})
    assert (refused.status_code, refused.data["code"]) == (403, "token_scope")


def test_an_admin_adds_people_and_changes_what_they_may(root):
    made = root.post("/people", {"email": "New@Example.com", "password": "correct horse battery", "name": "New"})
    assert (made.status_code, made.data["email"]) == (201, "new@example.com")
    path = "/people/new@example.com"
    assert root.patch(path, {"is_admin": True, "name": "Newer"}).data["is_admin"]
    changed = root.patch(path, {"is_admin": False, "can_create_apps": False}).data
    assert (changed["name"], changed["is_admin"], changed["can_create_apps"]) == ("Newer", False, False)
    assert root.patch(path, {"password": "short"}).data["code"] == "weak_password"
    assert root.patch(path, {"is_active": False}).data["is_active"] is False
    assert root.get(f"/people/{made.data['id']}").data["is_active"] is False
    assert root.patch(path, {"is_active": True}).data["is_active"]
    assert [each["email"] for each in root.get("/people").data] == ["new@example.com", "root@example.com"]
    assert root.patch("/people/root@example.com", {"is_admin": False}).data["code"] == "last_admin"
    assert root.get("/people/nobody@example.com").status_code == 404
    assert root.delete(f"{path}/two-factor").data["two_factor"] is False


def test_an_admin_sees_and_revokes_the_tokens_of_others(root, alice):
    token = ApiClient(alice).token
    assert [each["id"] for each in root.get("/people/alice@example.com/tokens").data] == [str(token.pk)]
    assert root.delete(f"/people/alice@example.com/tokens/{token.pk}").status_code == 200
    assert not ApiToken.objects.filter(pk=token.pk).exists()


def test_an_admin_invites_people_to_the_platform(root):
    made = root.post("/invitations", {"email": "new@example.com", "is_admin": True})
    assert (made.status_code, made.data["is_admin"], bool(made.data["url"])) == (201, True, True)
    assert [each["email"] for each in root.get("/invitations").data] == ["new@example.com"]
    assert root.delete(f"/invitations/{made.data['id']}").status_code == 200


def test_what_is_for_admins_is_for_nobody_else(api, alice, root):
    before = User.objects.count(), AuditEvent.objects.count()
    for method, path, body in (
        ("GET", "/people", None),
        ("POST", "/people", {"email": "x@example.com", "password": "correct horse battery"}),
        ("GET", "/people/root@example.com", None),
        ("PATCH", "/people/alice@example.com", {"is_admin": True}),
        ("DELETE", "/people/root@example.com/two-factor", None),
        ("GET", "/people/root@example.com/tokens", None),
        ("DELETE", f"/people/root@example.com/tokens/{root.token.pk}", None),
        ("GET", "/invitations", None),
        ("POST", "/invitations", {"email": "x@example.com", "is_admin": True}),
        ("DELETE", f"/invitations/{root.token.pk}", None),
        ("GET", "/host/health", None),
        ("GET", "/host/storage", None),
        ("GET", "/host/metrics", None),
        ("GET", "/host/cleanup", None),
        ("POST", "/host/cleanup", None),
        ("DELETE", "/host/build-cache", None),
    ):
        refused = api.request(method, path, body)
        assert (refused.status_code, refused.data["id"]) == (403, "forbidden"), (method, path)
    assert (User.objects.count(), AuditEvent.objects.count()) == before


def test_the_audit_log_is_read_filtered_newest_first_and_in_parts(api, shop):
    make_release(shop)
    api.put("/apps/shop/tags/stable", {"target": "v1"})
    newest = api.get("/audit-events", headers={"Range": "id ..; order=desc,max=1"})
    assert newest.status_code == 206
    assert (newest.data[0]["action"], newest.data[0]["door"]) == ("tag.set", "api")
    assert newest.data[0]["after"]["image"].startswith("sha256:")
    assert [each["action"] for each in api.get("/audit-events?action=release&app=shop").data] == ["release.create"]
    assert api.get("/audit-events?since=soon").data["code"] == "invalid_time"
    assert ApiClient(make_user("charlie")).get("/audit-events?app=shop").data == []


def test_the_audit_log_is_exported_as_csv(api, shop):
    text = api.get("/audit-events.csv?app=shop")
    rows = list(csv.reader(io.StringIO(b"".join(text.streaming_content).decode())))
    assert rows[0][:4] == ["at", "actor", "door", "address"]
    assert rows[1][4] == "app.create"


def test_everybody_learns_where_the_platform_answers(api):
    assert api.get("/host").data["git_url"] == "http://git.apps.example"


def test_an_admin_sees_how_the_parts_are(root):
    health = root.get("/host/health").data
    assert health["healthy"]
    assert {each["name"] for each in health["parts"]} >= {"redis", "registry", "router", "engine"}
    assert root.get("/host/storage").data["at"] is None
    assert root.get("/host/metrics").data["window"] == "1h"


def test_a_cleanup_is_asked_for_once(root, sent_tasks):
    first = root.post("/host/cleanup")
    assert (first.status_code, first.data["state"]["state"]) == (202, "asked")
    root.post("/host/cleanup")
    assert [name for name, _ in sent_tasks].count("machine.clean_up") == 1
    assert root.get("/host/cleanup").data["images"] == []
