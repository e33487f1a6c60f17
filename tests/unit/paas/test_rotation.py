"""secrets:rotate: everything encrypted gets another key; stopped at any point, nothing is lost."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from paas.core import crypto, sealing
from paas.core.keys import new_key, read_keys, session_secrets
from paas.core.models import AuditEvent
from paas.core.rotation import encrypted_fields, rotate_keys
from paas.releases.models import Release
from runtime.errors import Conflict, NotFound
from tests.factories import make_app, make_config, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def key():
    """A platform that has been started once; its session keys are put back afterwards."""
    before = settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS
    settings.ENV.secret_file.write_text(new_key() + "\n")
    settings.ENV.saved_file.write_text("")
    crypto.follow_keys()
    yield settings.ENV.secret_file.read_text()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = before


def rotate(**options):
    return rotate_keys(by=None, settle_seconds=0, **options)


def stored():
    with connection.cursor() as cursor:
        cursor.execute("SELECT config FROM releases_release ORDER BY version")
        return [row[0] for row in cursor.fetchall()]


def configs():
    return [release.config for release in Release.objects.order_by("version")]


def make_history():
    app = make_app()
    for number in range(5):
        make_config(app, SECRET=f"value {number}")
    return configs()


def test_everything_encrypted_has_the_new_key_and_the_old_one_is_gone(key):
    before, old = make_history(), stored()
    done = rotate()
    assert (done.values, done.was_resumed) == (5, False)
    keys = settings.ENV.secret_file.read_text().split()
    assert len(keys) == 1
    assert keys[0] != key.strip()
    assert configs() == before
    assert not set(old) & set(stored())
    settings.ENV.secret_file.write_text(key)
    with pytest.raises(crypto.CannotDecrypt):
        configs()


def test_the_key_is_written_for_root_alone():
    rotate()
    assert settings.ENV.secret_file.stat().st_mode & 0o777 == 0o600


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", range(6))
def test_a_rotation_stopped_at_any_point_loses_nothing_and_goes_on(at, monkeypatch):
    monkeypatch.setattr("paas.core.rotation.BATCH", 2)
    before = make_history()
    steps = 0

    def report(_what, _count):
        nonlocal steps
        if steps == at:
            raise Killed
        steps += 1

    with pytest.raises(Killed):
        rotate(report=report)
    assert configs() == before
    unfinished = settings.ENV.secret_file.read_text().split()
    assert len(unfinished) == 2
    done = rotate()
    assert done.was_resumed
    assert settings.ENV.secret_file.read_text().split() == unfinished[:1]
    assert configs() == before


def test_a_value_that_another_process_writes_meanwhile_is_kept():
    app = make_app()
    make_config(app, SECRET="first")
    changed: list[object] = []

    def report(what, _count):
        if what.startswith("Waiting") and not changed:
            changed.append(make_config(app, SECRET="second"))

    rotate(report=report)
    assert configs() == [{"SECRET": "first"}, {"SECRET": "second"}]


def test_a_value_that_was_closed_with_the_old_key_at_the_last_moment_is_found(key):
    make_history()
    late: list[str] = []

    def report(what, _count):
        if what.startswith("Waiting") and not late:  # by a transaction that had begun before
            token = sealing.fernet(key.strip().encode()).encrypt(b'{"LATE":"1"}').decode()
            with connection.cursor() as cursor:
                cursor.execute("UPDATE releases_release SET config = %s WHERE version = 1", [token])
            late.append(token)

    done = rotate(report=report)
    assert done.values == 6
    assert configs()[0] == {"LATE": "1"}


def test_a_running_process_follows_at_its_next_use():
    old_token = crypto.encrypt("text")
    first = settings.ENV.secret_file.read_text()
    settings.ENV.secret_file.unlink()
    settings.ENV.secret_file.write_text(f"{new_key()}\n{first}")
    assert crypto.decrypt(old_token) == "text"
    assert not crypto.is_current(old_token)
    assert crypto.is_current(crypto.encrypt("text"))


def test_a_key_file_that_is_away_for_a_moment_does_not_stop_a_running_process():
    token = crypto.encrypt("text")
    content = settings.ENV.secret_file.read_bytes()
    settings.ENV.secret_file.unlink()
    assert crypto.decrypt(token) == "text"
    settings.ENV.secret_file.write_bytes(content)
    assert crypto.decrypt(token) == "text"


def test_a_value_that_fits_no_key_stops_the_rotation_before_a_key_goes():
    before = make_history()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE releases_release SET config = 'gAAAAA' WHERE version = 5")
    with pytest.raises(crypto.CannotDecrypt):
        rotate()
    assert len(settings.ENV.secret_file.read_text().split()) == 2
    assert [r.config for r in Release.objects.filter(version__lt=5).order_by("version")] == before[:4]


def test_who_is_signed_in_stays_signed_in():
    browser = Client()
    alice = make_user("alice")
    browser.force_login(alice)
    done = rotate()
    assert done.sessions == 1
    assert session_secrets(read_keys(settings.ENV.secret_file))[0] == settings.SECRET_KEY
    assert settings.SECRET_KEY_FALLBACKS == []
    assert browser.get("/").status_code == 200


def test_a_password_changed_before_the_rotation_still_ends_older_sessions():
    browser = Client()
    alice = make_user("alice")
    browser.force_login(alice)
    alice.set_password("another horse battery")
    alice.save()
    rotate()
    assert browser.get("/").status_code == 302


def test_a_second_rotation_at_the_same_time_is_refused():
    refused: list[Conflict] = []

    def report(_what, _count):
        if not refused:
            with pytest.raises(Conflict) as caught:
                rotate()
            refused.append(caught.value)

    rotate(report=report)
    assert refused[0].hint


def test_without_a_key_there_is_nothing_to_rotate():
    settings.ENV.secret_file.unlink()
    with pytest.raises(NotFound):
        rotate()


def test_the_rotation_is_in_the_audit_log():
    rotate()
    steps = [event.detail["step"] for event in AuditEvent.objects.filter(action="secrets.rotate").order_by("id")]
    assert steps == ["begun", "finished"]


def test_every_encrypted_field_is_found():
    assert (Release, "config") in encrypted_fields()


def test_a_lost_key_stops_the_platform_from_starting(tmp_path):
    (tmp_path / "paas.env").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", "import paas.settings"],
        env={"PAAS_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Restore it from the backup" in done.stderr
