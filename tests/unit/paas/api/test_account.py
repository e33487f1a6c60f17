"""The account, and what is the same for everybody."""

from __future__ import annotations

import pytest

from paas.accounts.models import Scope
from paas.api import limits
from tests.factories import make_app
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/account", "/users/~"])
@pytest.mark.parametrize("variant", ["", "sdk"])
def test_the_account_of_a_token(api, alice, path, variant):
    account = api.get(path, variant=variant).data
    assert (account["id"], account["email"]) == (str(alice.pk), "alice@example.com")
    assert account["two_factor_authentication"] is False
    assert ("mfa_enabled" in account) is (variant == "sdk")


def test_changing_the_account_takes_a_token_for_everything(api, alice):
    assert api.patch("/account", {"name": "Alice"}).data["name"] == "Alice"
    writer = ApiClient(alice, scopes=(Scope.WRITE,))
    assert writer.patch("/account", {"name": "Else"}).status_code == 403
    assert writer.get("/account").data["name"] == "Alice"


def test_asking_for_what_is_left_costs_nothing(api, monkeypatch):
    monkeypatch.setattr(limits, "A_MINUTE", 0)
    api.get("/apps")
    assert min(api.get("/account/rate-limits").data["remaining"] for _ in range(20)) == 4499


@pytest.mark.parametrize("path", ["/regions", "/stacks", "/dyno-sizes"])
def test_facts_are_found_by_name_and_id(api, path):
    for each in api.get(path).data:
        assert api.get(f"{path}/{each['id']}").data == each
        assert api.get(f"{path}/{each['name'].upper()}").data == each
    missing = api.get(f"{path}/nothing")
    assert (missing.status_code, missing.data["id"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/addons", "/addon-attachments", "/addon-services", "/spaces", "/teams", "/account/features",
        "/apps/hello/addons", "/apps/hello/addon-attachments", "/apps/hello/features", "/apps/hello/sni-endpoints",
    ],
)  # fmt: skip
def test_what_is_not_here_is_an_empty_list(api, alice, path):
    make_app(owner=alice)
    response = api.get(path, headers={"Accept-Expansion": "addon_service,plan"})
    assert (response.status_code, response.data) == (200, [])


def test_add_ons_are_not_found_by_the_words_that_clients_compare(api):
    for kind, resource in (("addons", "add_on"), ("addon-attachments", "add_on attachment")):
        response = api.post(f"/actions/{kind}/resolve", {"addon": "postgres", "app": None})
        assert (response.status_code, response.data["resource"]) == (404, resource)
