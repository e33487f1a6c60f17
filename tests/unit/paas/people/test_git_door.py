"""Who may fetch and push: by role, by the token's scope, and by the app that it is for."""

from __future__ import annotations

import pytest

from paas.accounts.services import create_token
from paas.apps.models import App, Role
from paas.apps.services import add_collaborator
from paas.gitserver.wsgi import PlatformAccess
from runtime.errors import Forbidden, NotFound
from tests.factories import make_app, make_user

pytestmark = pytest.mark.django_db
FETCH, PUSH = "git-upload-pack", "git-receive-pack"


@pytest.fixture
def app():
    return make_app(owner=make_user("alice"))


def enter(user, service, name="hello", *, scopes=("global",), app=None):
    _, secret = create_token(user, name="t", by=user, scopes=scopes, app_id=app.id if app else None)
    token = PlatformAccess().authenticate("anything", secret, {"REMOTE_ADDR": "", "HTTP_X_FORWARDED_FOR": "192.0.2.1"})
    assert token is not None
    return PlatformAccess().open(token, name, service)


@pytest.mark.parametrize("role", Role)
def test_a_viewer_may_fetch_and_a_developer_push(app, role):
    bob = make_user("bob")
    add_collaborator(app, bob, role, by=app.owner)
    assert enter(bob, FETCH).handler is None
    if role >= Role.DEVELOPER:
        assert enter(bob, PUSH).handler is not None
    else:
        with pytest.raises(Forbidden, match="this takes developer"):
            enter(bob, PUSH)


@pytest.mark.parametrize("service", [FETCH, PUSH])
def test_the_repository_of_an_app_of_others_does_not_exist(app, service):
    with pytest.raises(NotFound):
        enter(make_user("charlie"), service)


@pytest.mark.parametrize(("scope", "is_good"), [("global", True), ("write", True), ("git", True), ("read", False)])
def test_a_token_needs_a_scope_that_covers_git(app, scope, is_good):
    if is_good:
        assert enter(app.owner, PUSH, scopes=[scope]).handler is not None
    else:
        for service in (FETCH, PUSH):
            with pytest.raises(Forbidden, match="not good for git"):
                enter(app.owner, service, scopes=[scope])


def test_a_token_for_one_app_opens_and_creates_no_other(app):
    make_app("other", owner=app.owner)
    assert enter(app.owner, PUSH, scopes=["git"], app=app).handler is not None
    for name in ("other", "brand-new"):
        with pytest.raises(NotFound):
            enter(app.owner, PUSH, name, scopes=["git"], app=app)
    assert not App.objects.filter(name="brand-new").exists()


def test_the_first_push_creates_the_app_unless_that_right_was_taken_away():
    bob = make_user("bob")
    enter(bob, PUSH, "mine")
    assert App.objects.get(name="mine").owner == bob
    bob.can_create_apps = False
    bob.save()
    with pytest.raises(Forbidden, match="may not create apps"):
        enter(bob, PUSH, "another")
    with pytest.raises(NotFound):
        enter(bob, FETCH, "another")


def test_a_wrong_token_is_nobodys():
    assert PlatformAccess().authenticate("alice@example.com", "correct horse battery", {}) is None
