"""What runs in the stages of a pipeline, and what a promotion would change, over the API."""

from __future__ import annotations

import pytest

from paas.pipelines import services
from tests.factories import make_app, make_config, make_live, make_release, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def line(alice):
    pipeline = services.create_pipeline("shop-line", by=alice)
    for name, stage in (("shop-staging", "staging"), ("shop", "production")):
        app = make_app(name, owner=alice)
        services.couple_app(pipeline, app, stage, by=alice)
        make_release(app, commit_subject=f"Code of {name}")
        make_live(make_config(app, GREETING=f"canary of {name}"))
    return pipeline


def test_the_stages_tell_what_runs_where(api, line):
    stages = {each["stage"]: each["apps"] for each in api.get("/pipelines/shop-line/stages").data}
    assert list(stages) == ["review", "development", "staging", "production"]
    shop = stages["production"][0]
    assert (shop["name"], shop["release"], shop["behind"], shop["role"]) == ("shop", 2, True, "owner")
    assert shop["commit_subject"] == "Code of shop"
    assert not stages["staging"][0]["behind"]
    assert ApiClient(make_user("charlie")).get("/pipelines/shop-line/stages").status_code == 404


def test_a_promotion_is_previewed_without_a_config_value(api, line):
    preview = api.get("/apps/shop-staging/promotion?to=shop")
    assert preview.data["seen"] == 2
    assert preview.data["after"] == "after the deploy of shop-staging v2"
    assert [each["group"] for each in preview.data["changes"] if each["group"] == "config"] == []
    assert b"canary" not in preview.content
    assert api.get("/apps/shop-staging/promotion").status_code == 422
    make_app("hers")
    assert api.get("/apps/shop-staging/promotion?to=hers").status_code == 404
