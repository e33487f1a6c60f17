"""apps and what is done with them."""

from __future__ import annotations

import pytest

from paas.apps.models import App
from tests.factories import make_app, make_release

pytestmark = pytest.mark.django_db


def test_apps_are_listed_with_release_and_address(paas, app):
    make_release(app)
    make_app("other", owner=app.owner)
    listed = paas("apps")
    assert listed.out.splitlines() == [
        "app    release  address",
        "hello  v1       http://hello.apps.example",
        "other  –        http://other.apps.example",
    ]
    row = paas("apps", "--json").json[0]
    assert (row["name"], row["release"], row["url"], row["owner"], row["maintenance"]) == (
        "hello", 1, "http://hello.apps.example", "alice@example.com", False,
    )  # fmt: skip
    assert row["git_url"].endswith("git.apps.example/hello.git")


def test_where_there_are_no_apps_one_is_told_how_to_make_one(paas):
    said = paas("apps")
    assert (said.out, "apps:create" in said.err) == ("", True)


def test_an_app_gets_another_name(paas, app):
    said = paas("apps:rename", "world", "--app", "hello").err
    assert "hello is world now, at http://world.apps.example/" in said
    assert "git remote set-url paas" in said
    app.refresh_from_db()
    assert app.name == "world"


def test_an_app_is_made_and_destroyed_by_who_types_its_name(paas, app):
    assert "Created shop" in paas("apps:create", "shop").err
    assert "is taken" in paas("apps:create", "shop", code=1).err
    refused = paas("apps:destroy", "shop", "--confirm", "hello", code=1)
    assert "Nothing was destroyed" in refused.err
    assert App.objects.filter(name="shop", destroyed_at__isnull=True).exists()
