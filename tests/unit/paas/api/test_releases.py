"""Releases over the API."""

from __future__ import annotations

import pytest

from paas.apps.models import Role
from paas.apps.services import add_collaborator
from paas.core.models import AuditEvent
from tests.factories import make_app, make_config, make_live, make_release, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def app(alice):
    app = make_app(owner=alice)
    make_release(app)
    make_release(app)
    return app


@pytest.mark.parametrize("variant", ["", "sdk"])
def test_releases_are_listed_as_the_command_line_asks(api, app, variant):
    newest = api.get("/apps/hello/releases", variant=variant, headers={"Range": "version ..; max=15, order=desc"})
    assert [each["version"] for each in newest.data] == [2, 1]
    assert [each["current"] for each in newest.data] == [True, False]
    assert newest.data[0]["slug"]["id"] == str(app.current_release.image_id)
    one = api.get("/apps/hello/releases", headers={"Range": "version ..; order=desc,max=1"})
    assert (one.status_code, one.headers["Next-Range"]) == (206, "version ]2..; order=desc,max=1")


def test_a_release_is_found_by_version_and_id(api, app):
    by_version = api.get("/apps/hello/releases/2")
    assert by_version.data == api.get(f"/apps/hello/releases/{by_version.data['id']}").data
    assert by_version.data == api.get("/apps/hello/releases/v2").data
    for unknown in ("9", "nonsense", str(app.pk)):
        response = api.get(f"/apps/hello/releases/{unknown}")
        assert (response.status_code, response.data["resource"]) == (404, "release")


def test_a_rollback_makes_a_new_release(api, app):
    target = api.get("/apps/hello/releases/1").data
    response = api.post("/apps/hello/releases", {"release": target["id"]}, variant="sdk")
    assert response.status_code == 201
    assert (response.data["version"], response.data["description"]) == (3, "Rollback to v1")
    assert response.data["slug"] == target["slug"]
    assert (response.data["status"], response.data["current"]) == ("pending", False)


def test_an_image_is_released_again_with_the_present_settings(api, app):
    make_live(make_config(app, A="1"))
    slug = api.get("/apps/hello/releases/1").data["slug"]["id"]
    response = api.post("/apps/hello/releases", {"slug": slug, "description": "Try again"})
    assert (response.status_code, response.data["description"]) == (201, "Try again")
    assert api.get("/apps/hello/releases/4/config-vars").data == {"A": "1"}


def test_nothing_and_unknown_things_can_not_be_released(api, app):
    assert api.post("/apps/hello/releases", {}).status_code == 422
    assert api.post("/apps/hello/releases", {"slug": str(app.pk)}).data["resource"] == "slug"
    assert api.post("/apps/hello/releases", {"release": "9"}).data["resource"] == "release"


def test_an_operator_rolls_back_and_a_developer_deploys(api, app):
    bob = make_user("bob")
    add_collaborator(app, bob, Role.OPERATOR, by=app.owner)
    slug = api.get("/apps/hello/releases/1").data["slug"]["id"]
    assert ApiClient(bob).post("/apps/hello/releases", {"slug": slug}).status_code == 403
    assert ApiClient(bob).post("/apps/hello/releases", {"release": 1}).status_code == 201


def test_the_config_of_a_release_is_shown_as_it_was_and_recorded(api, app):
    make_live(make_config(app, A="1"))
    make_live(make_config(app, A="2"))
    assert api.get("/apps/hello/releases/3/config-vars").data == {"A": "1"}
    assert AuditEvent.objects.get(action="config.reveal").detail["version"] == 3


def test_a_release_with_a_command_says_where_its_output_is(api, app):
    make_release(app, release_command="python manage.py migrate")
    newest = api.get("/apps/hello/releases/3").data
    assert newest["output_stream_url"].startswith("http://testserver/streams/output/")
    assert api.get("/apps/hello/releases/2").data["output_stream_url"] is None


def test_a_superseded_release_has_expired(api, app):
    make_config(app, A="1")
    make_config(app, A="2")
    found = {each["version"]: each["status"] for each in api.get("/apps/hello/releases").data}
    assert found == {1: "succeeded", 2: "succeeded", 3: "expired", 4: "pending"}
