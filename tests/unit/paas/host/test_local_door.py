"""Root's own way to the API: a token that nobody has to ask for, kept for nobody else to read."""

from __future__ import annotations

import json
import stat
import time

import pytest
from django.conf import settings
from paas_client.errors import UserProblem

from paas.accounts.models import ApiToken
from paas.accounts.services import active_token
from paas.cli.local import LocalDoor
from paas.core.models import AuditEvent
from tests.factories import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def door():
    settings.ENV.run_dir.mkdir(parents=True)
    return LocalDoor(settings.ENV)


def test_a_token_of_the_first_admin_is_made_once_and_kept_for_half_a_day(door):
    admin = make_user("admin", is_admin=True)
    api = door.api()
    assert api.token == ""
    api.authorize()
    file = settings.ENV.run_dir / "cli.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert active_token(api.token).user == admin
    assert ApiToken.objects.get().expires_at.timestamp() == pytest.approx(time.time() + 12 * 3600, abs=60)
    assert door.api().token == api.token
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "expires_at": time.time() + 60}))
    assert door.api().token == "", "it may run out while a command works"
    file.write_text("half of i")
    assert door.api().token == ""


def test_whoever_is_acted_for_gets_a_token_for_minutes_that_is_kept_nowhere(door):
    make_user("admin", is_admin=True)
    bob = make_user("bob")
    api = door.api("bob@example.com")
    api.authorize()
    assert active_token(api.token).user == bob
    assert ApiToken.objects.get().expires_at.timestamp() < time.time() + 600
    assert not (settings.ENV.run_dir / "cli.json").exists()
    event = AuditEvent.objects.get(action="token.create")
    assert (event.actor_email, event.door) == ("admin@example.com", "cli")


def test_where_there_is_no_admin_or_no_such_user_it_is_said(door):
    with pytest.raises(UserProblem, match="no admin"):
        door.api().authorize()
    make_user("admin", is_admin=True)
    with pytest.raises(UserProblem, match="no user"):
        door.api("nobody@example.com").authorize()
