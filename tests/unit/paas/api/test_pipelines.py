"""Pipelines, couplings and promotions, as Heroku's clients ask for them."""

from __future__ import annotations

import uuid

import pytest

from paas.apps.models import App, Role
from paas.apps.services import add_collaborator
from paas.pipelines.models import Pipeline, Promotion, PromotionTarget
from tests.factories import make_app, make_release, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def line(api, alice) -> dict[str, str]:
    """Ids: of the pipeline, of its two apps, of their couplings. What the stock command line does, in its order."""
    made = api.post(
        "/pipelines",
        {"generation": {"name": "cedar"}, "name": "shop-line", "owner": {"id": str(alice.pk), "type": "user"}},
        variant="pipelines",
    )
    assert made.status_code == 201
    ids = {"pipeline": made.data["id"]}
    for name, stage in (("shop-staging", "staging"), ("shop", "production")):
        app = make_app(name, owner=alice)
        body = {"app": name, "pipeline": ids["pipeline"], "stage": stage}
        coupled = api.post("/pipeline-couplings", body)
        assert coupled.status_code == 201
        ids |= {name: str(app.pk), stage: coupled.data["id"]}
    make_release(App.objects.get(name="shop-staging"))
    return ids


def test_a_pipeline_is_found_by_name_as_the_command_line_looks_for_it(api, line):
    api.post("/pipelines", {"name": "another"})
    assert [each["name"] for each in api.get("/pipelines").data] == ["another", "shop-line"]
    found = api.get("/pipelines?eq[name]=shop-line", variant="pipelines").data
    assert [each["id"] for each in found] == [line["pipeline"]]
    assert found[0]["owner"]["type"] == "user"
    assert api.get("/pipelines?eq[name]=nothing").data == []
    assert api.get("/pipelines/shop-line").data == api.get(f"/pipelines/{line['pipeline']}").data


def test_its_apps_are_listed_with_their_stages(api, line):
    found = api.get(f"/pipelines/{line['pipeline']}/pipeline-couplings", variant="sdk").data
    assert {each["app"]["id"]: each["stage"] for each in found} == {
        line["shop-staging"]: "staging",
        line["shop"]: "production",
    }
    assert found[0]["pipeline"]["name"] == "shop-line"
    for path in ("/pipeline-couplings", "/users/~/pipeline-couplings"):
        assert [each["id"] for each in api.get(path).data] == sorted([line["staging"], line["production"]])
    assert api.get(f"/pipeline-couplings/{line['staging']}").data["stage"] == "staging"


def test_an_apps_coupling_is_one_object_or_404(api, alice, line):
    assert api.get("/apps/shop/pipeline-couplings").data["id"] == line["production"]
    make_app("alone", owner=alice)
    assert api.get("/apps/alone/pipeline-couplings").status_code == 404
    limited = ApiClient(alice, scopes=("read",), app=App.objects.get(name="shop"))
    assert limited.get("/apps/shop/pipeline-couplings").status_code == 200
    assert limited.get("/pipelines").status_code == 403


def test_an_app_is_moved_and_removed(api, line):
    assert api.patch(f"/pipeline-couplings/{line['staging']}", {"stage": "review"}).data["stage"] == "review"
    refused = api.patch(f"/pipeline-couplings/{line['staging']}", {"stage": "test"})
    assert (refused.status_code, refused.data["code"]) == (422, "unknown_stage")
    assert api.delete(f"/pipeline-couplings/{line['staging']}", {}).status_code == 200
    assert api.get("/apps/shop-staging/pipeline-couplings").status_code == 404


def test_a_pipeline_is_renamed_and_destroyed(api, line):
    assert api.patch(f"/pipelines/{line['pipeline']}", {"name": "shop-2"}).data["name"] == "shop-2"
    assert api.delete(f"/pipelines/{line['pipeline']}", {"name": "shop-2"}).data["name"] == "shop-2"
    assert not Pipeline.objects.exists()


def test_a_promotion_tells_of_each_target_how_it_goes(api, line):
    body = {
        "pipeline": {"id": line["pipeline"]},
        "source": {"app": {"id": line["shop-staging"]}},
        "targets": [{"app": {"id": line["shop"]}}],
    }
    made = api.post("/pipeline-promotions", body)
    assert (made.status_code, made.data["status"]) == (201, "pending")
    path = f"/pipeline-promotions/{made.data['id']}"
    targets = api.get(f"{path}/promotion-targets").data
    assert [(each["app"]["id"], each["status"], each["release"]) for each in targets] == [(line["shop"], "pending", None)]
    PromotionTarget.objects.update(error_id="image_missing", reason="The image is gone.", hint="Push again.")
    failed = api.get(f"{path}/promotion-targets").data[0]
    assert (failed["status"], failed["error_message"]) == ("failed", "The image is gone. Push again.")
    assert api.get(path).data["status"] == "completed"


def test_a_release_can_be_named_to_promote(api, line):
    source = App.objects.get(name="shop-staging")
    old, _ = source.releases.get(), make_release(source)
    body = {
        "pipeline": {"id": line["pipeline"]},
        "source": {"app": {"id": "shop-staging"}, "release": {"id": str(old.pk)}},
        "targets": [{"app": {"id": "shop"}}],
    }
    assert api.post("/pipeline-promotions", body).data["source"]["release"]["id"] == str(old.pk)
    for wrong in (str(uuid.uuid4()), "v1"):
        body["source"] = {"app": {"id": "shop-staging"}, "release": {"id": wrong}}
        assert api.post("/pipeline-promotions", body).data["resource"] == "release"
    assert Promotion.objects.count() == 1


def test_a_promotion_takes_the_right_to_deploy_in_each_target(api, line):
    bob = make_user("bob")
    for name, role in (("shop-staging", Role.VIEWER), ("shop", Role.OPERATOR)):
        app = App.objects.get(name=name)
        add_collaborator(app, bob, role, by=app.owner)
    body = {
        "pipeline": {"id": line["pipeline"]},
        "source": {"app": {"id": line["shop-staging"]}},
        "targets": [{"app": {"id": line["shop"]}}],
    }
    assert ApiClient(bob).post("/pipeline-promotions", body).status_code == 403
    assert not Promotion.objects.exists()


def test_for_charlie_there_is_nothing_of_it(line, api):
    charlie = ApiClient(make_user("charlie"))
    body = {
        "pipeline": {"id": line["pipeline"]},
        "source": {"app": {"id": line["shop-staging"]}},
        "targets": [{"app": {"id": line["shop"]}}],
    }
    promotion = api.post("/pipeline-promotions", body).data["id"]
    assert charlie.get("/pipelines").data == []
    assert charlie.get("/pipeline-couplings").data == []
    for method, path, sent in (
        ("GET", f"/pipelines/{line['pipeline']}", None),
        ("PATCH", f"/pipelines/{line['pipeline']}", {"name": "mine"}),
        ("DELETE", f"/pipelines/{line['pipeline']}", None),
        ("GET", "/pipelines/shop-line/pipeline-couplings", None),
        ("GET", f"/pipeline-couplings/{line['staging']}", None),
        ("PATCH", f"/pipeline-couplings/{line['staging']}", {"stage": "review"}),
        ("DELETE", f"/pipeline-couplings/{line['staging']}", None),
        ("GET", "/apps/shop/pipeline-couplings", None),
        ("POST", "/pipeline-couplings", {"app": "shop", "pipeline": "shop-line", "stage": "review"}),
        ("POST", "/pipeline-promotions", body),
        ("GET", f"/pipeline-promotions/{promotion}", None),
        ("GET", f"/pipeline-promotions/{promotion}/promotion-targets", None),
    ):
        assert charlie.request(method, path, sent).status_code == 404, (method, path)
