"""config and its changes, each of them one release."""

from __future__ import annotations

from pathlib import Path

import pytest

from paas.config.selectors import present_config
from paas.core.models import AuditEvent
from paas.releases.models import Release
from paas.releases.services import fail_release
from runtime.errors import BootFailed
from tests.factories import make_app, make_config, make_live, make_release, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def app():
    return make_app(owner=make_user("alice"))


@pytest.mark.parametrize("value", ["plain", "two\nlines", 'it\'s "quoted" \\', "a\rb", " lead", "=", "ä😀", "x" * 30_000])
def test_what_is_exported_can_be_imported(paas, app, value):
    make_config(app, VALUE=value, OTHER="1")
    exported = paas("config:export", "-a", "hello").out
    paas("config:unset", "-a", "hello", "VALUE", "--no-wait")
    said = paas("config:import", "-a", "hello", "--no-wait", text=exported)
    assert present_config(app).values == {"VALUE": value, "OTHER": "1"}
    assert "+ VALUE" in said.err
    assert "1 unchanged" in said.err
    assert value not in said.err or len(value) < 3
    assert paas("config:get", "-a", "hello", "VALUE").out == value + "\n"


def test_an_import_from_a_file_can_replace_all(paas, app, tmp_path):
    make_config(app, OLD="1", KEPT="1")
    file = tmp_path / "new.env"
    file.write_bytes(b"\xef\xbb\xbfKEPT=1\r\nNEW='a\r\nb'\r\n")
    said = paas("config:import", "-a", "hello", "--replace", "--no-wait", str(file))
    assert present_config(app).values == {"KEPT": "1", "NEW": "a\nb"}
    assert "- OLD" in said.err


@pytest.mark.parametrize("data", [b"A=1\nB=\xff\n", b"A=1\nnothing\n"])
def test_an_import_with_a_mistake_changes_nothing(paas, app, data):
    assert "Line 2" in paas("config:import", "-a", "hello", text=data, code=1).err
    assert present_config(app).version == 0


def test_the_config_is_edited_in_an_editor_and_leaves_no_file(paas, app, tmp_path, monkeypatch):
    make_config(app, OLD="secret", KEPT="it's")
    editor = tmp_path / "editor"
    editor.write_text(
        f"#!/bin/sh\nls -l $1 > {tmp_path}/seen\necho $1 >> {tmp_path}/seen\nsed -i '/^OLD/d; 1iNEW=1' $1\n"
    )
    editor.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(editor))
    paas("config:edit", "-a", "hello", "--yes", "--no-wait")
    assert present_config(app).values == {"KEPT": "it's", "NEW": "1"}
    rights, file = (tmp_path / "seen").read_text().splitlines()
    assert rights.startswith("-rw-------")
    assert not Path(file).parent.exists()


def test_an_edit_overwrites_nothing_that_somebody_else_changed_meanwhile(paas, app, tmp_path, monkeypatch, transport):
    make_config(app, MODE="old")
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\necho MINE=1 >> $1\n")
    editor.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(editor))

    def somebody_else():
        if any(request.url.path.endswith("config-text") for request in transport.requests[:-1]):
            transport.meanwhile = lambda: None
            make_config(app, MODE="theirs")

    transport.meanwhile = somebody_else
    assert "changed" in paas("config:edit", "-a", "hello", "--yes", "--no-wait", code=1).err
    assert present_config(app).values == {"MODE": "theirs"}


def test_values_are_shown_for_shells_and_programs_and_looking_is_recorded(paas, app):
    make_config(app, GREETING="it's me", EMPTY="")
    assert paas("config", "-a", "hello").out == "EMPTY=''\nGREETING='it'\"'\"'s me'\n"
    assert paas("config", "-a", "hello", "--json").json == {"EMPTY": "", "GREETING": "it's me"}
    assert AuditEvent.objects.filter(action="config.reveal").count() == 2
    missing = paas("config:get", "-a", "hello", "NOTHING", code=1).err
    assert "has no config var 'NOTHING'" in missing


def test_a_change_waits_until_its_release_is_live_and_says_where(paas, app, transport):
    make_release(app)

    def convergence():
        for release in Release.objects.filter(app=app, status="pending"):
            make_live(release)

    transport.meanwhile = convergence
    said = paas("config:set", "-a", "hello", "A=1", "B=2=3")
    assert said.err == "Releasing v2 (Set A, B)… done, live at http://hello.apps.example\n"
    assert said.out == ""
    assert present_config(app).values == {"A": "1", "B": "2=3"}
    assert paas("config:set", "-a", "hello", "A=1").err == "Nothing changes.\n"


def test_a_release_that_fails_is_the_users_problem_with_its_reason(paas, app, transport):
    make_release(app)

    def convergence():
        for release in Release.objects.filter(app=app, status="pending"):
            fail_release(release, BootFailed("web.1 ended with status 1.", hint="See its log."))

    transport.meanwhile = convergence
    said = paas("config:set", "-a", "hello", "A=1", code=1)
    assert said.err.splitlines() == [
        "Releasing v2 (Set A)… failed",
        " !     web.1 ended with status 1.",
        " !     See its log.",
    ]


def test_what_is_no_assignment_or_no_name_is_refused_before_anything_changes(paas, app):
    assert "'A' is not NAME=value." in paas("config:set", "-a", "hello", "A", code=1).err
    assert "1BAD" in paas("config:set", "-a", "hello", "1BAD=x", code=1).err
    assert present_config(app).version == 0
