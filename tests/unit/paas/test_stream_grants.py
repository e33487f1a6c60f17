"""What the web process tells the streams process, and to whom."""

from __future__ import annotations

import pytest
from django.test import Client

from paas.accounts.models import User
from paas.apps.services import restart_app
from paas.core import redis
from tests.factories import make_app, make_release, make_user

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_stranger_gets_no_grant_and_nobody_at_all_neither():
    app = make_app()
    version = make_release(app).version
    charlie = signed_in(make_user("charlie"))
    for path in ("changes", f"releases/{version}", "builds/1"):
        assert charlie.get(f"/-/streams/apps/{app.name}/{path}").status_code == 404
        assert Client().get(f"/-/streams/apps/{app.name}/{path}").status_code == 401


def test_the_log_of_a_release_has_an_outcome_once_it_is_over():
    app = make_app()
    live, pending = make_release(app), make_release(app, live=False)
    client = signed_in(app.owner)
    grant = client.get(f"/-/streams/apps/{app.name}/releases/{live.version}").json()
    assert grant["file"] == str(live.pk)
    assert grant["outcome"] == {"status": "succeeded", "release": live.version, "reason": "", "hint": ""}
    assert client.get(f"/-/streams/apps/{app.name}/releases/{pending.version}").json()["outcome"] is None


def test_everybody_hears_of_the_apps_they_see():
    app, _foreign = make_app("hello"), make_app("foreign")
    assert signed_in(app.owner).get("/-/streams/changes").json() == {"kind": "changes", "apps": [str(app.pk)]}
    assert signed_in(make_user("root", is_admin=True)).get("/-/streams/changes").json()["apps"] is None


@pytest.mark.django_db(transaction=True)
def test_a_wish_is_announced_after_its_commit():
    app = make_app()
    restart_app(app, by=app.owner)
    assert [fields for _, fields in redis.client().xrange("paas:changes")] == [{"app": str(app.pk)}]
