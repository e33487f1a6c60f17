"""Pipelines as a browser without scripts meets them."""

from __future__ import annotations

import html
import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from paas.apps.models import Role
from paas.apps.services import add_collaborator
from paas.dashboard.views.pipelines import urlpatterns
from paas.pipelines import services
from paas.pipelines.models import Coupling, Pipeline, Promotion, PromotionTarget
from tests.factories import make_app, make_config, make_image, make_live, make_release, make_user

pytestmark = pytest.mark.django_db


def text_of(answer) -> str:
    """What is to be read on a page, on one line."""
    page = re.sub(r"<(script|style|title).*?</\1>|<[^>]+>", " ", answer.content.decode(), flags=re.DOTALL)
    return " ".join(html.unescape(page).split())


@pytest.fixture
def alice():
    return make_user("alice")


@pytest.fixture
def line(alice, client):
    """`shop-staging` runs another image than `shop`; `free` is in no pipeline."""
    pipeline = services.create_pipeline("shop-line", by=alice)
    for name, stage in (("shop-staging", "staging"), ("shop", "production")):
        app = make_app(name, owner=alice)
        services.couple_app(pipeline, app, stage, by=alice)
        make_release(app, commit_subject=f"Code of {name}")
    make_app("free", owner=alice)
    client.force_login(alice)
    return pipeline


def app_of(name: str):
    return Coupling.objects.get(app__name=name).app


def test_without_a_pipeline_the_page_says_what_one_is_for_and_makes_one(client, alice):
    client.force_login(alice)
    assert "No pipelines yet" in text_of(client.get("/pipelines"))
    refused = client.post("/pipelines", {"name": "No Spaces"})
    assert refused.status_code == 422
    assert "can't be the name of a pipeline" in text_of(refused)
    made = client.post("/pipelines", {"name": "shop-line"}, follow=True)
    assert made.redirect_chain == [("/pipelines/shop-line", 302)]
    assert Pipeline.objects.get().owner == alice


def test_a_pipeline_shows_by_stage_what_runs_where(client, line):
    page = text_of(client.get("/pipelines/shop-line"))
    assert "Staging shop-staging v1" in page
    assert "Code of shop-staging" in page
    assert "Another image than in shop-staging" in page
    assert "shop-staging v1, shop v1" not in text_of(client.get("/pipelines"))
    shop = app_of("shop")
    same = make_image(shop, digest=app_of("shop-staging").current_release.image.digest)
    make_release(shop, image=same)
    assert "The same image as in shop-staging" in text_of(client.get("/pipelines/shop-line"))


def test_apps_are_added_moved_and_taken_out_with_forms(client, line):
    page = client.get("/pipelines/shop-line")
    assert '<option value="free">' in page.content.decode()
    client.post("/pipelines/shop-line/add", {"app": "free", "stage": "review"})
    assert Coupling.objects.get(app__name="free").stage == "review"
    assert "in a pipeline already" in text_of(client.get("/pipelines/shop-line"))
    again = client.post("/pipelines/shop-line/add", {"app": "free", "stage": "staging"})
    assert again.status_code == 422
    client.post("/pipelines/shop-line/move", {"app": "free", "stage": "development"})
    assert Coupling.objects.get(app__name="free").stage == "development"
    client.post("/pipelines/shop-line/move", {"app": "free", "stage": ""})
    assert not Coupling.objects.filter(app__name="free").exists()


def test_a_promotion_is_previewed_and_then_made_as_it_was_seen(client, line, alice):
    make_live(make_config(app_of("shop"), GREETING="canary-value"))
    page = client.get("/pipelines/shop-line/promote?source=shop-staging")
    text = text_of(page)
    assert "This will change in shop" in text
    assert "Promote to shop" in text
    assert "GREETING" not in text  # the config stays that of the app
    form = {"source": "shop-staging", "to": "shop", "why": "Sale begins"}
    seen = dict(re.findall(r'name="(seen-shop)" value="(\d+)"', page.content.decode()))
    assert seen == {"seen-shop": "2"}
    made = client.post("/pipelines/shop-line/promote", {**form, **seen}, follow=True)
    assert "Promoting shop-staging v1 to shop." in text_of(made)
    assert "“Sale begins”" in text_of(made)
    promotion = Promotion.objects.get()
    assert (promotion.created_by, promotion.why) == (alice, "Sale begins")
    assert [target.app.name for target in promotion.targets.all()] == ["shop"]


def test_a_promotion_that_was_seen_too_long_ago_is_shown_anew(client, line):
    make_live(make_config(app_of("shop"), GREETING="1"))
    old = client.post("/pipelines/shop-line/promote", {"source": "shop-staging", "to": "shop", "seen-shop": "1"})
    assert old.status_code == 409
    assert "has changed since you looked at it" in text_of(old)
    assert "This will change in shop" in text_of(old)
    assert not Promotion.objects.exists()


def test_without_a_choice_nothing_can_be_promoted(client, line):
    page = client.get("/pipelines/shop-line/promote?source=shop-staging&chosen=1")
    assert re.search(r"<button[^>]* disabled>", page.content.decode())
    refused = client.post("/pipelines/shop-line/promote", {"source": "shop-staging"})
    assert refused.status_code == 422
    assert "There is no app chosen" in text_of(refused)


def test_how_a_promotion_failed_is_told_beside_the_app(client, line, alice):
    services.promote(line, app_of("shop-staging"), [app_of("shop")], by=alice)
    assert "Pending" in text_of(client.get("/pipelines/shop-line"))
    PromotionTarget.objects.update(error_id="image_missing", reason="The image is gone.", hint="Push again.")
    page = text_of(client.get("/pipelines/shop-line"))
    assert "shop: The image is gone. Push again." in page
    assert "Failed" in page


def test_two_apps_are_compared_either_way(client, line):
    make_live(make_config(app_of("shop-staging"), NEW="canary-value"))
    page = client.get("/pipelines/shop-line/compare?from=shop&to=shop-staging")
    assert "Added: NEW" in text_of(page)
    assert "canary-value" not in page.content.decode()
    assert "Removed: NEW" in text_of(client.get("/pipelines/shop-line/compare?from=shop-staging&to=shop"))
    assert client.get("/pipelines/shop-line/compare?from=shop&to=free").status_code == 404


def test_it_is_renamed_and_destroyed_after_its_name_was_typed(client, line):
    client.post("/pipelines/shop-line/rename", {"name": "shop-2"})
    assert client.get("/pipelines/shop-line").status_code == 404
    refused = client.post("/pipelines/shop-2/destroy", {"confirm": "shop"})
    assert refused.status_code == 422
    assert Pipeline.objects.exists()
    client.post("/pipelines/shop-2/destroy", {"confirm": "shop-2"})
    assert not Pipeline.objects.exists()
    assert client.get("/apps/shop").status_code == 200


def test_the_overview_of_an_app_leads_to_its_pipeline(client, line):
    assert "shop-line , production" in text_of(client.get("/apps/shop"))
    assert "Pipeline" not in text_of(client.get("/apps/free")).partition("Git remote")[2]


@pytest.mark.parametrize("method", ["get", "post"])
def test_for_charlie_there_is_no_such_pipeline_whatever_is_asked(line, method):
    charlie = Client(raise_request_exception=False)
    charlie.force_login(make_user("charlie"))
    addresses = [
        str(each.pattern).replace("<str:pipeline>", "shop-line") for each in urlpatterns if "<" in str(each.pattern)
    ]
    assert len(addresses) == 7
    for address in addresses:
        answer = getattr(charlie, method)(f"/{address}", {"app": "shop", "source": "shop", "to": "shop"})
        assert answer.status_code in {404, 405}, address
    assert "shop-line" not in text_of(charlie.get("/pipelines"))


def test_a_viewer_of_an_app_sees_the_pipeline_and_can_change_nothing(line, alice):
    bob = make_user("bob")
    for name in ("shop-staging", "shop"):
        add_collaborator(app_of(name), bob, Role.VIEWER, by=alice)
    client = Client()
    client.force_login(bob)
    page = client.get("/pipelines/shop-line")
    assert "Add an app" not in text_of(page)
    assert "You are viewer there; this takes developer." in text_of(
        client.get("/pipelines/shop-line/promote?source=shop-staging")
    )
    for address, data in (
        ("add", {"app": "shop", "stage": "staging"}),
        ("move", {"app": "shop", "stage": "staging"}),
        ("rename", {"name": "mine"}),
        ("destroy", {"confirm": "shop-line"}),
        ("promote", {"source": "shop-staging", "to": "shop"}),
    ):
        assert client.post(f"/pipelines/shop-line/{address}", data).status_code == 403, address
    assert not Promotion.objects.exists()


def test_a_pipeline_with_many_apps_asks_the_database_a_bounded_number_of_times(client, line, alice):
    def count() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            client.get("/pipelines/shop-line")
        return len(queries)

    before = count()
    for number in range(5):
        app = make_app(f"eu-{number}", owner=alice)
        services.couple_app(line, app, "production", by=alice)
        make_release(app)
    assert count() - before <= 5 * 3  # since when its image has been live: two; whether it can be added elsewhere: one
