"""releases, rollback, tags, deploy of a tag."""

from __future__ import annotations

import pytest

from paas.releases.models import Release
from paas.releases.selectors import tags_of
from tests.factories import make_config, make_live, make_release

pytestmark = pytest.mark.django_db


@pytest.fixture
def live(app, transport):
    """An app with v1, v2 that added a config var, v3 with new code; what is released from now on succeeds."""
    make_release(app)
    make_live(make_config(app, GREETING="Hej"))
    make_release(app)

    def convergence():
        for release in Release.objects.filter(app=app, status="pending"):
            make_live(release)

    transport.meanwhile = convergence
    return app


def test_releases_are_listed_newest_first(paas, live):
    lines = paas("releases", "-a", "hello", "-n", "2").out.splitlines()
    assert [line.split()[:2] for line in lines] == [["release", "state"], ["v3", "current"], ["v2", "succeeded"]]
    assert [row["version"] for row in paas("releases", "-a", "hello", "--json").json] == [3, 2, 1]


def test_one_release_is_shown_with_all_that_it_holds(paas, live):
    text = paas("releases:info", "-a", "hello").out
    assert "version             3" in text
    assert 'config names        ["GREETING"]' in text
    facts = paas("releases:info", "-a", "hello", "v2", "--json").json
    assert (facts["version"], facts["description"], facts["current"]) == (2, "Set GREETING", False)
    assert "v99" in paas("releases:info", "-a", "hello", "v99", code=1).err


def test_two_releases_are_compared_without_values(paas, live):
    shown = paas("releases:diff", "-a", "hello", "v1", "v2").out
    assert "GREETING" in shown
    assert "Hej" not in shown
    assert paas("releases:diff", "-a", "hello", "v1").out != ""


def test_a_rollback_goes_to_the_one_before_or_to_the_one_named(paas, live):
    assert "Releasing v4" in paas("rollback", "-a", "hello").err
    assert Release.objects.get(app=live, version=4).copied_from.version == 2
    paas("rollback", "-a", "hello", "v3", "--only", "code", "--why", "It was right.")
    made = Release.objects.get(app=live, version=5)
    assert (made.why, made.copied_from.version) == ("It was right.", 3)
    assert "data" in paas("rollback", "-a", "hello", "v1", "--only", "data", code=1).err
    assert paas("rollback", "-a", "hello", "v99", code=1).code == 1


def test_a_dry_run_shows_what_would_change_and_changes_nothing(paas, live):
    assert "GREETING" in paas("rollback", "-a", "hello", "v1", "--dry-run").out
    assert Release.objects.filter(app=live).count() == 3


def test_the_image_of_a_release_can_be_kept(paas, live):
    paas("releases:pin", "-a", "hello", "v1")
    assert Release.objects.get(app=live, version=1).pinned
    paas("releases:unpin", "-a", "hello", "v1")
    assert not Release.objects.get(app=live, version=1).pinned


def test_tags_are_made_protected_deployed_and_removed(paas, live):
    assert "stable points to sha256:" in paas("tags:add", "-a", "hello", "stable", "v1").err
    assert paas("tags:add", "-a", "hello", "stable", "v1").err == "Nothing changes.\n"
    paas("tags:protect", "-a", "hello", "stable")
    assert "protected" in paas("tags:remove", "-a", "hello", "stable", code=1).err
    assert "protected" in paas("tags", "-a", "hello").out
    said = paas("deploy", "-a", "hello", "--tag", "stable")
    assert "done, live at http://hello.apps.example" in said.err
    paas("tags:protect", "-a", "hello", "--off", "stable")
    paas("tags:remove", "-a", "hello", "stable")
    assert not tags_of(live).filter(name="stable").exists()
    assert "no tag" in paas("tags:protect", "-a", "hello", "nothing", code=1).err.lower()
