"""The commands about people: what they print, and what they leave behind."""

from __future__ import annotations

import csv

import pytest

from paas.accounts.models import ApiToken
from paas.accounts.services import active_token
from paas.apps.models import Role
from paas.apps.selectors import role_in
from paas.apps.services import accept_invitation
from paas.core.models import AuditEvent
from tests.factories import make_public_key, make_user

pytestmark = pytest.mark.django_db


def test_access_is_given_changed_listed_and_taken_away(paas, app):
    bob = make_user("bob")
    paas("access:add", "-a", "hello", "--role", "viewer", "bob@example.com")
    paas("access:update", "-a", "hello", "--role", "operator", "bob@example.com")
    listed = paas("access", "-a", "hello", "--json").json
    assert [(row["email"], row["role"]) for row in listed] == [
        ("alice@example.com", "owner"), ("bob@example.com", "operator"),
    ]  # fmt: skip
    assert "operator" in paas("access", "-a", "hello").out
    paas("access:remove", "-a", "hello", "bob@example.com")
    assert role_in(app, bob) is None
    assert "no collaborator" in paas("access:remove", "-a", "hello", "bob@example.com", code=1).err
    paas("apps:transfer", "-a", "hello", "bob@example.com")
    assert role_in(app, app.owner) == Role.OWNER
    app.refresh_from_db()
    assert app.owner == bob


def test_a_token_is_printed_once_listed_and_revoked_by_how_it_begins(paas, app):
    secret = paas("tokens:create", "--email", "alice@example.com", "--scope", "git", "-a", "hello", "--days", "3").out
    secret = secret.strip()
    assert active_token(secret).app == app
    assert secret not in paas("tokens", "--email", "alice@example.com").out
    listed = paas("tokens", "--email", "alice@example.com", "--json").json
    (listed,) = [row for row in listed if row["name"] == "cli"]
    assert (listed["scopes"], listed["app"], listed["prefix"]) == (["git"], "hello", secret[:10])
    paas("tokens:revoke", "--email", "alice@example.com", f"{secret[:10]}…")
    assert not ApiToken.objects.filter(name="cli").exists()
    assert "no token" in paas("tokens:revoke", "--email", "alice@example.com", "cli", code=1).err


def test_only_root_on_the_machine_acts_for_others(laptop, app, monkeypatch):
    monkeypatch.setenv("PAAS_URL", "https://api.apps.example")
    monkeypatch.setenv("PAAS_TOKEN", "paas_anything")
    assert "root on the machine" in laptop("tokens", "--email", "alice@example.com", code=1).err


def test_keys_are_added_from_a_file_and_removed_by_fingerprint(paas, admin, tmp_path):
    file = tmp_path / "id_ed25519.pub"
    file.write_text(f"{make_public_key()} admin@laptop\n")
    assert "Added admin@laptop: SHA256:" in paas("keys:add", str(file)).err
    (key,) = paas("keys", "--json").json
    assert (key["name"], key["type"], key["bits"]) == ("admin@laptop", "ssh-ed25519", 256)
    assert key["fingerprint"] in paas("keys").out
    paas("keys:remove", key["fingerprint"])
    assert paas("keys", "--json").json == []
    assert "no key" in paas("keys:remove", "other", code=1).err


def test_people_are_invited_listed_deactivated_and_let_in_again(paas, app):
    link = paas("users:invite", "dora@example.com", "-a", "hello", "--role", "viewer").out.strip()
    dora = accept_invitation(link.rpartition("/")[2], name="Dora", password="correct horse battery")
    assert role_in(app, dora) == Role.VIEWER
    paas("users:deactivate", "dora@example.com")
    states = {row["email"]: row["is_active"] for row in paas("users", "--json").json}
    assert states == {"admin@example.com": True, "alice@example.com": True, "dora@example.com": False}
    assert "deactivated" in paas("users").out
    paas("users:activate", "dora@example.com")
    assert "deactivate yourself" in paas("users:deactivate", "admin@example.com", code=1).err
    assert (
        paas("users:create", "eve@example.com", "--password", "correct horse battery").err == "Added eve@example.com.\n"
    )
    assert "invitations/" in paas("users:invite", "frank@example.com", "--admin").out


def test_the_audit_log_is_filtered_and_printed_for_people_programs_and_spreadsheets(paas, app):
    paas("access:add", "-a", "hello", "--role", "viewer", make_user("bob").email)
    assert "access.add" in paas("audit", "-a", "hello").out
    (event,) = paas("audit", "--action", "access", "--json").json
    assert (event["door"], event["after"], event["actor"]) == ("api", {"role": "Viewer"}, "admin@example.com")
    rows = list(csv.DictReader(paas("audit", "--csv", "-n", "0").out.splitlines()))
    assert len(rows) == AuditEvent.objects.count()
    assert len(list(csv.DictReader(paas("audit", "--csv", "-n", "2").out.splitlines()))) == 2
    assert len(paas("audit", "-n", "3", "--json").json) == 3
    assert "is no time" in paas("audit", "--since", "yesterday", code=1).err
