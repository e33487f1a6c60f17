"""Domains over the API."""

from __future__ import annotations

import pytest

from tests.factories import make_app, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def app(alice):
    return make_app(owner=alice)


def test_every_app_has_a_name_below_the_platforms_domain(api):
    own = api.get("/apps/hello/domains").data
    assert [(each["hostname"], each["kind"]) for each in own] == [("hello.apps.example", "heroku")]
    assert api.get("/apps/hello/domains/hello.apps.example").data == own[0]
    assert api.delete("/apps/hello/domains/hello.apps.example").data["code"] == "reserved_domain"


def test_a_domain_is_added_found_and_removed(api):
    made = api.post("/apps/hello/domains", {"hostname": "WWW.Example.com", "sni_endpoint": None})
    assert made.status_code == 201
    assert (made.data["hostname"], made.data["cname"]) == ("www.example.com", "hello.apps.example")
    assert made.data["status"] == "none"
    for name in ("www.example.com", "WWW.example.com", made.data["id"]):
        assert api.get(f"/apps/hello/domains/{name}").data == made.data
    listed = api.get("/apps/hello/domains", headers={"Range": "domain ..; ;"})
    assert [each["hostname"] for each in listed.data] == ["hello.apps.example", "www.example.com"]
    assert api.patch("/apps/hello/domains/www.example.com", {"sni_endpoint": None}).data == made.data
    assert api.delete("/apps/hello/domains/www.example.com").data == made.data
    assert api.get("/apps/hello/domains/www.example.com").data["resource"] == "domain"


def test_a_domain_of_another_app_is_a_wrong_parameter(api):
    make_app("other")
    assert api.post("/apps/hello/domains", {"hostname": "shop.example.com"}).status_code == 201
    bob = ApiClient(make_user("bob"))
    make_app("bobs", owner=bob.user)
    refused = bob.post("/apps/bobs/domains", {"hostname": "shop.example.com"})
    assert (refused.status_code, refused.data["code"]) == (422, "domain_taken")
    assert "hello" not in refused.data["message"]


def test_there_are_no_certificates_to_choose(api):
    refused = api.post("/apps/hello/domains", {"hostname": "www.example.com", "sni_endpoint": "mine"})
    assert refused.data["resource"] == "sni_endpoint"
