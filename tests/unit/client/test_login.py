"""Logging in from elsewhere: by password, second step, token or browser; trust in a CA; several platforms."""

from __future__ import annotations

import json
import ssl
import stat
from pathlib import Path

import click
import httpx
import pytest
from django.conf import settings as platform_settings
from paas_client import settings, tls
from paas_client.errors import UserProblem
from paas_client.session import Session

from paas.accounts.models import ApiToken
from paas.accounts.services import begin_two_factor, confirm_two_factor, create_token
from runtime.router.ca import ensure_ca
from tests.factories import code_of, make_app, make_user
from tests.unit.client.conftest import URL, runner

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture
def answers(monkeypatch):
    """What the person types when asked."""
    given: list[str] = []
    monkeypatch.setattr(click, "prompt", lambda *_, **__: given.pop(0))
    return given


@pytest.fixture
def alice():
    return make_user("alice")


def config_file() -> Path:
    return settings.folder() / "config.json"


def test_one_logs_in_by_password_works_and_logs_out(laptop, alice, answers):
    make_app(owner=alice)
    answers += ["alice@example.com", PASSWORD]
    assert laptop("login", "api.apps.example", "--no-browser").err == "Logged in to apps.example as alice@example.com.\n"
    assert laptop("whoami").out == "alice@example.com\n"
    assert "hello" in laptop("apps").out
    file = config_file()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    kept = json.loads(file.read_text())["platforms"]["apps.example"]
    assert (kept["url"], kept["email"], kept["git_host"]) == (URL, "alice@example.com", "git.apps.example")
    assert PASSWORD not in file.read_text()
    token = ApiToken.objects.get(user=alice)
    assert token.name.startswith("paas on ")
    assert token.expires_at is not None
    laptop("logout")
    assert not ApiToken.objects.filter(user=alice).exists()
    assert "You are not logged in" in laptop("apps", code=1).err
    assert kept["token"] not in file.read_text()


def test_a_wrong_password_is_said_and_nothing_is_kept(laptop, alice, answers):
    answers += ["wrong"]
    assert "don't match" in laptop("login", URL, "--email", "alice@example.com", code=1).err
    assert not config_file().exists()


def test_the_second_step_is_asked_for_where_there_is_one(laptop, alice, answers):
    two_factor = begin_two_factor(alice, by=alice)
    confirm_two_factor(alice, code_of(two_factor))
    answers += [PASSWORD, code_of(two_factor, 1)]
    assert "Logged in" in laptop("login", URL, "--email", "alice@example.com").err
    answers += [PASSWORD, "000000"]
    assert "not right" in laptop("login", URL, "--email", "alice@example.com", code=1).err


def test_a_token_that_ran_out_or_was_revoked_leads_to_the_login(laptop, alice):
    token, secret = create_token(alice, name="ci", by=alice)
    laptop("login", URL, "--token", "-", text=f"{secret}\n")
    assert laptop("whoami", "--json").json["email"] == "alice@example.com"
    token.delete()
    said = laptop("whoami", code=1).err
    assert "not valid any more" in said
    assert f"paas login {URL}" in said


def test_the_environment_needs_no_login(laptop, alice, monkeypatch):
    _, secret = create_token(alice, name="ci", by=alice)
    monkeypatch.setenv("PAAS_URL", URL)
    monkeypatch.setenv("PAAS_TOKEN", secret)
    assert laptop("whoami").out == "alice@example.com\n"
    assert not config_file().exists()


def test_several_platforms_are_told_apart_by_name(laptop, alice):
    _, secret = create_token(alice, name="ci", by=alice)
    laptop("login", URL, "--token", secret, "--name", "work")
    laptop("login", "https://api.other.example", "--token", secret, "--name", "home")
    assert [line.split() for line in laptop("platforms").out.splitlines()[1:]] == [
        ["work", URL, "alice@example.com"],
        ["home", "https://api.other.example", "alice@example.com", "default"],
    ]
    assert [row["name"] for row in laptop("platforms", "--json").json if row["default"]] == ["home"]
    laptop("platforms:use", "work")
    assert [row["name"] for row in laptop("platforms", "--json").json if row["default"]] == ["work"]
    assert laptop("whoami", "--platform", "home").out == "alice@example.com\n"
    assert "called 'nowhere'" in laptop("whoami", "--platform", "nowhere", code=1).err


def test_git_is_told_the_token_for_this_platform_alone(laptop, alice):
    _, secret = create_token(alice, name="ci", by=alice)
    laptop("login", URL, "--token", secret)
    asked = "protocol=https\nhost=git.apps.example\n\n"
    assert laptop("git:credentials", "get", text=asked).out == f"username=alice@example.com\npassword={secret}\n"
    assert laptop("git:credentials", "get", text=asked.replace("apps.example", "elsewhere.example")).out == ""
    assert laptop("git:credentials", "store", text=asked).out == ""


def test_plain_http_is_refused_but_on_this_machine(laptop):
    said = laptop("login", "http://api.apps.example", code=1).err
    assert "not encrypted" in said
    assert settings.is_loopback("http://api.localhost:8080")
    assert not settings.is_loopback("http://localhost.example.com")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("apps.example.com", "https://api.apps.example.com"),
        ("api.apps.example.com", "https://api.apps.example.com"),
        ("https://api.apps.example.com/", "https://api.apps.example.com"),
        ("localhost:5443", "https://localhost:5443"),
        ("http://api.localhost:8080", "http://api.localhost:8080"),
        ("192.0.2.7:5443", "https://192.0.2.7:5443"),
    ],
)
def test_an_address_is_understood_as_it_is_typed(typed, meant):
    assert settings.api_url(typed) == meant


@pytest.mark.parametrize(
    "typed", ["ftp://x.example", "https://x.example/path", "", "https://user@x.example", "https://x:y"]
)
def test_what_is_no_address_is_refused(typed):
    with pytest.raises(UserProblem):
        settings.api_url(typed)


class Untrusted(httpx.BaseTransport):
    """A connection to a platform whose certificate these CAs have not signed."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("certificate verify failed") from ssl.SSLCertVerificationError()


@pytest.fixture
def laptop_without_ca(transport, capsys):
    """The system's CAs don't know the platform; any file is taken for the right one."""
    return runner(
        capsys, lambda: Session(transport=lambda ca: transport if ca else Untrusted(), unchecked=lambda: transport)
    )


@pytest.fixture
def own_ca():
    return ensure_ca(platform_settings.ENV.home / "certs").certificate.read_text()


def test_a_ca_of_its_own_is_shown_and_trusted_only_after_a_yes(laptop_without_ca, alice, own_ca, monkeypatch):
    _, secret = create_token(alice, name="ci", by=alice)

    def no(*_, **__):
        raise click.Abort

    monkeypatch.setattr(click, "confirm", no)
    refused = laptop_without_ca("login", URL, "--token", secret, code=130)
    assert tls.fingerprint(own_ca) in refused.err
    assert not config_file().exists()
    monkeypatch.setattr(click, "confirm", lambda *_, **__: True)
    laptop_without_ca("login", URL, "--token", secret)
    kept = json.loads(config_file().read_text())["platforms"]["apps.example"]["ca_file"]
    assert Path(kept).read_text() == own_ca


def test_a_ca_with_another_fingerprint_than_given_is_refused(laptop_without_ca, alice, own_ca):
    _, secret = create_token(alice, name="ci", by=alice)
    wrong = laptop_without_ca("login", URL, "--token", secret, "--fingerprint", "AB" * 32, code=1)
    assert "another fingerprint" in wrong.err
    right = tls.fingerprint(own_ca).replace(":", "").lower()
    assert "Logged in" in laptop_without_ca("login", URL, "--token", secret, "--fingerprint", f"sha256:{right}").err
