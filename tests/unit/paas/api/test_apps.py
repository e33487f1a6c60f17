"""Apps and their config vars over the API."""

from __future__ import annotations

import pytest

from paas.accounts.models import Scope
from paas.apps.models import App, Role
from paas.apps.services import add_collaborator
from paas.core.models import AuditEvent
from tests.factories import make_app, make_config, make_release, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db


def test_an_app_is_created_with_the_name_given(api):
    response = api.post("/apps", {"name": "hello", "region": "local", "stack": "container"})
    assert response.status_code == 201
    assert response.data["name"] == "hello"
    assert response.data["owner"]["email"] == "alice@example.com"
    assert response.data["git_url"] == "http://git.apps.example/hello.git"
    assert response.data["build_stack"]["name"] == "container"
    assert response.data["web_url"] == "http://hello.apps.example/"
    event = AuditEvent.objects.get(action="app.create")
    assert (event.door, event.request_id) == ("api", response.headers["Request-Id"])


@pytest.mark.parametrize("body", [None, {}, {"name": None}])
def test_an_app_without_a_name_gets_one(api, body):
    response = api.post("/apps", body)
    assert response.status_code == 201
    assert App.objects.get().name == response.data["name"]


def test_a_name_that_is_taken_is_a_wrong_parameter(api):
    make_app("hello")
    response = api.post("/apps", {"name": "hello"})
    assert response.status_code == 422
    assert response.data["id"] == "invalid_params"
    assert response.data["code"] == "name_taken"
    assert response.data["message"] == "The name 'hello' is taken. Choose another name for the app."


def test_an_app_is_found_by_name_and_by_id(api, alice):
    app = make_app(owner=alice)
    make_release(app)
    by_name, by_id = api.get("/apps/hello"), api.get(f"/apps/{app.pk}")
    assert by_name.status_code == 200
    assert by_name.data == by_id.data
    assert by_name.data["slug_size"] == 48_000_000
    assert by_name.data["generation"]["name"] == "cedar"
    assert api.get("/apps/hello", variant="sdk").data["generation"] == "cedar"


def test_somebody_without_a_role_is_told_that_there_is_no_such_app(alice):
    make_app(owner=alice)
    response = ApiClient(make_user("charlie")).get("/apps/hello")
    assert response.status_code == 404
    assert (response.data["id"], response.data["resource"]) == ("not_found", "app")


def test_everybody_sees_the_apps_they_have_a_role_in(api, alice):
    make_app("hers", owner=alice)
    shared = make_app("shared")
    make_app("other")
    add_collaborator(shared, alice, Role.VIEWER, by=shared.owner)
    assert [each["name"] for each in api.get("/apps").data] == ["hers", "shared"]


def test_maintenance_is_switched_as_clients_in_python_spell_it(api, alice):
    make_app(owner=alice)
    assert api.patch("/apps/hello", {"maintenance": 1}).data["maintenance"] is True
    assert api.patch("/apps/hello", {"maintenance": False}).data["maintenance"] is False


def test_an_app_is_renamed_and_its_old_name_stays_its_own(api, alice):
    app = make_app(owner=alice)
    renamed = api.patch("/apps/hello", {"name": "world"})
    assert renamed.data["name"] == "world"
    assert renamed.data["web_url"] == "http://world.apps.example/"
    assert api.get("/apps/hello").status_code == 404
    assert api.get("/apps/world").data["id"] == str(app.pk)
    assert api.post("/apps", {"name": "hello"}).data["code"] == "name_taken"
    assert api.patch("/apps/world", {"name": "hello"}).status_code == 200


def test_a_change_that_fails_leaves_everything_as_it_was(api, alice):
    app = make_app(owner=alice)
    make_app("world")
    refused = api.patch("/apps/hello", {"maintenance": True, "name": "world"})
    assert (refused.status_code, refused.data["code"]) == (422, "name_taken")
    app.refresh_from_db()
    assert app.maintenance is False


def test_the_stack_is_one_that_there_is(api, alice):
    make_app(owner=alice)
    stacks = {each["name"]: each["id"] for each in api.get("/stacks").data}
    assert api.patch("/apps/hello", {"build_stack": stacks["container"]}).data["build_stack"]["name"] == "container"
    assert api.patch("/apps/hello", {"build_stack": "cobol-60"}).data["code"] == "unknown_stack"


@pytest.mark.parametrize("theirs", ["cedar", "cedar-14", "heroku-24"])
def test_a_stack_of_herokus_means_our_usual_one(api, theirs):
    assert api.post("/apps", {"name": "hello", "stack": theirs}).data["build_stack"]["name"] == "debian-13"


def test_an_operator_may_not_rename_an_app(alice):
    app, bob = make_app(owner=alice), make_user("bob")
    add_collaborator(app, bob, Role.DEVELOPER, by=alice)
    assert ApiClient(bob).patch("/apps/hello", {"name": "mine"}).status_code == 403
    assert ApiClient(bob).patch("/apps/hello", {"maintenance": True}).status_code == 200


def test_apps_are_filtered_by_their_ids(api, alice):
    apps = [make_app(f"app-{n}", owner=alice) for n in range(3)]
    other = make_app("other")
    wanted = [str(each.pk) for each in (apps[0], apps[2], other)]
    response = api.post("/filters/apps", {"in": {"id": wanted}}, variant="filters")
    assert [each["name"] for each in response.data] == ["app-0", "app-2"]


def test_an_admins_own_apps_are_not_all_apps():
    root = ApiClient(make_user("root", is_admin=True))
    make_app("theirs")
    make_app("own", owner=root.user)
    assert [each["name"] for each in root.get("/users/~/apps").data] == ["own"]
    assert len(root.get("/apps").data) == 2
    assert root.get("/users/alice@example.com/apps").status_code == 404


def test_only_the_owner_destroys_an_app(api, alice):
    app, bob = make_app(owner=alice), make_user("bob")
    add_collaborator(app, bob, Role.DEVELOPER, by=alice)
    refused = ApiClient(bob).delete("/apps/hello")
    assert (refused.status_code, refused.data["id"]) == (403, "forbidden")
    assert api.delete("/apps/hello").data["id"] == str(app.pk)
    assert api.get("/apps/hello").status_code == 404


def test_config_vars_are_set_and_unset_in_one_release(api, alice):
    app = make_app(owner=alice)
    make_config(app, OLD="x", KEPT="y")
    response = api.patch("/apps/hello/config-vars", {"OLD": None, "NEW": "z"})
    assert response.data == {"KEPT": "y", "NEW": "z"}
    assert app.releases.count() == 2
    assert api.get("/apps/hello/config-vars").data == {"KEPT": "y", "NEW": "z"}
    assert AuditEvent.objects.filter(action="config.reveal", door="api").count() == 1


def test_config_vars_take_text_alone(api, alice):
    make_app(owner=alice)
    response = api.patch("/apps/hello/config-vars", {"A": 1})
    assert response.status_code == 422
    assert response.data["message"] == "A should be a valid string."


def test_values_of_config_vars_take_the_role_and_the_scope(alice):
    app, bob = make_app(owner=alice), make_user("bob")
    add_collaborator(app, bob, Role.VIEWER, by=alice)
    assert ApiClient(bob).get("/apps/hello/config-vars").status_code == 403
    assert ApiClient(alice, scopes=(Scope.READ,)).get("/apps/hello/config-vars").status_code == 403
