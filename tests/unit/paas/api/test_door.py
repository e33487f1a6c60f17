"""What every answer of the API has in common."""

from __future__ import annotations

import base64
import uuid

import pytest
import redis as redis_client
from django.test import Client

from paas.accounts.models import Scope
from paas.accounts.services import create_token
from paas.api import limits
from paas.api.auth import _Known
from paas.apps.models import Role
from paas.apps.services import add_collaborator
from paas.core import redis
from tests.factories import make_app, make_user
from tests.unit.paas.api.conftest import ACCEPT, ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr("paas.api.auth._right", _Known())
    monkeypatch.setattr("paas.api.auth._wrong", _Known())


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_the_door_is_chosen_by_the_routers_header(api):
    assert api.get("/apps").headers["Content-Type"].startswith("application/json")
    page = Client().get("/login")
    assert page.headers["Content-Type"].startswith("text/html")
    assert api.get("/login").status_code == 404


def test_every_answer_has_an_id_that_the_router_knows_it_by(api):
    number = "0af7651916cd43dd8448eb211c80319c"
    known = api.get("/apps", headers={"X-Request-Id": number}).headers["Request-Id"]
    assert known == "0af76519-16cd-43dd-8448-eb211c80319c"
    assert uuid.UUID(api.get("/nowhere").headers["Request-Id"])


def test_headers_that_keep_answers_private(api):
    headers = api.get("/apps").headers
    assert headers["Cache-Control"] == "private, no-cache"
    assert "Authorization" in headers["Vary"]
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize("path", ["/nowhere", "/apps/hello/nowhere", "/", "/apps/", "/apps/%00"])
def test_an_unknown_path_is_not_found_in_json(api, path):
    response = api.get(path)
    assert response.status_code == 404
    assert response.data["id"] == "not_found"


def test_an_unknown_method_is_an_unknown_endpoint(api):
    response = api.request("TRACE", "/apps")
    assert response.status_code == 404
    assert response.data["id"] == "not_found"


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "application/vnd.heroku+json; version=2"])
def test_a_missing_version_is_not_acceptable(api, accept):
    response = api.get("/apps", headers={"Accept": accept})
    assert (response.status_code, response.data["id"]) == (406, "not_acceptable")


@pytest.mark.parametrize("variant", ["sdk", "filters", "docker-releases", "no-such-thing"])
def test_every_variant_of_version_3_is_taken(api, variant):
    assert api.get("/apps", variant=variant).status_code == 200


def test_a_token_may_be_the_password_of_any_user(api):
    for name in ("", "anybody"):
        credentials = base64.b64encode(f"{name}:{api.secret}".encode()).decode()
        assert api.get("/apps", headers={"Authorization": f"Basic {credentials}"}).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer paas_wrong", "Basic %%%", "Basic Og==", "Digest x"])
def test_without_a_token_that_is_known_nobody_gets_in(api, header):
    response = api.get("/apps", headers={"Authorization": header})
    assert (response.status_code, response.data["id"]) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_remembers_when_and_where_it_was_used(api):
    api.get("/apps")
    api.token.refresh_from_db()
    assert api.token.last_used_at is not None
    assert api.token.last_used_from == "127.0.0.1"


def test_a_reading_token_changes_nothing(alice):
    make_app(owner=alice)
    reader = ApiClient(alice, scopes=(Scope.READ,))
    assert reader.get("/apps/hello").status_code == 200
    refused = reader.patch("/apps/hello", {"maintenance": True})
    assert (refused.status_code, refused.data["code"]) == (403, "token_scope")


def test_a_token_for_git_reads_nothing(alice):
    assert ApiClient(alice, scopes=(Scope.GIT,)).get("/apps").status_code == 403


def test_a_token_for_one_app_knows_no_other(alice):
    first, _ = make_app("first", owner=alice), make_app("second", owner=alice)
    bound = ApiClient(alice, scopes=(Scope.WRITE,), app=first)
    assert bound.patch("/apps/first", {"maintenance": True}).status_code == 200
    assert bound.get("/apps/second").status_code == 404
    assert [each["name"] for each in bound.get("/apps").data] == ["first"]
    assert bound.post("/apps", {"name": "third"}).status_code == 403


def test_whoever_tries_tokens_is_slowed_down_and_others_at_the_address_are_not(api, alice):
    assert api.get("/apps").status_code == 200
    statuses = [api.get("/apps", headers=bearer(f"paas_{n}")).status_code for n in range(40)]
    assert statuses[:20] == [401] * 20
    assert 429 in statuses[20:]
    assert api.get("/apps").status_code == 200  # known from before


def test_a_program_with_an_old_token_is_no_guesser(api):
    statuses = {api.get("/apps", headers=bearer("paas_old")).status_code for _ in range(40)}
    assert statuses == {401}


def test_a_token_has_so_many_requests(api, monkeypatch):
    assert api.get("/apps").headers["RateLimit-Remaining"] == "4499"
    monkeypatch.setattr(limits, "MOST", 2)
    monkeypatch.setattr(limits, "A_MINUTE", 0)
    assert [api.get("/apps").status_code for _ in range(3)] == [200, 200, 429]
    refused = api.get("/apps")
    assert (refused.data["id"], refused.headers["RateLimit-Remaining"]) == ("rate_limit", "0")


def test_what_comes_past_the_router_is_not_limited(api):
    headers = {"X-Paas-Door": "api", "Accept": ACCEPT, "Authorization": f"Bearer {api.secret}"}
    seen = {Client().get("/apps", headers=headers, REMOTE_ADDR="").headers["RateLimit-Remaining"] for _ in range(3)}
    assert seen == {"4500"}


def test_without_redis_nobody_is_held_up(api, monkeypatch):
    def away():
        raise redis_client.ConnectionError("away")

    monkeypatch.setattr(redis, "client", away)
    response = api.get("/apps")
    assert response.status_code == 200
    assert response.headers["RateLimit-Remaining"] == "4500"
    assert api.get("/apps", headers=bearer("paas_wrong")).status_code == 401


def test_an_answer_that_did_not_change_is_not_sent_again(api, alice):
    make_app(owner=alice)
    first = api.get("/apps/hello")
    again = api.get("/apps/hello", headers={"If-None-Match": f'W/"x", W/{first.headers["ETag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    api.patch("/apps/hello", {"maintenance": True})
    assert api.get("/apps/hello", headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_head_is_get_without_the_body(api, alice):
    make_app(owner=alice)
    response = api.request("HEAD", "/apps/hello")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Content-Length"] == api.get("/apps/hello").headers["Content-Length"] != "0"
    assert response.headers["ETag"] == api.get("/apps/hello").headers["ETag"]


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b'{"name": "\\u0000"}', b'{"name": "\\ud800"}', b'{"name": NaN}', b"[" * 5000]
)
def test_a_body_that_is_no_json_is_a_bad_request(api, body):
    response = api.post("/apps", body)
    assert (response.status_code, response.data["id"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([], "The body should be a JSON object."),
        ({"name": 3}, "name should be a valid string."),
    ],
)
def test_a_body_of_the_wrong_shape_is_told_in_a_sentence(api, body, sentence):
    response = api.post("/apps", body)
    assert (response.status_code, response.data["id"]) == (422, "invalid_params")
    assert response.data["message"] == sentence


def test_a_body_that_is_too_large_is_not_read(api):
    response = api.post("/apps", b'{"name": "' + b"a" * 3_000_000 + b'"}')
    assert (response.status_code, response.data["id"]) == (413, "request_too_large")


def test_our_own_failures_show_their_request_id_and_nothing_else(api, monkeypatch):
    def broken(**_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("paas.apps.services.create_app", broken)
    response = api.post("/apps", {"name": "hello"})
    assert (response.status_code, response.data["id"]) == (500, "internal_server_error")
    assert response.headers["Request-Id"] in response.data["message"]
    assert "secret detail" not in response.content.decode()


def test_a_role_that_is_too_small_is_forbidden(alice):
    app, bob = make_app(owner=alice), make_user("bob")
    add_collaborator(app, bob, Role.VIEWER, by=alice)
    response = ApiClient(bob).patch("/apps/hello", {"maintenance": True})
    assert (response.status_code, response.data["id"]) == (403, "forbidden")


def test_a_deactivated_user_has_no_access(api, alice):
    alice.is_active = False
    alice.save()
    assert api.get("/apps").status_code == 401


def test_an_expired_token_is_unknown(alice):
    from datetime import timedelta

    _, secret = create_token(alice, name="old", by=alice, lifetime=timedelta(seconds=-1))
    response = Client().get("/apps", headers={"X-Paas-Door": "api", "Accept": ACCEPT, **bearer(secret)})
    assert response.status_code == 401
