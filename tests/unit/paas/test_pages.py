"""The frame all pages share: what is there for whom, what leads where, and what goes with each answer."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from tests.factories import make_app, make_user

pytestmark = pytest.mark.django_db


def sign_in(client: Client, name: str = "alice", *, is_admin: bool = False) -> Client:
    client.force_login(make_user(name, is_admin=is_admin))
    return client


def test_every_link_of_the_rail_and_of_an_app_leads_to_a_page(client):
    sign_in(client, is_admin=True)
    make_app("shop")
    page = client.get("/apps/shop").content.decode()
    links = re.findall(r'<a (?:class="rail-link" )?href="(/[^"]*)"', page)
    assert "/apps/shop" in links
    for link in links:
        assert client.get(link).status_code == 200, link


def test_the_patterns_are_for_admins(client):
    assert sign_in(client).get("/-/patterns").status_code == 404
    assert sign_in(client, "root", is_admin=True).get("/-/patterns").status_code == 200


def test_search_finds_an_app_by_a_part_of_its_name_and_nothing_of_others(client):
    make_app("shop")
    alice = make_user("alice")
    make_app("workshop", owner=alice)
    client.force_login(alice)
    page = client.get("/search", {"q": "sho"}).content.decode()
    assert "/apps/workshop" in page
    assert "/apps/shop" not in page


def test_styles_and_scripts_may_be_kept_for_ever(client):
    page = sign_in(client).get("/").content.decode()
    address = re.search(r'href="(/static/[^"]+/css/base.css)"', page)
    assert address is not None
    answer = client.get(address.group(1))
    answer.close()
    assert "immutable" in answer.headers["Cache-Control"] or "max-age=31536000" in answer.headers["Cache-Control"]


def test_no_page_needs_an_inline_script_or_style(client):
    sign_in(client, is_admin=True)
    make_app("shop")
    for address in ("/", "/apps/shop", "/search", "/-/patterns"):
        page = client.get(address).content.decode()
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", page), address


def test_a_form_without_its_token_is_refused_in_words(client):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_user("alice"))
    answer = strict.post("/logout")
    assert answer.status_code == 403
    assert "This form is too old." in answer.content.decode()
