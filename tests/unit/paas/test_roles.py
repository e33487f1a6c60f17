"""Who may do what with an app. Alice owns it, Bob has a role, Charlie none."""

from __future__ import annotations

import pytest

from paas.apps.models import Collaborator, Role
from paas.apps.selectors import apps_visible_to, get_app
from runtime.errors import Forbidden, NotFound
from tests.factories import make_app, make_user

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("role", Role)
def test_a_collaborator_may_do_what_the_role_and_those_before_it_may(role):
    app, bob = make_app(owner=make_user("alice")), make_user("bob")
    Collaborator.objects.create(app=app, user=bob, role=role)
    for wanted in Role:
        if wanted <= role:
            assert get_app(bob, "hello", wanted) == app
        else:
            with pytest.raises(Forbidden):
                get_app(bob, "hello", wanted)


def test_an_app_without_a_role_in_it_does_not_exist():
    app, charlie = make_app(owner=make_user("alice")), make_user("charlie")
    for role in Role:
        with pytest.raises(NotFound):
            get_app(charlie, app.name, role)
    assert not apps_visible_to(charlie).exists()


def test_the_owner_and_admins_may_do_everything():
    app = make_app(owner=make_user("alice"))
    assert get_app(app.owner, "hello", Role.OWNER) == app
    assert get_app(make_user("root", is_admin=True), "hello", Role.OWNER) == app
