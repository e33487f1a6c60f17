"""The ledger: every change is a whole release, and going back restores all of it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from django.db import connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from paas.accounts.models import User
from paas.config.services import change_config
from paas.core import audit
from paas.releases.models import PortBinding, Release, ReleaseKind, ReleaseStatus, Tag
from paas.releases.ports import Key, key_of, overlap
from paas.releases.selectors import current_release, rollback_target, wished_release
from paas.releases.services import create_change, fail_release, finish_release, roll_back
from runtime.errors import BootFailed, Conflict, InvalidInput, NotFound
from tests.factories import make_app, make_change, make_config, make_image, make_live, make_port, make_release, make_user

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
    assert set(sent_tasks) == {
        ("releases.publish_tags", (str(app.pk),)),
        ("hooks.take_events", ()),
        ("convergence.converge", (str(app.pk),)),
    }


def test_a_deploy_carries_ports_limits_and_health_settings_over():
    app = make_app()
    make_release(app)
    ports, limits = [make_port(20001)], {"web": {"memory_bytes": 64 << 20, "cpu_shares": 512}}
    make_live(make_change(app, ports=ports))
    make_live(make_change(app, limits=limits))
    make_live(make_change(app, health_overrides={"web": {"kind": "http", "path": "/up"}}))
    release = make_release(app, health_checks={"web": {"kind": "tcp"}, "worker": {"kind": "uptime"}})
    assert (release.ports, release.limits) == (ports, limits)
    assert release.health == {"web": {"kind": "http", "path": "/up"}, "worker": {"kind": "uptime"}}


def test_a_change_knows_its_kind_its_door_and_its_reason():
    app = make_app()
    make_release(app)
    with audit.through("web"):
        release = create_change(
            app, by=app.owner, kind=ReleaseKind.LIMITS, description="Limit web", limits={"web": {}}, why="It leaks."
        )
    assert release is not None
    assert (release.kind, release.door, release.why) == ("limits", "web", "It leaks.")


def test_a_change_to_what_is_already_so_makes_no_release():
    app = make_app()
    make_live(make_change(app, ports=[make_port(20001)]))
    again = create_change(app, by=app.owner, kind=ReleaseKind.PORTS, description="Again", ports=[make_port(20001)])
    assert again is None


def test_a_rollback_restores_only_what_was_chosen():
    app = make_app()
    make_config(app, GREETING="hi")
    old = make_release(app)
    make_live(make_config(app, GREETING="bye"))
    make_live(make_change(app, limits={"web": {"memory_bytes": 1 << 28}}))
    new = make_release(app)
    again = roll_back(app, old, by=app.owner, only=("code",), why="The new one is slow.")
    assert (again.image, again.config, again.limits) == (old.image, {"GREETING": "bye"}, new.limits)
    assert (again.description, again.why) == ("Rollback to v2: code", "The new one is slow.")
    make_live(again)
    again = roll_back(app, old, by=app.owner, only=("limits", "config"))
    assert (again.image, again.config, again.limits) == (old.image, {"GREETING": "hi"}, {})


@pytest.mark.parametrize("only", [(), ("data",)])
def test_a_rollback_of_nothing_or_of_something_unknown_is_refused(only):
    app = make_app()
    old = make_release(app)
    make_release(app)
    with pytest.raises(InvalidInput) as caught:
        roll_back(app, old, by=app.owner, only=only)
    assert caught.value.id == "unknown_part"


def bound(app) -> set[str]:
    return {str(row) for row in PortBinding.objects.filter(app=app)}


def test_ports_are_the_apps_while_its_current_or_wished_release_has_them():
    app = make_app()
    make_release(app)
    first = make_change(app, ports=[make_port(20001)])
    make_live(first)
    second = make_change(app, ports=[make_port(20002)])
    assert bound(app) == {"0.0.0.0:20001/tcp", "0.0.0.0:20002/tcp"}
    fail_release(second, BootFailed("no"))
    assert bound(app) == {"0.0.0.0:20001/tcp"}
    third = make_change(app, ports=[make_port(20003)])
    fourth = make_change(app, ports=[make_port(20004)])
    third.refresh_from_db()
    assert third.status == "superseded"
    assert bound(app) == {"0.0.0.0:20001/tcp", "0.0.0.0:20004/tcp"}
    make_live(fourth)
    assert bound(app) == {"0.0.0.0:20004/tcp"}


def test_a_port_of_another_app_is_refused_and_named_only_to_those_who_may_see_it():
    alice, bob = make_user("alice"), make_user("bob")
    first, second, third = make_app("shop", owner=alice), make_app("blog", owner=alice), make_app("news", owner=bob)
    make_change(first, ports=[make_port(20001)])
    with pytest.raises(Conflict, match="belongs to the app shop"):
        make_change(second, ports=[make_port(20001, public_address="127.0.0.1")])
    with pytest.raises(Conflict, match="belongs to another app"):
        make_change(third, ports=[make_port(20001)])
    assert not Release.objects.filter(app__in=[second, third]).exists()
    make_change(third, ports=[make_port(20001, protocol="udp")])


def test_a_rollback_to_ports_that_are_taken_by_now_changes_nothing():
    alice = make_user("alice")
    first, second = make_app("shop", owner=alice), make_app("blog", owner=alice)
    make_release(first)
    old = make_change(first, ports=[make_port(20001)])
    make_live(old)
    make_live(make_change(first, ports=[]))
    make_change(second, ports=[make_port(20001)])
    before = first.releases.count()
    with pytest.raises(Conflict) as caught:
        roll_back(first, old, by=alice)
    assert caught.value.id == "port_of_another_app"
    assert first.releases.count() == before
    assert roll_back(first, old, by=alice, only=("code", "config")).ports == []


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        (("0.0.0.0", 53, "udp"), ("127.0.0.1", 53, "udp"), True),
        (("127.0.0.2", 53, "udp"), ("127.0.0.1", 53, "udp"), False),
        (("0.0.0.0", 53, "udp"), ("0.0.0.0", 53, "tcp"), False),
        (("0.0.0.0", 80, "http"), ("0.0.0.0", 80, "tcp"), True),
        (("0.0.0.0", 80, "tcp"), ("0.0.0.0", 81, "tcp"), False),
        (("127.0.0.1", 80, "tcp"), ("127.0.0.1", 80, "tcp"), True),
    ],
)
def test_two_bindings_meet_on_the_same_port_of_an_address_they_share(one, other, meet):
    assert overlap(one, other) is meet
    assert overlap(other, one) is meet


steps = st.lists(
    st.tuples(
        st.sampled_from(["shop", "blog"]),
        st.sampled_from(["change", "live", "fail", "back"]),
        st.sets(
            st.tuples(
                st.sampled_from(["0.0.0.0", "127.0.0.1"]), st.integers(1, 2), st.sampled_from(["tcp", "udp", "http"])
            ),
            max_size=2,
        ),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(steps)
def test_whatever_happens_no_port_is_promised_twice_and_rows_say_what_releases_say(steps):
    alice = User.objects.filter(email="alice@example.com").first() or make_user("alice")
    with transaction.atomic():
        apps = {name: make_app(name, owner=alice) for name in ("shop", "blog")}
        first = {name: make_release(app) for name, app in apps.items()}
        for name, verb, wanted in steps:
            app = apps[name]
            with suppress(Conflict):
                if verb == "change":
                    ports = [
                        make_port(port, public_address=address, protocol=protocol)
                        for address, port, protocol in sorted(wanted)
                    ]
                    create_change(app, by=alice, kind=ReleaseKind.PORTS, description="Ports", ports=ports)
                elif verb == "live":
                    make_live(wished(app))
                elif verb == "fail":
                    fail_release(wished(app), BootFailed("no"))
                else:
                    roll_back(app, first[name], by=alice)
            rows: dict[str, set[Key]] = {name: set() for name in apps}
            for row in PortBinding.objects.select_related("app"):
                rows[row.app.name].add((row.public_address, row.public_port, row.protocol))
            for name, app in apps.items():
                releases = current_release(app), wished_release(app)
                assert rows[name] == {key_of(port) for release in releases if release for port in release.ports}
            assert not any(overlap(one, other) for one in rows["shop"] for other in rows["blog"])
        transaction.set_rollback(True)


def wished(app) -> Release:
    release = wished_release(app)
    assert release is not None
    return release
