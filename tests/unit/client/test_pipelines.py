"""pipelines: apps in stages, and the same image in the next of them."""

from __future__ import annotations

import pytest

from paas.pipelines.models import Pipeline, Promotion
from tests.factories import make_app, make_release

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(paas, app):
    """A pipeline with `hello` in staging, which is deployed, and `live` in production."""
    make_app("live", owner=app.owner)
    make_release(app)
    paas("pipelines:create", "shop", "-a", "hello", "-s", "staging")
    paas("pipelines:add", "-a", "live", "-s", "production", "shop")
    return Pipeline.objects.get(name="shop")


def test_pipelines_are_made_shown_changed_and_forgotten(paas, shop):
    assert "No pipelines" not in paas("pipelines").err
    assert paas("pipelines").out.splitlines()[1].split(maxsplit=1) == ["shop", "hello, live  admin@example.com"]
    assert paas("pipelines", "--json").json[0]["apps"] == ["hello", "live"]
    lines = [line.split()[:3] for line in paas("pipelines:info", "shop").out.splitlines()]
    assert lines[1:] == [["staging", "hello", "v1"], ["production", "live", "–"]]
    assert [row["stage"] for row in paas("pipelines:info", "shop", "--json").json] == ["staging", "production"]
    paas("pipelines:update", "-a", "live", "-s", "development")
    assert paas("pipelines:info", "shop", "--json").json[0]["app"] == "live"
    assert "no longer in shop" in paas("pipelines:remove", "-a", "live").err
    paas("pipelines:rename", "shop", "store")
    assert "Nothing was destroyed" in paas("pipelines:destroy", "store", "--confirm", "shop", code=1).err
    paas("pipelines:destroy", "store", "--confirm", "store")
    assert not Pipeline.objects.exists()


def test_what_a_promotion_would_change_is_shown_and_it_goes_to_the_next_stage(paas, shop):
    assert paas("pipelines:promote", "-a", "hello", "--dry-run").out.startswith("live:\n")
    assert not Promotion.objects.exists()
    said = paas("pipelines:promote", "-a", "hello", "--why", "It is tested.", "--no-wait")
    assert said.err == "Promoting hello to live\n"
    made = Promotion.objects.get()
    assert (made.source.name, made.why) == ("hello", "It is tested.")
    assert "no stage after production" in paas("pipelines:promote", "-a", "live", code=1).err
