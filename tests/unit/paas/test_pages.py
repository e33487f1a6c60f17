"""The frame all pages share: what is there for whom, what leads where, and what goes with each answer."""

from __future__ import annotations

import html
import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from paas.convergence.models import Instance
from paas.convergence.selectors import state_of
from paas.dashboard.views.errors import broken
from paas.releases.services import fail_release
from runtime.errors import BootFailed
from tests.factories import make_app, make_release, make_user

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
    for address in ("/", "/new-app", "/apps/shop", "/search", "/-/patterns"):
        page = client.get(address).content.decode()
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", page), address


def test_a_form_without_its_token_is_refused_in_words(client):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_user("alice"))
    answer = strict.post("/logout")
    assert answer.status_code == 403
    assert "This form is too old." in answer.content.decode()


def test_an_app_with_nothing_deployed_says_what_to_type(client):
    alice = make_user("alice")
    client.force_login(alice)
    assert "git push paas main" in client.get("/").content.decode()
    make_app("shop", owner=alice)
    page = client.get("/apps/shop").content.decode()
    assert "Not deployed" in page
    assert "git remote add paas http://git.apps.example/shop.git" in page


def test_the_overview_says_why_an_app_is_down_and_what_visitors_still_see(client):
    alice = make_user("alice")
    app = make_app("shop", owner=alice)
    make_release(app)
    failed = make_release(app, live=False)
    fail_release(failed, BootFailed("web.1 exited with 1.", hint="Read its last lines."))
    Instance.objects.create(
        app=app, process="web", index=1, state="crashed", reason="exited with 137, ran out of memory", release_version=1
    )
    client.force_login(alice)
    page = html.unescape(client.get("/apps/shop").content.decode())
    assert "web.1 is down." in page
    assert "It exited with 137, ran out of memory." in page
    assert "v2 was not released. Visitors still see v1." in page
    assert "Read its last lines." in page


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ({"web": "up", "worker": "up"}, "up"),
        ({"web": "up", "worker": "crashed"}, "partly up"),
        ({"web": "crashed", "worker": "up"}, "down"),
        ({"web": "starting"}, "starting"),
        ({}, "stopped"),
    ],
)
def test_the_state_of_an_app_is_what_its_visitors_meet(states, word):
    app = make_app("shop")
    make_release(app)
    instances = [Instance(app=app, process=process, index=1, state=state) for process, state in states.items()]
    assert state_of(app, instances).word == word


def test_the_list_of_apps_asks_as_many_queries_for_many_as_for_one(client, django_assert_num_queries):
    alice = make_user("alice")
    client.force_login(alice)

    def add(name: str) -> None:
        app = make_app(name, owner=alice)
        make_release(app)
        Instance.objects.create(app=app, process="web", index=1, state="up")

    add("one")
    client.get("/")  # the first one sets up what is kept
    with CaptureQueriesContext(connection) as first:
        client.get("/")
    for number in range(5):
        add(f"more-{number}")
    with django_assert_num_queries(len(first)):
        client.get("/")


def test_an_app_can_be_created_and_a_bad_name_is_explained_beside_what_was_typed(client):
    alice = make_user("alice")
    client.force_login(alice)
    answer = client.post("/new-app", {"name": "No Good"})
    assert answer.status_code == 422
    assert "No Good" in answer.content.decode()
    assert "Use up to 30 lower-case letters" in answer.content.decode()
    answer = client.post("/new-app", {"name": "shop"}, follow=True)
    assert answer.redirect_chain == [("/apps/shop", 302)]
    assert "Created shop." in answer.content.decode()


def test_an_action_that_is_not_possible_leads_back_with_the_reason(client):
    alice = make_user("alice")
    make_app("shop", owner=alice)
    client.force_login(alice)
    address, what = "/apps/shop/releases/tags/remove", {"tag": "latest"}
    answer = client.post(address, what, headers={"Referer": "http://testserver/apps/shop"})
    assert answer.headers["Location"] == "/apps/shop"
    assert "is kept by the platform" in client.get("/apps/shop").content.decode()
    elsewhere = client.post(address, what, headers={"Referer": "http://evil.example/x"})
    assert elsewhere.status_code == 422


def test_search_leads_to_a_page_of_an_app_by_two_words(client):
    alice = make_user("alice")
    make_app("shop", owner=alice)
    make_app("workshop", owner=alice)
    client.force_login(alice)
    page = client.get("/search", {"q": "shop con"}).content.decode()
    assert "/apps/shop/config" in page
    assert "/apps/workshop/config" in page
    assert "/apps/shop/builds" not in page
    fragment = client.get(
        "/search", {"q": "con"}, headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/apps/shop"}
    ).content.decode()
    assert "/apps/shop/config" in fragment
    assert "<html" not in fragment


def test_a_fragment_leaves_what_was_said_for_the_page_that_follows(client):
    alice = make_user("alice")
    client.force_login(alice)
    client.post("/new-app", {"name": "shop"})
    assert "Created shop." not in client.get("/apps/shop", headers={"HX-Request": "true"}).content.decode()
    assert "Created shop." in client.get("/apps/shop").content.decode()
    assert "Created shop." not in client.get("/apps/shop").content.decode()


def test_a_page_for_a_broken_platform_asks_the_database_nothing(rf, django_assert_num_queries):
    with django_assert_num_queries(0):
        answer = broken(rf.get("/"))
    assert answer.status_code == 500
    assert "The platform made a mistake." in answer.content.decode()
