"""The commands about people: what they print, and what they leave behind."""

from __future__ import annotations

import csv
import json

import pytest

from paas.accounts.models import ApiToken
from paas.accounts.services import active_token
from paas.apps.models import Role
from paas.apps.selectors import role_in
from paas.apps.services import accept_invitation
from paas.cli.main import main
from paas.core.models import AuditEvent
from tests.factories import make_app, make_public_key, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin():
    return make_user("admin", is_admin=True)


@pytest.fixture
def app(admin):
    return make_app(owner=make_user("alice"))


@pytest.fixture
def paas(capsys):
    def run(*arguments, code=0):
        capsys.readouterr()
        assert main(list(arguments)) == code
        said = capsys.readouterr()
        return said.out if code == 0 else said.err

    return run


def test_access_is_given_changed_listed_and_taken_away(paas, app):
    bob = make_user("bob")
    paas("access:add", "-a", "hello", "--role", "viewer", "bob@example.com")
    paas("access:update", "-a", "hello", "--role", "operator", "bob@example.com")
    listed = json.loads(paas("access", "-a", "hello", "--json"))
    assert [(row["email"], row["role"]) for row in listed] == [
        ("alice@example.com", "owner"), ("bob@example.com", "operator"),
    ]  # fmt: skip
    paas("access:remove", "-a", "hello", "bob@example.com")
    assert role_in(app, bob) is None
    assert "no collaborator" in paas("access:remove", "-a", "hello", "bob@example.com", code=1)
    paas("apps:transfer", "-a", "hello", "bob@example.com")
    assert role_in(app, app.owner) == Role.OWNER
    app.refresh_from_db()
    assert app.owner == bob


def test_a_token_is_printed_once_listed_and_revoked_by_how_it_begins(paas, app):
    secret = paas("tokens:create", "--email", "alice@example.com", "--scope", "git", "-a", "hello", "--days", "3").strip()
    assert active_token(secret).app == app
    assert secret not in paas("tokens", "--email", "alice@example.com")
    (listed,) = json.loads(paas("tokens", "--email", "alice@example.com", "--json"))
    assert (listed["scopes"], listed["app"], listed["prefix"]) == (["git"], "hello", secret[:10])
    paas("tokens:revoke", "--email", "alice@example.com", f"{secret[:10]}…")
    assert not ApiToken.objects.exists()
    assert "no token" in paas("tokens:revoke", "--email", "alice@example.com", "cli", code=1)


def test_keys_are_added_from_a_file_and_removed_by_fingerprint(paas, admin, tmp_path):
    file = tmp_path / "id_ed25519.pub"
    file.write_text(f"{make_public_key()} admin@laptop\n")
    paas("keys:add", str(file))
    (key,) = json.loads(paas("keys", "--json"))
    assert key["name"] == "admin@laptop"
    paas("keys:remove", key["fingerprint"])
    assert json.loads(paas("keys", "--json")) == []


def test_people_are_invited_listed_deactivated_and_let_in_again(paas, app):
    link = paas("users:invite", "dora@example.com", "-a", "hello", "--role", "viewer").strip()
    dora = accept_invitation(link.rpartition("/")[2], name="Dora", password="correct horse battery")
    assert role_in(app, dora) == Role.VIEWER
    paas("users:deactivate", "dora@example.com")
    states = {row["email"]: row["is_active"] for row in json.loads(paas("users", "--json"))}
    assert states == {"admin@example.com": True, "alice@example.com": True, "dora@example.com": False}
    paas("users:activate", "dora@example.com")
    assert "deactivate yourself" in paas("users:deactivate", "admin@example.com", code=1)


def test_the_audit_log_is_filtered_and_printed_for_people_programs_and_spreadsheets(paas, app):
    paas("access:add", "-a", "hello", "--role", "viewer", make_user("bob").email)
    assert "access.add" in paas("audit", "-a", "hello")
    (event,) = json.loads(paas("audit", "--action", "access", "--json"))
    assert (event["door"], event["after"], event["actor"]) == ("cli", {"role": "Viewer"}, "admin@example.com")
    rows = list(csv.DictReader(paas("audit", "--csv", "-n", "0").splitlines()))
    assert len(rows) == AuditEvent.objects.count()
    assert "is no time" in paas("audit", "--since", "yesterday", code=1)
