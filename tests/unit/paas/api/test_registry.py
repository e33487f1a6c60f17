"""The registry's door: who gets a token for what, and what the others are told."""

from __future__ import annotations

import base64
import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from paas.accounts import throttle
from paas.accounts.models import Scope, User
from paas.accounts.services import create_token, deactivate_user
from paas.accounts.services.two_factor import begin_two_factor, confirm_two_factor
from paas.api import registry as door
from paas.apps.models import App, Role
from paas.apps.services import add_collaborator, create_app, destroy_app
from paas.builds import pushed
from paas.core.models import AuditEvent
from paas.releases.exclusion import collecting
from paas.wiring import replaced
from runtime.errors import InvalidInput
from runtime.registry import Registry
from runtime.registry.names import TOKEN_USER
from runtime.registry.tokens import Access, TokenIssuer
from tests.factories import code_of, make_app, make_user
from tests.unit.runtime.registry.contract import make_image
from tests.unit.runtime.registry.registry_app import RegistryApp, transport_for

pytestmark = pytest.mark.django_db
PASSWORD = "a long password of hers"


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path) -> Path:
    settings.ENV = dataclasses.replace(settings.ENV, home=tmp_path, external_registry=False)
    (tmp_path / "registry").mkdir()
    (tmp_path / "run").mkdir()
    return tmp_path


@pytest.fixture
def issuer(registry_tokens: TokenIssuer) -> TokenIssuer:
    return registry_tokens


@pytest.fixture
def shop() -> App:
    return make_app("shop", owner=make_user("alice"))


def token_of(user: User, *scopes: str, app: App | None = None) -> str:
    return create_token(user, name="tests", by=user, scopes=scopes or (Scope.GLOBAL,), app_id=app.pk if app else None)[1]


def ask(path: str, password: str = "", *, name: str = "x", method: str = "GET", **headers: str) -> Any:
    if password:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
    return Client().generic(method, path, headers={"X-Paas-Door": "registry", **headers}, REMOTE_ADDR="192.0.2.7")


def ask_token(password: str, *scopes: str, name: str = "x") -> Any:
    return ask("/v2/token?service=paas" + "".join(f"&scope={scope}" for scope in scopes), password, name=name)


def granted(issuer: TokenIssuer, answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    access = issuer.access_of(answer.json()["token"])
    assert access is not None
    return [f"{each.name}:{','.join(each.actions)}" for each in access]


def error(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


def message(answer: Any) -> str:
    return str(answer.json()["errors"][0]["message"])


# What a role allows


@pytest.mark.parametrize(
    ("role", "pull", "push"),
    [(Role.VIEWER, True, False), (Role.OPERATOR, True, False), (Role.DEVELOPER, True, True), (Role.OWNER, True, True)],
)
def test_a_viewer_pulls_and_a_developer_pushes(shop, issuer, role, pull, push):
    bob = make_user("bob")
    add_collaborator(shop, bob, role, by=shop.owner)
    secret = token_of(bob)
    assert granted(issuer, ask_token(secret, "repository:shop/web:pull")) == ["shop/web:pull"]
    answer = ask_token(secret, "repository:shop/web:push,pull")
    if push:
        assert granted(issuer, answer) == ["shop/web:pull,push"]
    else:
        assert error(answer) == (403, "DENIED")
        assert "developer" in message(answer)


def test_an_app_of_others_is_as_unknown_as_one_that_is_not(shop):
    secret = token_of(make_user("charlie"))
    answers = [
        ask_token(secret, f"repository:{name}/web:{action}") for name in ("shop", "nope") for action in ("pull", "push")
    ]
    assert {error(answer) for answer in answers} == {(404, "NAME_UNKNOWN")}
    assert {message(answer).replace("nope", "shop") for answer in answers} == {message(answers[0])}


def test_each_of_several_repositories_is_granted_on_its_own(shop, issuer):
    """A client that borrows layers asks for all at once."""
    other = make_app("other", owner=make_user("charlie"))
    secret = token_of(shop.owner)
    scopes = ("repository:shop/web:push,pull", f"repository:{other.name}/web:pull", "repository:nope/web:pull")
    assert granted(issuer, ask_token(secret, *scopes)) == ["shop/web:pull,push"]
    in_one = "repository:shop/web:pull repository:shop/worker:pull"
    assert granted(issuer, ask_token(secret, in_one)) == ["shop/web:pull", "shop/worker:pull"]


def test_an_app_has_one_name_in_the_registry(shop):
    """Its id would be another place, where nobody looks."""
    assert error(ask_token(token_of(shop.owner), f"repository:{shop.pk}/web:push")) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize("scope", ["apps/{hex}:pull", "stacks/debian-13-base:pull", "cache/python:push,pull"])
def test_the_platforms_own_images_are_for_nobody(shop, scope):
    answer = ask_token(token_of(shop.owner), "repository:" + scope.format(hex=shop.id.hex))
    assert error(answer) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize("name", ["apps", "stacks", "cache"])
def test_no_app_gets_the_name_of_these(name):
    with pytest.raises(InvalidInput) as refused:
        create_app(name=name, by=make_user())
    assert refused.value.id == "reserved_name"


@pytest.mark.parametrize("scope", ["registry:catalog:*", "repository:shop/web:delete", "repository:shop/web:*"])
def test_more_than_pulling_and_pushing_is_granted_to_nobody(shop, issuer, scope):
    assert granted(issuer, ask_token(token_of(shop.owner), scope)) == []


@pytest.mark.parametrize("scope", ["x", "repository:shop/web", "repository::pull", "a" * 600])
def test_a_scope_that_is_none_is_refused(shop, scope):
    assert error(ask_token(token_of(shop.owner), scope)) == (400, "UNSUPPORTED")


def test_no_token_is_for_more_repositories_than_a_client_can_mean(shop):
    answer = ask_token(token_of(shop.owner), *(f"repository:shop/p{n}:pull" for n in range(door.MOST_SCOPES + 1)))
    assert error(answer) == (400, "UNSUPPORTED")


# What a token allows


@pytest.mark.parametrize(
    ("scopes", "pull", "push"),
    [
        ((Scope.READ,), True, False),
        ((Scope.WRITE,), True, True),
        ((Scope.GLOBAL,), True, True),
        ((Scope.GIT,), False, False),
    ],
)
def test_a_token_is_good_for_what_its_scope_says(shop, issuer, scopes, pull, push):
    secret = token_of(shop.owner, *scopes)
    for action, allowed in (("pull", pull), ("push", push)):
        answer = ask_token(secret, f"repository:shop/web:{action}")
        if allowed:
            assert granted(issuer, answer) == [f"shop/web:{action}"]
        else:
            assert error(answer) == (403, "DENIED")
            assert "--scope" in message(answer)


def test_a_token_for_one_app_knows_no_other(shop, issuer):
    make_app("blog", owner=shop.owner)
    secret = token_of(shop.owner, Scope.WRITE, app=shop)
    assert granted(issuer, ask_token(secret, "repository:shop/web:pull")) == ["shop/web:pull"]
    assert error(ask_token(secret, "repository:blog/web:pull")) == (404, "NAME_UNKNOWN")


# Who it is


def test_a_login_asks_for_nothing_and_gets_a_token_for_nothing(shop, issuer):
    answer = ask_token(token_of(shop.owner))
    assert granted(issuer, answer) == []
    assert answer.json()["expires_in"] == 300
    assert answer.headers["Cache-Control"] == "no-store"


def test_e_mail_and_password_do_as_well(shop, issuer):
    shop.owner.set_password(PASSWORD)
    shop.owner.save()
    answer = ask_token(PASSWORD, "repository:shop/web:push", name=shop.owner.email)
    assert granted(issuer, answer) == ["shop/web:push"]


def test_a_password_is_not_enough_where_there_is_a_second_step(shop):
    shop.owner.set_password(PASSWORD)
    shop.owner.save()
    confirm_two_factor(shop.owner, code_of(begin_two_factor(shop.owner, by=shop.owner)))
    answer = ask_token(PASSWORD, name=shop.owner.email)
    assert error(answer) == (401, "UNAUTHORIZED")
    assert "token" in message(answer)


def test_nobody_gets_nothing(shop):
    deactivated = make_user("dora")
    secret = token_of(deactivated)
    deactivate_user(deactivated, by=make_user("root", is_admin=True))
    for password in ("", "wrong", "paas_" + "0" * 40, secret):
        answer = ask_token(password, "repository:shop/web:pull", name=shop.owner.email)
        assert error(answer) == (401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_guessing_is_slowed_down(shop):
    for attempts, guess in (
        (throttle.RULES["account"].free, "wrong"),
        (throttle.RULES["token_address"].free, "paas_" + "0" * 40),
    ):
        answers = [ask_token(guess, name=shop.owner.email) for _ in range(attempts + 2)]
        assert error(answers[0]) == (401, "UNAUTHORIZED")
        assert error(answers[-1]) == (429, "TOOMANYREQUESTS")
    assert AuditEvent.objects.filter(action="session.refused", door="registry").exists()


def test_our_own_token_is_worth_what_it_was_made_for(shop, issuer):
    """An engine that has to send a password has one of these."""
    ours = issuer.issue("paas", [Access("repository", "stacks/debian-13-python", ("pull",))])
    scopes = ("repository:stacks/debian-13-python:pull,push", "repository:shop/web:pull")
    assert granted(issuer, ask_token(ours, *scopes, name=TOKEN_USER)) == ["stacks/debian-13-python:pull"]
    for wrong in (issuer.issue("paas", [], seconds=-60), "nonsense", token_of(shop.owner)):
        assert error(ask_token(wrong, name=TOKEN_USER)) == (401, "UNAUTHORIZED")


# Manifests for who sends the password each time


@pytest.fixture
def bundled():
    app = RegistryApp()
    with Registry("http://registry", transport=transport_for(app)) as registry, replaced(registry=registry):
        yield registry


def test_the_heroku_cli_reads_a_manifest_with_the_token_as_the_password(shop, bundled):
    image = make_image()
    bundled.push_blob("shop/web", image.config)
    bundled.put_image("shop/web", image, "latest")
    answer = ask("/v2/shop/web/manifests/latest", token_of(shop.owner), name="")
    assert (answer.status_code, answer.content) == (200, image.manifest)
    assert answer.headers["Content-Type"] == image.media_type
    assert answer.headers["Docker-Content-Digest"] == image.digest
    assert error(ask("/v2/shop/web/manifests/v9", token_of(shop.owner))) == (404, "MANIFEST_UNKNOWN")
    assert error(ask("/v2/shop/web/manifests/latest", token_of(make_user("charlie")))) == (404, "NAME_UNKNOWN")


def test_a_password_buys_nothing_else(shop):
    secret = token_of(shop.owner)
    assert ask("/v2/", secret).json() == {}
    assert error(ask("/v2/")) == (401, "UNAUTHORIZED")
    assert error(ask("/v2/shop/web/blobs/uploads/", secret, method="POST")) == (400, "UNSUPPORTED")
    assert error(ask("/v2/shop/web/tags/list", secret)) == (404, "NAME_UNKNOWN")
    assert ask("/v2/token", secret, method="POST").status_code == 405
    assert error(ask(f"/v2/apps/{shop.id.hex}/manifests/latest", secret)) == (404, "NAME_UNKNOWN")
    assert ask("/apps", secret).status_code == 404
    assert ask("/login", secret).status_code == 404


def test_a_registry_elsewhere_is_named(shop, settings):
    settings.ENV = dataclasses.replace(
        settings.ENV, external_registry=True, registry_url="https://user:secret@registry.example.org"
    )
    secret = token_of(shop.owner)
    for answer in (
        ask("/v2/token", secret),
        ask("/v2/shop/web/tags/list", secret),
        ask("/v2/shop/web/blobs/uploads/", secret, method="POST"),
    ):
        assert error(answer) == (400, "UNSUPPORTED")
        assert "registry.example.org" in message(answer)
        assert "secret" not in message(answer)


# What is left of others


def data_of(home: Path, repository: str) -> Path:
    return home / "registry" / "data" / "docker" / "registry" / "v2" / "repositories" / repository


def test_a_name_that_another_app_had_begins_empty(shop, home, issuer):
    alice = token_of(shop.owner)
    ask_token(alice, "repository:shop/web:push")
    data_of(home, "shop/web/_layers").mkdir(parents=True)
    ask_token(alice, "repository:shop/web:pull")
    assert data_of(home, "shop/web/_layers").exists()
    App.objects.filter(pk=shop.pk).update(name="shop-was-here", slug="shop-was-here")
    bob = make_user("bob")
    make_app("shop", owner=bob)
    assert granted(issuer, ask_token(token_of(bob), "repository:shop/web:pull")) == ["shop/web:pull"]
    assert not data_of(home, "shop").exists()


def test_a_cleanup_takes_what_is_left_of_apps_that_are_gone(shop, home):
    keep = make_app("keep", owner=shop.owner)
    secret = token_of(shop.owner)
    for app in (shop, keep):
        ask_token(secret, f"repository:{app.name}/web:push")
        data_of(home, f"{app.name}/web/_layers").mkdir(parents=True)
    assert pushed.pushed_repositories() == ["keep/web", "shop/web"]
    destroy_app(shop, by=shop.owner)
    App.objects.filter(pk=shop.pk).delete()
    assert pushed.forget_leftovers() == 1
    assert pushed.pushed_repositories() == ["keep/web"]
    assert not data_of(home, "shop").exists()


def test_no_garbage_is_collected_while_somebody_may_push(shop, home):
    ask_token(token_of(shop.owner), "repository:shop/web:pull")
    with collecting(0) as lock:
        assert lock is not None
        assert error(ask_token(token_of(shop.owner), "repository:shop/web:push")) == (503, "UNAVAILABLE")
    ask_token(token_of(shop.owner), "repository:shop/web:push")
    with collecting(0) as lock:
        assert lock is None
    file = home / "run" / "registry.lock"
    assert file.stat().st_mtime > time.time() + 200
    os.utime(file, (0, 0))  # its time is over
    with collecting(0) as lock:
        assert lock is not None
