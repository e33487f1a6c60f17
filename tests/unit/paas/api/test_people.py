"""People over the API: collaborators, transfers, keys, tokens, sign-ins."""

from __future__ import annotations

import base64
import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from paas.accounts.models import ApiToken, Scope, Session
from paas.accounts.services import begin_two_factor, confirm_two_factor, deactivate_user
from paas.apps.models import App, AppTransfer, Invitation, Role
from paas.apps.services import add_collaborator, destroy_app
from paas.core.models import AuditEvent
from tests.factories import code_of, make_app, make_public_key, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture
def app(alice) -> App:
    return make_app(owner=alice)


@pytest.fixture
def bob() -> ApiClient:
    return ApiClient(make_user("bob"))


# Collaborators


def test_a_collaborator_is_added_listed_changed_and_removed(api, app, bob):
    added = api.post("/apps/hello/collaborators", {"user": "bob@example.com", "silent": True})
    assert added.status_code == 201
    assert (added.data["role"], added.data["user"]["email"]) == ("collaborator", "bob@example.com")
    assert [each["name"] for each in added.data["permissions"]] == ["deploy", "operate", "view"]
    rows = api.get("/apps/hello/collaborators").data
    assert [(row["user"]["email"], row["role"]) for row in rows] == [
        ("alice@example.com", "owner"), ("bob@example.com", "collaborator"),
    ]  # fmt: skip
    for identity in ("bob@example.com", added.data["id"], str(bob.user.pk)):
        assert api.get(f"/apps/hello/collaborators/{identity}").data["id"] == added.data["id"]
    changed = api.patch("/apps/hello/collaborators/bob@example.com", {"role": "viewer"}).data
    assert [each["name"] for each in changed["permissions"]] == ["view"]
    assert bob.get("/apps/hello").status_code == 200
    removed = api.delete("/apps/hello/collaborators/bob@example.com")
    assert (removed.status_code, removed.data["id"]) == (200, added.data["id"])
    assert bob.get("/apps/hello").status_code == 404


@pytest.mark.parametrize(
    ("body", "role"),
    [
        ({}, Role.DEVELOPER),
        ({"role": "operator"}, Role.OPERATOR),
        ({"permissions": ["view"]}, Role.VIEWER),
        ({"permissions": ["operate"]}, Role.OPERATOR),
        ({"permissions": ["view", "deploy"]}, Role.DEVELOPER),
        ({"permissions": ["manage"]}, Role.OWNER),
    ],
)
def test_roles_are_ours_or_the_smallest_that_has_the_permissions(api, app, bob, body, role):
    api.post("/apps/hello/collaborators", {"user": "bob@example.com"} | body)
    assert app.collaborators.get().role == role


@pytest.mark.parametrize("body", [{"role": "king"}, {"permissions": ["fly"]}, {}])
def test_a_role_that_is_none_is_refused(api, app, body):
    assert api.post("/apps/hello/collaborators", body).status_code == 422


def test_somebody_new_is_invited_and_the_link_shown_once(api, app):
    response = api.post("/apps/hello/collaborators", {"user": "new@example.com", "role": "operator"})
    assert response.status_code == 201
    invitation = Invitation.objects.get()
    assert (invitation.email, invitation.role, response.data["id"]) == (
        "new@example.com", Role.OPERATOR, str(invitation.pk),
    )  # fmt: skip
    link = response.headers["Warning-Message"].rpartition(" ")[2]
    assert "://dashboard.apps.example" in link
    assert Client().get("/" + link.split("/", 3)[3]).status_code == 200
    assert AuditEvent.objects.get(action="invitation.create").door == "api"


def test_somebody_who_is_no_address_and_somebody_twice_is_refused(api, app, bob):
    unknown = api.post("/apps/hello/collaborators", {"user": "nobody"})
    assert (unknown.status_code, unknown.data["resource"]) == (404, "user")
    api.post("/apps/hello/collaborators", {"user": "bob@example.com"})
    again = api.post("/apps/hello/collaborators", {"user": "bob@example.com"})
    assert (again.status_code, again.data["code"]) == (409, "already_collaborator")
    owner = api.post("/apps/hello/collaborators", {"user": "alice@example.com"})
    assert owner.data["code"] == "already_collaborator"
    assert api.get("/apps/hello/collaborators/charlie@example.com").data["resource"] == "collaborator"


def test_only_owners_change_who_may_what_but_everybody_may_leave(app, bob):
    add_collaborator(app, bob.user, Role.DEVELOPER, by=app.owner)
    make_user("charlie")
    assert len(bob.get("/apps/hello/collaborators").data) == 2
    assert bob.post("/apps/hello/collaborators", {"user": "charlie@example.com"}).status_code == 403
    assert bob.patch("/apps/hello/collaborators/bob@example.com", {"role": "owner"}).status_code == 403
    carol = make_user("carol")
    add_collaborator(app, carol, Role.VIEWER, by=app.owner)
    assert bob.delete("/apps/hello/collaborators/carol@example.com").status_code == 403
    assert bob.delete("/apps/hello/collaborators/bob@example.com").status_code == 200
    assert bob.get("/apps/hello/collaborators").status_code == 404


# Transfers


def offer_to_bob(api: ApiClient) -> str:
    """Where the offer is."""
    made = api.post("/account/app-transfers", {"app": "hello", "recipient": "bob@example.com"})
    return f"/account/app-transfers/{made.data['id']}"


def test_an_app_is_offered_and_accepted(api, app, bob):
    offered = api.post("/account/app-transfers", {"app": "hello", "recipient": "bob@example.com"})
    assert (offered.status_code, offered.data["state"]) == (201, "pending")
    assert bob.get("/apps/hello").status_code == 404  # nothing has changed yet
    path = f"/account/app-transfers/{offered.data['id']}"
    assert [each["id"] for each in bob.get("/account/app-transfers").data] == [offered.data["id"]]
    assert api.get(path).data == bob.get(path).data
    assert api.patch(path, {"state": "accepted"}).status_code == 403  # that is Bob's to say
    accepted = bob.patch(path, {"state": "accepted"})
    assert (accepted.status_code, accepted.data["state"]) == (200, "accepted")
    app.refresh_from_db()
    assert app.owner == bob.user
    assert app.collaborators.get().user.email == "alice@example.com"
    assert bob.patch(path, {"state": "declined"}).data["code"] == "transfer_over"
    actions = AuditEvent.objects.filter(action__startswith="app.transfer").values_list("action", flat=True)
    assert set(actions) == {"app.transfer_offer", "app.transfer"}


def test_an_offer_is_declined_or_taken_back(api, app, bob):
    body = {"app": str(app.pk), "recipient": str(bob.user.pk), "silent": True}
    path = f"/account/app-transfers/{api.post('/account/app-transfers', body).data['id']}"
    assert bob.patch(path, {"state": "declined"}).data["state"] == "declined"
    second = f"/account/app-transfers/{api.post('/account/app-transfers', body).data['id']}"
    assert bob.delete(second).status_code == 403
    assert api.delete(second).status_code == 200
    assert bob.get(second).data["resource"] == "app_transfer"
    app.refresh_from_db()
    assert app.owner.email == "alice@example.com"


def test_an_app_is_offered_to_one_at_a_time_and_to_no_owner(api, app, bob):
    make_user("carol")
    api.post("/account/app-transfers", {"app": "hello", "recipient": "bob@example.com"})
    second = api.post("/account/app-transfers", {"app": "hello", "recipient": "carol@example.com"})
    assert (second.status_code, second.data["code"]) == (409, "transfer_pending")
    own = api.post("/account/app-transfers", {"app": "hello", "recipient": "alice@example.com"})
    assert own.data["code"] == "already_owner"
    assert api.post("/account/app-transfers", {"app": "hello", "recipient": "x@y.z"}).data["resource"] == "user"
    assert api.post("/account/app-transfers", {"app": "none", "recipient": "x@y.z"}).data["resource"] == "app"


def test_offers_are_nobody_elses_business(app, api, bob):
    path = offer_to_bob(api)
    charlie = ApiClient(make_user("charlie"))
    assert charlie.get("/account/app-transfers").data == []
    for method in ("GET", "PATCH", "DELETE"):
        assert charlie.request(method, path, {"state": "accepted"}).status_code == 404
    add_collaborator(app, charlie.user, Role.DEVELOPER, by=app.owner)
    offer = charlie.post("/account/app-transfers", {"app": "hello", "recipient": "charlie@example.com"})
    assert offer.status_code == 403


def test_an_offer_is_void_when_the_app_went_to_somebody_else_or_away(api, app, bob):
    carol = make_user("carol")
    add_collaborator(app, carol, Role.VIEWER, by=app.owner)
    path = offer_to_bob(api)
    handed = api.patch("/teams/apps/hello", {"owner": "carol@example.com"})
    assert (handed.status_code, handed.data["owner"]["email"]) == (200, "carol@example.com")
    assert bob.get(path).data["state"] == "declined"
    assert bob.patch(path, {"state": "accepted"}).data["code"] == "transfer_over"
    destroy_app(app, by=carol)
    assert bob.get(path).status_code == 404


def test_an_app_goes_at_once_to_collaborators_alone(api, app, bob):
    refused = api.patch("/teams/apps/hello", {"owner": "bob@example.com"})
    assert (refused.status_code, refused.data["code"]) == (409, "not_a_collaborator")
    assert bob.patch("/teams/apps/hello", {"owner": "bob@example.com"}).status_code == 404


def test_somebody_deactivated_is_offered_nothing(api, app, bob):
    deactivate_user(bob.user, by=make_user("root", is_admin=True))
    offer = api.post("/account/app-transfers", {"app": "hello", "recipient": "bob@example.com"})
    assert offer.data["code"] == "user_inactive"
    assert not AppTransfer.objects.exists()


# Keys


def test_keys_are_added_listed_found_and_removed(api, bob):
    text = make_public_key()
    added = api.post("/account/keys", {"public_key": f"{text} alice@laptop\n"})
    assert added.status_code == 201
    assert (added.data["comment"], added.data["email"]) == ("alice@laptop", "alice@example.com")
    assert added.data["public_key"] == f"{text} alice@laptop"
    assert api.get("/account/keys").data == [added.data]
    for identity in (added.data["id"], added.data["fingerprint"]):
        assert api.get(f"/account/keys/{identity}").data == added.data
    assert bob.get(f"/account/keys/{added.data['id']}").data["resource"] == "key"
    assert bob.delete(f"/account/keys/{added.data['id']}").status_code == 404
    taken = bob.post("/account/keys", {"public_key": text})
    assert (taken.status_code, taken.data["code"]) == (409, "key_taken")
    assert api.delete(f"/account/keys/{added.data['id']}").data == added.data
    assert api.get("/account/keys").data == []


def test_what_is_no_key_is_refused(api):
    response = api.post("/account/keys", {"public_key": "vm\n"})
    assert (response.status_code, response.data["id"]) == (422, "invalid_params")


def test_keys_and_tokens_take_a_token_for_everything(alice):
    writer = ApiClient(alice, scopes=(Scope.WRITE,))
    for method, path in (
        ("GET", "/account/keys"), ("POST", "/account/keys"), ("GET", "/oauth/authorizations"),
        ("POST", "/oauth/authorizations"), ("GET", "/oauth/sessions"), ("POST", "/account/app-transfers"),
    ):  # fmt: skip
        assert writer.request(method, path, {}).status_code == 403


# Tokens


def sign_in(email: str = "alice@example.com", password: str = PASSWORD, body: Any = None, **headers: str) -> Any:
    """As `heroku login -i` asks."""
    basic = base64.b64encode(f"{email}:{password}".encode()).decode()
    client = ApiClient.__new__(ApiClient)
    client.secret = ""
    wanted = {"description": "Heroku CLI login from vm", "expires_in": 2592000, "scope": ["global"]}
    return client.post(
        "/oauth/authorizations", wanted if body is None else body, headers={"Authorization": f"Basic {basic}", **headers}
    )


def test_a_password_makes_a_token(alice):
    response = sign_in()
    assert response.status_code == 201
    token = ApiToken.objects.get()
    assert (response.data["id"], response.data["description"]) == (str(token.pk), "Heroku CLI login from vm")
    assert response.data["user"] == {"email": "alice@example.com", "full_name": None, "id": str(alice.pk)}
    assert abs(response.data["access_token"]["expires_in"] - 2592000) < 60
    secret = response.data["access_token"]["token"]
    client = ApiClient(alice)
    client.secret = secret
    assert client.get("/apps").status_code == 200


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(alice):
    wrong, unknown = sign_in(password="wrong"), sign_in("nobody@example.com")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.data == unknown.data
    assert wrong.data["id"] == "unauthorized"
    assert not ApiToken.objects.exists()
    assert AuditEvent.objects.filter(action="session.refused", door="api").count() == 2


def test_guessing_passwords_is_slowed_down(alice):
    answers = [sign_in(password=f"guess {number}").status_code for number in range(8)]
    assert answers[:5] == [401] * 5
    assert answers[-1] == 429
    assert sign_in().status_code == 429  # also with the right one


def test_a_second_step_is_asked_for_and_a_code_taken_once(alice):
    begun = begin_two_factor(alice, by=alice)
    confirm_two_factor(alice, code_of(begun, -1))
    asked = sign_in()
    assert (asked.status_code, asked.data["id"]) == (403, "two_factor")
    wrong = sign_in(**{"Heroku-Two-Factor-Code": "000000"})
    assert (wrong.status_code, wrong.data["code"]) == (403, "wrong_code")
    code = code_of(begun)
    assert sign_in(**{"Heroku-Two-Factor-Code": code}).status_code == 201
    assert sign_in(**{"Heroku-Two-Factor-Code": code}).status_code == 403


def test_somebody_deactivated_does_not_sign_in(alice):
    deactivate_user(alice, by=make_user("root", is_admin=True))
    assert sign_in().status_code == 401


def test_an_admin_who_needs_a_second_step_sets_it_up_first(alice):
    make_user("root", is_admin=True)
    settings.ENV = dataclasses.replace(settings.ENV, admins_need_two_factor=True)
    assert sign_in("root@example.com").data["code"] == "two_factor_required"
    assert sign_in().status_code == 201


def test_a_token_as_the_password_is_no_password(alice, api):
    """Terraform sends e-mail and token."""
    response = sign_in(password=api.secret)
    assert response.status_code == 201
    assert sign_in(password="paas_" + "0" * 40).status_code == 401
    assert not AuditEvent.objects.filter(action="session.refused").exists()


def test_tokens_are_made_listed_renamed_and_revoked(api):
    body = {"description": "ci", "expires_in": "3600", "scope": ["write-protected", "read"]}
    made = api.post("/oauth/authorizations", body)
    assert made.status_code == 201
    assert made.data["scope"] == ["write", "read"]
    path = f"/oauth/authorizations/{made.data['id']}"
    shown = api.get(path).data
    assert shown["access_token"]["token"] == made.data["access_token"]["token"][:10] + "…"
    assert api.patch(path, {"description": "ci 2", "client": {"id": "x"}}).data["description"] == "ci 2"
    assert api.delete(path).status_code == 200
    assert api.get(path).data["resource"] == "authorization"
    assert api.get("/oauth/clients").data == []


def test_a_client_finds_its_own_token_in_the_list_and_no_other_secret(api):
    """By that `heroku logout` knows which one to revoke."""
    api.post("/oauth/authorizations", {"description": "other", "scope": ["global"]})
    shown = {each["description"]: each["access_token"]["token"] for each in api.get("/oauth/authorizations").data}
    assert shown["tests"] == api.secret
    assert shown["other"].endswith("…")
    assert api.get("/oauth/authorizations/~").data["access_token"]["token"] != api.secret


def test_a_token_sees_and_ends_itself(alice):
    reader = ApiClient(alice, scopes=(Scope.READ,))
    assert reader.get("/oauth/authorizations/~").data["scope"] == ["read"]
    assert reader.delete("/oauth/authorizations/~").status_code == 403
    for_ci = ApiClient(alice, scopes=(Scope.WRITE,), app=make_app(owner=alice))
    assert for_ci.delete("/oauth/authorizations/~").status_code == 200
    assert for_ci.get("/apps").status_code == 401


def test_a_regenerated_token_has_another_secret_and_the_old_one_is_worthless(alice, api):
    made = api.post("/oauth/authorizations", {"description": "ci"}).data
    again = api.post(f"/oauth/authorizations/{made['id']}/actions/regenerate-tokens").data
    assert again["id"] == made["id"]
    assert again["access_token"]["token"] != made["access_token"]["token"]
    client = ApiClient(alice)
    client.secret = made["access_token"]["token"]
    assert client.get("/apps").status_code == 401
    client.secret = again["access_token"]["token"]
    assert client.get("/apps").status_code == 200


def test_a_token_without_an_end_can_be_asked_for_in_so_many_words(api):
    made = api.post("/oauth/authorizations", {"description": "ci", "expires_in": None, "app": None})
    assert (made.status_code, made.data["access_token"]["expires_in"]) == (201, None)


def test_a_token_can_be_made_for_one_app(api, app):
    made = api.post("/oauth/authorizations", {"description": "ci", "scope": ["write"], "app": "hello"})
    assert ApiToken.objects.get(pk=made.data["id"]).app == app
    unknown = api.post("/oauth/authorizations", {"scope": ["write"], "app": "none"})
    assert (unknown.status_code, unknown.data["resource"]) == (404, "app")


@pytest.mark.parametrize(
    "body", [{"scope": ["identity"]}, {"scope": []}, {"expires_in": "soon"}, {"expires_in": -1}, {"expires_in": 1e12}]
)
def test_a_token_that_can_not_be_is_refused(api, body):
    assert api.post("/oauth/authorizations", body).status_code == 422


def test_tokens_of_others_are_not_there(api, bob):
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/actions/regenerate-tokens")):
        response = bob.request(method, f"/oauth/authorizations/{api.token.pk}{path}", {})
        assert (response.status_code, response.data["resource"]) == (404, "authorization")


def test_sessions_are_browsers_and_can_be_ended(api, alice):
    session = Session.objects.create(
        digest="1" * 64, session_data="", expires_at=timezone.now() + timedelta(days=1), user=alice,
        address="192.0.2.1", user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    )  # fmt: skip
    (shown,) = api.get("/oauth/sessions").data
    assert (shown["id"], shown["description"]) == (str(session.pk), "Firefox 132 on Linux at 192.0.2.1")
    none = api.delete("/oauth/sessions/~")
    assert (none.status_code, none.data["resource"]) == (404, "session")
    assert api.delete(f"/oauth/sessions/{session.pk}").status_code == 200
    assert api.get("/oauth/sessions").data == []
