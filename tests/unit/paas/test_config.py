"""Config vars: what may be one, how they change, who looks at them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paas.config.rules import MAX_TOTAL_BYTES, MAX_VALUE_BYTES, check_config
from paas.config.selectors import config_history, present_config
from paas.config.services import change_config, reveal_config
from paas.core.audit import MASK
from paas.core.models import AuditEvent
from paas.releases.services import fail_release
from runtime.errors import BootFailed, Conflict, InvalidInput, NotFound
from tests.factories import make_app, make_config, make_live, make_release


@pytest.mark.parametrize(
    "name", ["", "1A", "A-B", "A B", "A=B", "Ä", "PORT", "PAAS_APP", "_", "PWD", "type", "A" * 129, "A\n"]
)
def test_bad_names_are_refused(name):
    with pytest.raises(InvalidInput) as caught:
        check_config({name: "x"})
    assert caught.value.hint


@pytest.mark.parametrize("value", ["a\0b", "x" * (MAX_VALUE_BYTES + 1)])
def test_values_an_environment_cannot_carry_are_refused(value):
    with pytest.raises(InvalidInput):
        check_config({"A": value})


def test_the_whole_config_has_a_limit():
    with pytest.raises(InvalidInput, match="config would be"):
        check_config({f"A{n}": "x" * 30_000 for n in range(MAX_TOTAL_BYTES // 30_000 + 1)})


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=5))
def test_whatever_comes_it_is_accepted_or_refused_in_words(config):
    refusal = None
    try:
        check_config(config)
    except InvalidInput as exc:
        refusal = exc
    assert refusal is None or (refusal.message and refusal.hint)


def test_names_in_other_cases_are_other_names():
    check_config({"path_to": "1", "PATH_TO": "2", "port": "3", "paas_x": "4"})


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(InvalidInput, match="not UTF-8"):
        check_config({"A": "\udcff"})


def test_there_is_a_limit_to_how_many():
    with pytest.raises(InvalidInput, match="501 config vars"):
        check_config({f"A{n}": "" for n in range(501)})


@pytest.mark.django_db
def test_many_changes_are_one_release_and_one_entry_in_the_audit_log_without_values():
    app = make_app()
    make_config(app, OLD="old value", SAME="same value", GONE="gone value")
    release = change_config(app, {"OLD": "new value", "GONE": None, "NEW": "fresh value"}, by=app.owner)
    assert release is not None
    assert release.config == {"OLD": "new value", "SAME": "same value", "NEW": "fresh value"}
    event = AuditEvent.objects.get(action="release.create", detail__version=release.version)
    assert event.before is not None
    assert event.after is not None
    assert event.before["config"] == {"GONE": MASK, "OLD": MASK}
    assert event.after["config"] == {"NEW": MASK, "OLD": MASK}
    assert " value" not in str(AuditEvent.objects.values())


@pytest.mark.django_db
def test_replacing_all_removes_what_is_not_named():
    app = make_app()
    make_config(app, A="1", B="2")
    release = change_config(app, {"B": "3"}, by=app.owner, replace=True)
    assert release is not None
    assert release.config == {"B": "3"}
    assert release.description == "Set B; Unset A"


@pytest.mark.django_db
def test_a_change_made_against_an_older_config_is_refused_and_says_what_came_between():
    app = make_app()
    seen = make_config(app, A="1")
    make_config(app, A="2", B="1")
    with pytest.raises(Conflict) as refused:
        change_config(app, {"A": "3"}, by=app.owner, seen_version=seen.version)
    assert refused.value.message == (
        "The config of hello has changed since you looked at it: that was v1, now it is v2: Set A, B."
    )
    assert present_config(app).values == {"A": "2", "B": "1"}


@pytest.mark.django_db
def test_a_deploy_that_came_between_does_no_harm():
    app = make_app()
    seen = make_config(app, A="1")
    app.refresh_from_db()
    make_release(app)
    release = change_config(app, {"A": "3"}, by=app.owner, seen_version=seen.version)
    assert release is not None


@pytest.mark.django_db
def test_the_first_config_of_all_can_be_seen_before_too():
    app = make_app()
    assert change_config(app, {"A": "1"}, by=app.owner, seen_version=0)
    with pytest.raises(Conflict):
        change_config(app, {"B": "1"}, by=app.owner, seen_version=0)


@pytest.mark.django_db
def test_who_looks_at_values_is_in_the_audit_log_with_the_names():
    app = make_app()
    make_config(app, A="secret one", B="secret two")
    assert reveal_config(app, {"B"}, by=app.owner).values == {"B": "secret two"}
    assert reveal_config(app, by=app.owner, action="export").values == {"A": "secret one", "B": "secret two"}
    shown, exported = AuditEvent.objects.filter(action__in=["config.reveal", "config.export"]).order_by("id")
    assert (shown.detail["names"], exported.detail["names"]) == (["B"], ["A", "B"])
    assert "secret" not in str([shown.detail, exported.detail])
    with pytest.raises(NotFound):
        reveal_config(app, {"C"}, by=app.owner)


@pytest.mark.django_db
def test_the_history_says_which_release_changed_what_and_leaves_failed_ones_out_of_account():
    app = make_app()
    make_config(app, A="1")
    app.refresh_from_db()
    make_release(app)
    failed = make_config(app, BROKEN="1")
    fail_release(failed, BootFailed("It ended."))
    make_live(make_config(app, A="2"))
    make_live(make_config(app, B="1", A=None))
    assert [(step.release.version, str(step.difference)) for step in config_history(app)] == [
        (5, "Set B; Unset A"),
        (4, "Set A"),
        (3, "Set BROKEN"),
        (1, "Set A"),
    ]
