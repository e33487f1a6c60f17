"""The ledger: every change is a whole release, and going back restores all of it."""

from __future__ import annotations

import pytest
from django.db import connection

from paas.config.services import change_config
from paas.releases.models import ReleaseStatus, Tag
from paas.releases.selectors import current_release, rollback_target, wished_release
from paas.releases.services import fail_release, finish_release, roll_back
from runtime.errors import BootFailed, InvalidInput, NotFound
from tests.factories import make_app, make_config, make_image, make_live, make_release

pytestmark = pytest.mark.django_db


def test_config_set_before_the_first_push_is_a_release_and_current_at_once():
    app = make_app()
    release = make_config(app, GREETING="hi")
    app.refresh_from_db()
    assert (release.version, release.status) == (1, "succeeded")
    assert current_release(app).config == {"GREETING": "hi"}


def test_a_deploy_takes_the_config_along():
    app = make_app()
    make_config(app, GREETING="hi")
    app.refresh_from_db()
    release = make_release(app)
    assert (release.version, release.config) == (2, {"GREETING": "hi"})


def test_a_rollback_restores_image_and_config_as_a_new_release():
    app = make_app()
    make_config(app, GREETING="hi")
    app.refresh_from_db()
    old = make_release(app)
    make_live(make_config(app, GREETING="bye", EXTRA="1"))
    app.refresh_from_db()
    make_release(app)
    again = roll_back(app, old, by=app.owner)
    assert (again.version, again.image, again.config) == (5, old.image, {"GREETING": "hi"})
    assert again.copied_from == old
    assert again.description == "Rollback to v2"


def test_a_failed_release_changes_nothing_and_does_not_lend_its_config_to_the_next():
    app = make_app()
    good = make_release(app)
    bad = make_config(app, BROKEN="1")
    assert wished_release(app) == bad
    fail_release(bad, BootFailed("It exited with 1.", id="boot_crashed"))
    app.refresh_from_db()
    assert current_release(app) == good
    assert wished_release(app) == good
    bad.refresh_from_db()
    assert (bad.status, bad.error_id, bad.reason) == ("failed", "boot_crashed", "It exited with 1.")
    assert make_config(app, FINE="1").config == {"FINE": "1"}


def test_a_newer_release_supersedes_one_that_waits_and_keeps_its_config():
    app = make_app()
    make_release(app)
    first = make_config(app, A="1")
    second = make_config(app, B="2")
    first.refresh_from_db()
    assert first.status == ReleaseStatus.SUPERSEDED
    assert second.config == {"A": "1", "B": "2"}
    assert not finish_release(first)


def test_a_config_change_that_overtakes_a_deploy_runs_its_release_command():
    app = make_app()
    make_release(app, live=False, release_command="migrate")
    assert make_config(app, A="1").release_command == "migrate"
    app = make_app("other")
    make_release(app, release_command="migrate")
    assert make_config(app, A="1").release_command == ""


def test_changing_nothing_makes_no_release():
    app = make_app()
    make_config(app, A="1")
    app.refresh_from_db()
    assert change_config(app, {"A": "1", "GONE": None}, by=app.owner) is None


def test_the_rollback_target_is_the_release_before_the_current_one():
    app = make_app()
    with pytest.raises(NotFound):
        rollback_target(app)
    first = make_release(app)
    make_release(app)
    app.refresh_from_db()
    assert rollback_target(app) == first


def test_a_release_that_failed_or_has_no_image_cannot_be_rolled_back_to():
    app = make_app()
    bare = make_config(app, A="1")
    failed = make_release(app, live=False)
    fail_release(failed, BootFailed("no"))
    failed.refresh_from_db()
    for target in (bare, failed):
        with pytest.raises(InvalidInput):
            roll_back(app, target, by=app.owner)


def test_tags_follow_versions_and_latest_the_current_release():
    app = make_app()
    image = make_image(app)
    make_release(app, image=image)
    assert set(Tag.objects.filter(image=image).values_list("name", flat=True)) == {"v1", "latest"}
    make_release(app)
    assert set(Tag.objects.filter(image=image).values_list("name", flat=True)) == {"v1"}


def test_config_is_encrypted_at_rest():
    app = make_app()
    make_config(app, SECRET="canary-4711")
    with connection.cursor() as cursor:
        cursor.execute("select config from releases_release")
        stored = cursor.fetchone()[0]
    assert "canary" not in stored
    assert "SECRET" not in stored


def test_every_change_asks_for_convergence_after_the_commit(sent_tasks, django_capture_on_commit_callbacks):
    app = make_app()
    with django_capture_on_commit_callbacks(execute=True):
        make_release(app, live=False)
    assert sent_tasks == [("convergence.converge", (str(app.pk),))]
