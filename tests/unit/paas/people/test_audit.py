"""The audit log: complete, unchangeable, without secrets, readable for those whom it concerns."""

from __future__ import annotations

import ast
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from paas import env
from paas.accounts.services import begin_two_factor, confirm_two_factor, create_token, set_password
from paas.apps.models import Role
from paas.apps.selectors import audit_events, find_audit_events
from paas.apps.services import accept_invitation, add_collaborator, invite, rename_app
from paas.core import audit
from paas.core.audit_export import as_cells
from paas.core.models import AuditEvent
from runtime.errors import InvalidInput
from tests.factories import code_of, make_app, make_config, make_release, make_user

CANARY = "canary-7c1e55"
INTERFACES = {"cli", "dashboard", "gitserver", "host"}  # they hand on who it was


def writers() -> dict[str, ast.FunctionDef]:
    """Every public function that is told who does it."""
    found = {}
    for file in sorted((env.CHECKOUT / "paas").rglob("*.py")):
        if file.relative_to(env.CHECKOUT / "paas").parts[0] in INTERFACES or file.stem in {"rules", "selectors"}:
            continue
        for node in ast.parse(file.read_text()).body:
            if (
                isinstance(node, ast.FunctionDef)
                and node.name[0] != "_"
                and "by" in {arg.arg for arg in node.args.kwonlyargs}
            ):
                found[f"{file.relative_to(env.CHECKOUT)}: {node.name}"] = node
    return found


def test_every_service_that_says_who_did_it_leaves_a_record_or_hands_on_who_it_was():
    """By what is written in it: it calls `audit.record`, or another function with `by`, which is held to the same."""
    silent = []
    for name, function in writers().items():
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        records = any(ast.unparse(call.func) == "audit.record" for call in calls)
        hands_on = any(
            "by" in {keyword.arg for keyword in call.keywords}
            or "by" in {arg.id for arg in call.args if isinstance(arg, ast.Name)}
            for call in calls
        )
        if not (records or hands_on):
            silent.append(name)
    assert len(writers()) > 25
    assert silent == []


def test_changes_are_recorded_in_one_form():
    """`before` and `after` with the same names; nothing called old, new, changed, from, to beside them."""
    odd = []
    for file in sorted(Path(env.CHECKOUT / "paas").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "audit.record":
                names = {keyword.arg for keyword in node.keywords}
                if names & {"old", "new", "changed", "changes", "previous", "from_", "to"}:
                    odd.append(f"{file}:{node.lineno}")
    assert odd == []


@pytest.mark.django_db
class TestLog:
    def test_an_event_can_be_neither_changed_nor_removed(self):
        make_user("alice")
        event = AuditEvent.objects.get()
        event.action = "nothing"
        for attempt in (
            event.save,
            event.delete,
            AuditEvent.objects.all().delete,
            lambda: AuditEvent.objects.update(action="nothing"),
            lambda: AuditEvent.objects.bulk_update([event], ["action"]),
        ):
            with pytest.raises(TypeError):
                attempt()
        assert AuditEvent.objects.get().action == "user.create"

    def test_an_event_says_who_did_it_through_which_door_from_where(self):
        alice = make_user("alice")
        with audit.through("git", "request-1", "192.0.2.5"):
            make_app(owner=alice)
        event = AuditEvent.objects.get(action="app.create")
        assert (event.actor_email, event.door, event.request_id, event.address, event.app_name) == (
            "alice@example.com", "git", "request-1", "192.0.2.5", "hello",
        )  # fmt: skip

    def test_what_a_worker_goes_on_with_came_through_the_door_that_began_it(self):
        app = make_app()
        with audit.through("git", "request-1", "192.0.2.5"):
            audit.record("build.create", by=app.owner, app_id=app.id, number=7)
        with audit.resumed("build.create", app_id=app.id, number=7):
            event = audit.record("release.create", by=app.owner, app_id=app.id)
        assert (event.door, event.request_id, event.address) == ("git", "request-1", "192.0.2.5")
        with audit.resumed("build.create", app_id=app.id, number=8):
            assert audit.door() == "system"

    def test_only_what_is_older_than_the_limit_goes(self):
        alice = make_user("alice")
        make_app(owner=alice)
        moment = AuditEvent.objects.get(action="app.create").at
        audit.forget_before(moment)
        assert [event.action for event in AuditEvent.objects.all()] == ["app.create"]

    def test_no_secret_comes_into_the_log_whatever_is_done(self):
        app = make_app(owner=make_user("alice"))
        alice = app.owner
        make_config(app, TOKEN=CANARY)
        make_release(app)
        make_config(app, TOKEN=f"{CANARY}-2", OTHER=CANARY)
        make_config(app, TOKEN=None)
        set_password(alice, f"{CANARY}-password", by=alice)
        secrets = [create_token(alice, name="t", by=alice)[1]]
        _, link = invite(email="dora@example.com", by=alice, app=app, role=Role.VIEWER)
        accept_invitation(link, name="Dora", password=f"{CANARY}-password")
        row = begin_two_factor(alice, by=alice)
        secrets += [link, row.secret, *confirm_two_factor(alice, code_of(row))]
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM core_auditevent")
            log = str(cursor.fetchall())
        assert "release.create" in log
        assert [secret for secret in [CANARY, *secrets] if secret in log] == []

    def test_a_config_change_is_recorded_by_name_with_masked_values(self):
        app = make_app()
        make_release(app)
        make_config(app, A="1", B="2")
        make_config(app, A="3", B=None)
        event = AuditEvent.objects.filter(action="release.create").first()
        assert event.before == {"config": {"A": audit.MASK, "B": audit.MASK}}
        assert event.after == {"config": {"A": audit.MASK}}

    def test_admins_read_everything_owners_what_happened_to_their_apps_and_everybody_what_they_did(self):
        root, bob, charlie = make_user("root", is_admin=True), make_user("bob"), make_user("charlie")
        app = make_app(owner=make_user("alice"))
        make_app("other", owner=charlie)
        add_collaborator(app, bob, Role.OPERATOR, by=app.owner)
        make_config(app, A="1")

        def seen(user):
            return set(audit_events(user).values_list("app_name", flat=True))

        assert seen(root) == {"", "hello", "other"}
        assert seen(app.owner) == {"hello"}
        assert seen(charlie) == {"other"}
        assert seen(bob) == set()

    def test_events_of_an_earlier_version_name_their_actors_after_the_migration(self):
        make_app(owner=make_user("alice"))
        with connection.cursor() as cursor:
            cursor.execute("UPDATE core_auditevent SET actor_email = '', text = ''")
        state = MigrationExecutor(connection).loader.project_state(
            [("core", "0002_people"), ("accounts", "0001_initial")]
        )
        import_module("paas.core.migrations.0003_actors_of_earlier_events").fill(state.apps, None)
        event = AuditEvent.objects.get(action="app.create")
        assert (event.actor_email, event.text) == ("alice@example.com", "app.create hello alice@example.com")

    def test_it_can_be_searched(self):
        alice, bob = make_user("alice"), make_user("bob")
        app = make_app(owner=alice)
        add_collaborator(app, bob, Role.OPERATOR, by=alice)
        make_app("other", owner=bob)

        def actions(**filters):
            return [event.action for event in find_audit_events(AuditEvent.objects.all(), **filters)]

        today = timezone.now().date()
        assert actions(app="hello") == ["access.add", "app.create"]
        rename_app(app, "world", by=alice)
        assert actions(app="world") == ["app.rename", "access.add", "app.create"]
        assert actions(app="hello") == ["access.add", "app.create"]
        assert actions(actor="bob@") == ["app.create"]
        assert actions(action="access") == ["access.add"]
        assert actions(action="acc") == []
        assert actions(text="operator BOB@example") == ["access.add"]
        assert len(actions(since=str(today), until=str(today))) == 6
        assert actions(since=str(today + timedelta(days=1))) == []
        with pytest.raises(InvalidInput):
            actions(since="yesterday")

    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1"])
    def test_an_exported_cell_is_no_formula(self, text):
        alice = make_user("alice")
        event = audit.record("user.rename", by=alice, app_name=text)
        assert [cell for cell in as_cells(event) if cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t"))] == []
