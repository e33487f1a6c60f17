"""Builds and settings in the browser."""

from __future__ import annotations

import html

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from paas.apps.models import App, Role
from paas.apps.services import add_collaborator
from paas.builds.log import BuildLog
from paas.builds.models import Build, BuildStatus
from tests.factories import make_app, make_user

pytestmark = pytest.mark.django_db


def make_build(app: App, number: int = 1, status: str = BuildStatus.SUCCEEDED, **fields: object) -> Build:
    values = {"ref": "refs/heads/main", "old": "0" * 40, "new": f"{number:040x}", "commit_subject": f"Change {number}"}
    return Build.objects.create(app=app, number=number, status=status, created_by=app.owner, **(values | fields))


def write_log(build: Build, *lines: str) -> None:
    log = BuildLog(build.pk)
    for line in lines:
        log.write(line)
    log.close()


def page(client, address: str) -> str:
    return html.unescape(client.get(address).content.decode())


@pytest.fixture
def app(client) -> App:
    """Alice's; she is signed in."""
    alice = make_user("alice")
    client.force_login(alice)
    return make_app("shop", owner=alice)


def test_a_build_that_runs_shows_its_log_so_far_and_where_it_goes_on(client, app):
    build = make_build(app, status=BuildStatus.BUILDING)
    write_log(build, "-----> Python app", "       Using Python 3.13")
    text = page(client, "/apps/shop/builds/1")
    assert "Using Python 3.13" in text
    assert 'data-stream="/streams/apps/shop/builds/1?after=2"' in text
    assert "Stop build 1" in text


def test_a_finished_build_is_not_followed_and_says_why_it_failed(client, app):
    build = make_build(app, status=BuildStatus.FAILED, reason="No buildpack fits.", hint="Add requirements.txt.")
    write_log(build, " !     No buildpack fits.")
    text = page(client, "/apps/shop/builds/1")
    assert "Add requirements.txt." in text
    assert "data-stream" not in text
    assert "Stop build" not in text


def test_a_long_log_is_shown_from_its_end_and_can_be_had_as_text(client, app):
    build = make_build(app)
    write_log(build, *(f"line {number}" for number in range(1, 3101)))
    text = page(client, "/apps/shop/builds/1")
    assert "The first 100 lines are left out here" in text
    assert "line 100\n" not in text
    answer = client.get("/apps/shop/builds/1/log")
    assert answer.getvalue().decode().startswith("line 1\nline 2\n")
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_what_a_log_says_is_text_and_never_a_tag(client, app):
    build = make_build(app, commit_subject="<b>bold</b>")
    write_log(build, "<script>alert(1)</script>")
    assert "<script>alert" not in client.get("/apps/shop/builds/1").content.decode()
    assert "<b>" not in client.get("/apps/shop/builds").content.decode()


def test_a_waiting_build_can_be_stopped_by_an_operator_but_not_by_a_viewer(client, app):
    make_build(app, status=BuildStatus.PENDING)
    bob = make_user("bob")
    collaborator = add_collaborator(app, bob, Role.VIEWER, by=app.owner)
    client.force_login(bob)
    assert "Stop build" not in page(client, "/apps/shop/builds/1")
    assert client.post("/apps/shop/builds/1/cancel").status_code == 403
    collaborator.role = Role.OPERATOR
    collaborator.save()
    assert client.post("/apps/shop/builds/1/cancel").status_code == 302
    assert app.builds.get().status == BuildStatus.CANCELLED


def test_the_list_of_builds_asks_as_many_queries_for_many_as_for_one(client, app, django_assert_num_queries):
    make_build(app)
    client.get("/apps/shop/builds")
    with CaptureQueriesContext(connection) as first:
        client.get("/apps/shop/builds")
    for number in range(2, 12):
        make_build(app, number)
    with django_assert_num_queries(len(first)):
        client.get("/apps/shop/builds")


def test_an_app_goes_only_when_its_name_is_typed(client, app):
    answer = client.post("/apps/shop/settings/destroy", {"confirm": "shop "})
    assert answer.status_code == 422
    assert "Nothing was destroyed." in answer.content.decode()
    assert App.objects.filter(pk=app.pk, destroyed_at__isnull=True).exists()
    assert client.post("/apps/shop/settings/destroy", {"confirm": "shop"}).headers["Location"] == "/"
    assert not App.objects.filter(pk=app.pk, destroyed_at__isnull=True).exists()
    assert client.get("/apps/shop").status_code == 404


def test_only_an_owner_is_offered_the_end_of_an_app_and_may_choose_it(client, app):
    bob = make_user("bob")
    add_collaborator(app, bob, Role.DEVELOPER, by=app.owner)
    client.force_login(bob)
    assert "Destroy" not in page(client, "/apps/shop/settings")
    assert client.post("/apps/shop/settings/destroy", {"confirm": "shop"}).status_code == 403


def test_the_deploy_branch_is_changed_and_a_bad_name_explained(client, app):
    answer = client.post("/apps/shop/settings/branch", {"deploy_branch": "a..b"})
    assert answer.status_code == 422
    assert "can't be the name of a branch" in html.unescape(answer.content.decode())
    assert client.post("/apps/shop/settings/branch", {"deploy_branch": "release/2026"}).status_code == 302
    app.refresh_from_db()
    assert app.deploy_branch == "release/2026"


def test_an_app_is_renamed_by_its_owner_and_a_bad_name_explained(client, app):
    answer = client.post("/apps/shop/settings/rename", {"name": "Shop!"})
    assert answer.status_code == 422
    assert "can't be an app's name" in html.unescape(answer.content.decode())
    answer = client.post("/apps/shop/settings/rename", {"name": "boutique"})
    assert answer.headers["Location"] == "/apps/boutique/settings"
    assert "http://git.apps.example/boutique.git" in page(client, "/apps/boutique/settings")
    app.refresh_from_db()
    assert app.name == "boutique"


@pytest.mark.parametrize(
    "address",
    [
        "builds",
        "builds/1",
        "builds/1/log",
        "settings",
        "builds/1/cancel",
        "settings/branch",
        "settings/rename",
        "settings/destroy",
    ],
)
def test_charlie_finds_none_of_it(client, app, address):
    make_build(app, status=BuildStatus.PENDING)
    client.force_login(make_user("charlie"))
    is_action = address.endswith(("cancel", "branch", "rename", "destroy"))
    answer = client.post(f"/apps/shop/{address}") if is_action else client.get(f"/apps/shop/{address}")
    assert answer.status_code == 404
