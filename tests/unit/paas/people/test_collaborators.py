"""Sharing an app: Alice owns it, Bob gets a role, Charlie has none."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from paas.accounts.services import create_token, deactivate_user
from paas.apps.models import Collaborator, Invitation, Role
from paas.apps.selectors import apps_visible_to, get_app, get_collaborator, role_in
from paas.apps.services import (
    accept_invitation,
    add_collaborator,
    change_role,
    create_app,
    invite,
    remove_collaborator,
    revoke_invitation,
    transfer_app,
)
from paas.core.models import AuditEvent
from runtime.errors import Conflict, Forbidden, InvalidInput, NotFound
from tests.factories import make_app, make_user

pytestmark = pytest.mark.django_db
GOOD = "correct horse battery"


@pytest.fixture
def app():
    return make_app(owner=make_user("alice"))


def test_a_role_can_be_given_changed_and_taken_away_and_each_leaves_a_trace(app):
    bob = make_user("bob")
    row = add_collaborator(app, bob, Role.VIEWER, by=app.owner)
    change_role(row, Role.DEVELOPER, by=app.owner)
    assert get_app(bob, "hello", Role.DEVELOPER) == app
    remove_collaborator(get_collaborator(app, "BOB@example.com"), by=app.owner)
    assert role_in(app, bob) is None
    trail = AuditEvent.objects.filter(action__startswith="access.").order_by("id")
    assert [(event.action, event.before, event.after) for event in trail] == [
        ("access.add", None, {"role": "Viewer"}),
        ("access.change", {"role": "Viewer"}, {"role": "Developer"}),
        ("access.remove", {"role": "Developer"}, None),
    ]
    assert {(event.app_name, event.actor_email, event.detail["email"]) for event in trail} == {
        ("hello", "alice@example.com", "bob@example.com")
    }


def test_nobody_has_two_roles_in_an_app(app):
    bob = make_user("bob")
    add_collaborator(app, bob, Role.VIEWER, by=app.owner)
    for user in (bob, app.owner):
        with pytest.raises(Conflict):
            add_collaborator(app, user, Role.DEVELOPER, by=app.owner)


def test_whoever_leaves_an_app_takes_the_tokens_for_it_along(app):
    bob = make_user("bob")
    row = add_collaborator(app, bob, Role.DEVELOPER, by=app.owner)
    create_token(bob, name="ci", by=bob, scopes=["git"], app_id=app.id)
    create_token(bob, name="laptop", by=bob)
    remove_collaborator(row, by=bob)
    assert not apps_visible_to(bob).exists()
    assert [token.name for token in bob.tokens.all()] == ["laptop"]
    assert AuditEvent.objects.filter(action="access.leave", actor=bob).exists()


def test_an_app_can_be_handed_to_a_collaborator_and_its_owner_stays_as_a_developer(app):
    alice, bob = app.owner, make_user("bob")
    add_collaborator(app, bob, Role.VIEWER, by=alice)
    transfer_app(app, bob, by=alice)
    app.refresh_from_db()
    assert (app.owner, role_in(app, alice), role_in(app, bob)) == (bob, Role.DEVELOPER, Role.OWNER)
    assert not app.collaborators.filter(user=bob).exists()
    with pytest.raises(Forbidden):
        get_app(alice, "hello", Role.OWNER)


def test_an_app_is_handed_to_strangers_by_admins_alone_and_to_nobody_who_is_deactivated(app):
    admin, bob = make_user("root", is_admin=True), make_user("bob")
    with pytest.raises(Conflict):
        transfer_app(app, bob, by=app.owner)
    deactivate_user(bob, by=admin)
    with pytest.raises(Conflict):
        transfer_app(app, bob, by=admin)
    transfer_app(app, make_user("dora"), by=admin)
    app.refresh_from_db()
    assert app.owner.email == "dora@example.com"


def test_an_invitation_makes_a_user_with_a_role_once(app):
    _, secret = invite(email="Dora@example.com", by=app.owner, app=app, role=Role.OPERATOR)
    assert secret not in str(Invitation.objects.values())
    dora = accept_invitation(secret, name="Dora", password=GOOD)
    assert (dora.email, role_in(app, dora)) == ("dora@example.com", Role.OPERATOR)
    assert not dora.is_admin
    with pytest.raises(NotFound):
        accept_invitation(secret, name="Eve", password=GOOD)


def test_an_invitation_that_is_too_old_revoked_or_made_anew_is_worthless(app):
    _, first = invite(email="dora@example.com", by=app.owner, app=app)
    _, second = invite(email="dora@example.com", by=app.owner, app=app)
    invitation = Invitation.objects.get()
    with pytest.raises(NotFound):
        accept_invitation(first, name="", password=GOOD)
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(NotFound):
        accept_invitation(second, name="", password=GOOD)
    Invitation.objects.update(expires_at=timezone.now() + timedelta(days=1))
    revoke_invitation(invitation, by=app.owner)
    with pytest.raises(NotFound):
        accept_invitation(second, name="", password=GOOD)


def test_a_weak_password_does_not_use_an_invitation_up(app):
    _, secret = invite(email="dora@example.com", by=app.owner, app=app)
    with pytest.raises(InvalidInput):
        accept_invitation(secret, name="", password="short")
    assert accept_invitation(secret, name="", password=GOOD).email == "dora@example.com"


def test_whoever_lost_the_right_to_invite_has_invited_to_the_platform_alone(app):
    bob = make_user("bob")
    row = add_collaborator(app, bob, Role.OWNER, by=app.owner)
    _, secret = invite(email="dora@example.com", by=bob, app=app, role=Role.OWNER)
    change_role(row, Role.VIEWER, by=app.owner)
    dora = accept_invitation(secret, name="", password=GOOD)
    assert role_in(app, dora) is None


def test_an_invitation_of_somebody_deactivated_is_worthless_and_one_of_a_former_admin_makes_no_admin(app):
    root, former = make_user("root", is_admin=True), make_user("former", is_admin=True)
    _, secret = invite(email="dora@example.com", by=former, is_admin=True)
    _, other = invite(email="eve@example.com", by=former, is_admin=True)
    former.is_admin = False
    former.save()
    assert not accept_invitation(secret, name="", password=GOOD).is_admin
    deactivate_user(former, by=root)
    with pytest.raises(NotFound):
        accept_invitation(other, name="", password=GOOD)


def test_a_user_needs_no_invitation(app):
    make_user("bob")
    with pytest.raises(Conflict):
        invite(email="BOB@example.com", by=app.owner, app=app, role=Role.VIEWER)


def test_an_admin_can_take_the_right_to_create_apps_away():
    bob = make_user("bob")
    bob.can_create_apps = False
    bob.save()
    with pytest.raises(Forbidden):
        create_app(name="mine", by=bob)
    bob.is_admin = True
    assert create_app(name="mine", by=bob).owner == bob


def test_a_role_goes_with_its_app(app):
    add_collaborator(app, make_user("bob"), Role.VIEWER, by=app.owner)
    app.delete()
    assert not Collaborator.objects.exists()
