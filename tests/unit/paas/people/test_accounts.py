"""Users, passwords, tokens, SSH keys, sessions."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.test import Client
from django.utils import timezone

from paas.accounts.models import ApiToken, Scope, Session
from paas.accounts.selectors import browser_in_words
from paas.accounts.services import (
    activate_user,
    active_token,
    add_key,
    change_password,
    create_token,
    create_user,
    deactivate_user,
    end_other_sessions,
    forget_expired,
    remove_key,
    set_admin,
    set_password,
)
from paas.core.models import AuditEvent
from runtime.errors import Conflict, Forbidden, InvalidInput
from tests.factories import make_app, make_user

pytestmark = pytest.mark.django_db


def key_of(browser):
    return browser.cookies["paas_session"].value


def public(key):
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


# Tokens


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (["global"], {"global", "write", "read", "git"}),
        (["write"], {"write", "read", "git"}),
        (["read"], {"read"}),
        (["git"], {"git"}),
        (["read", "git"], {"read", "git"}),
    ],
)
def test_a_token_is_good_for_its_scopes_and_what_they_cover(scopes, allowed):
    alice = make_user("alice")
    token, _ = create_token(alice, name="t", by=alice, scopes=scopes)
    assert {scope for scope in Scope if token.allows(scope)} == allowed


def test_a_token_says_when_and_from_where_it_was_used_and_shows_how_it_begins():
    alice = make_user("alice")
    token, secret = create_token(alice, name="t", by=alice)
    assert secret.startswith(token.prefix)
    assert len(token.prefix) == 10
    active_token(secret, address="192.0.2.7")
    token.refresh_from_db()
    assert token.last_used_from == "192.0.2.7"
    assert abs(token.last_used_at.timestamp() - time.time()) < 60


@pytest.mark.parametrize("wrong", [{"scopes": []}, {"scopes": ["root"]}, {"name": " "}, {"name": "x" * 101}])
def test_a_token_without_a_name_or_a_known_scope_is_refused(wrong):
    alice = make_user("alice")
    with pytest.raises(InvalidInput):
        create_token(alice, by=alice, **({"name": "t"} | wrong))


def test_a_token_for_one_app_is_not_global():
    app = make_app()
    with pytest.raises(InvalidInput):
        create_token(app.owner, name="t", by=app.owner, app_id=app.id)


def test_what_expired_is_tidied_away():
    alice = make_user("alice")
    create_token(alice, name="old", by=alice, lifetime=timedelta(hours=-1))
    create_token(alice, name="new", by=alice, lifetime=timedelta(hours=1))
    forget_expired()
    assert [token.name for token in ApiToken.objects.all()] == ["new"]


# People


def test_deactivating_somebody_ends_sessions_and_tokens_at_once():
    root, bob, browser = make_user("root", is_admin=True), make_user("bob"), Client()
    browser.force_login(bob)
    _, secret = create_token(bob, name="t", by=bob)
    assert browser.get("/").status_code == 200
    deactivate_user(bob, by=root)
    assert browser.get("/").headers["Location"].startswith("/login")
    assert active_token(secret) is None
    activate_user(bob, by=root)
    assert browser.get("/").headers["Location"].startswith("/login")
    assert active_token(secret) is None


def test_the_last_admin_can_be_neither_demoted_nor_deactivated():
    root, bob = make_user("root", is_admin=True), make_user("bob")
    with pytest.raises(Conflict):
        set_admin(root, False, by=root)
    with pytest.raises(Conflict):
        deactivate_user(root, by=bob)
    set_admin(bob, True, by=root)
    set_admin(root, False, by=bob)
    with pytest.raises(Forbidden):
        deactivate_user(bob, by=bob)
    assert list(AuditEvent.objects.filter(action="user.admin").values_list("before", "after")) == [
        ({"is_admin": True}, {"is_admin": False}),
        ({"is_admin": False}, {"is_admin": True}),
    ]


@pytest.mark.parametrize("password", ["short", "1234567890", "password123", "alice@example.com", "x" * 1001])
def test_weak_passwords_are_refused(password):
    with pytest.raises(InvalidInput):
        create_user(email="alice@example.com", password=password)


def test_changing_the_password_takes_the_present_one_and_ends_the_other_sessions():
    alice, here, there = make_user("alice"), Client(), Client()
    here.force_login(alice)
    there.force_login(alice)
    with pytest.raises(InvalidInput):
        change_password(alice, current="wrong", new="another good one")
    change_password(alice, current="correct horse battery", new="another good one", keep_session=key_of(here))
    assert alice.check_password("another good one")
    assert Session.objects.filter(user=alice).count() == 1
    assert there.get("/").headers["Location"].startswith("/login")


def test_setting_a_password_for_somebody_ends_all_their_sessions():
    alice, browser = make_user("alice"), Client()
    browser.force_login(alice)
    set_password(alice, "another good one", by=None)
    assert browser.get("/").headers["Location"].startswith("/login")


# Sessions


def test_a_session_knows_whose_it_is_and_does_not_hold_its_cookie():
    alice, browser = make_user("alice"), Client()
    browser.force_login(alice)
    cookie = browser.cookies["paas_session"].value
    (row,) = Session.objects.all()
    assert row.user == alice
    assert cookie not in str(Session.objects.values())
    browser.get("/", headers={"user-agent": "curl/8"})
    browser.logout()
    assert not Session.objects.exists()


def test_a_session_is_seen_where_it_was_used_last():
    alice, browser = make_user("alice"), Client()
    browser.force_login(alice)
    before = timezone.now() - timedelta(hours=1)
    Session.objects.update(seen_at=before, address="192.0.2.1")
    browser.get("/", REMOTE_ADDR="", headers={"x-forwarded-for": "192.0.2.9", "user-agent": "curl/8"})
    (row,) = Session.objects.all()
    assert (row.address, row.user_agent) == ("192.0.2.9", "curl/8")
    assert row.seen_at > before


def test_a_client_can_not_say_where_it_is_when_it_is_not_the_router_who_speaks():
    alice, browser = make_user("alice"), Client()
    browser.force_login(alice)
    browser.get("/", REMOTE_ADDR="198.51.100.1", headers={"x-forwarded-for": "192.0.2.9"})
    assert Session.objects.get().address == "198.51.100.1"


@pytest.mark.parametrize("header", ["192.0.2.1, 192.0.2.2", "<script>", "", "192.0.2.1:80"])
def test_what_is_no_single_address_is_none(header):
    alice, browser = make_user("alice"), Client()
    browser.force_login(alice)
    browser.get("/", REMOTE_ADDR="", headers={"x-forwarded-for": header})
    assert Session.objects.get().address == ""


def test_all_other_sessions_can_be_ended():
    alice, browsers = make_user("alice"), [Client() for _ in range(3)]
    for browser in browsers:
        browser.force_login(alice)
    assert end_other_sessions(alice, keep=key_of(browsers[0]), by=alice) == 2
    assert [browser.get("/").status_code for browser in browsers] == [200, 302, 302]


def test_a_session_that_ran_out_is_none():
    alice, browser = make_user("alice"), Client()
    browser.force_login(alice)
    Session.objects.update(expires_at=timezone.now())
    assert browser.get("/").status_code == 302
    forget_expired()
    assert not Session.objects.filter(user=alice).exists()


def test_cookies_over_https_stay_there():
    alice, browser = make_user("alice"), Client()
    browser.force_login(alice)
    plain = browser.get("/login?next=/", headers={"x-forwarded-proto": "http"})
    secure = Client().get("/login", headers={"x-forwarded-proto": "https"})
    assert all(not cookie["secure"] for cookie in plain.cookies.values())
    assert secure.cookies["paas_csrf"]["secure"]


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", "Firefox 132 on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
            "Edge 131 on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1",
            "Safari 18 on iPhone",
        ),
        ("curl/8.14.1", "curl 8"),
        ("", "Unknown browser"),
    ],
)
def test_a_browser_is_told_in_words(agent, words):
    assert browser_in_words(agent) == words


# SSH keys

ED25519 = ed25519.Ed25519PrivateKey.generate()


def test_a_key_is_kept_with_its_type_size_comment_and_fingerprint():
    alice = make_user("alice")
    key = add_key(alice, text=f"  {public(ED25519)} alice@laptop\n", by=alice)
    assert (key.kind, key.bits, key.name) == ("ssh-ed25519", 256, "alice@laptop")
    assert key.public_key == public(ED25519)
    assert key.fingerprint.startswith("SHA256:")
    assert len(key.fingerprint) == 7 + 43
    remove_key(key, by=alice)
    assert not alice.ssh_keys.exists()


def test_a_key_is_one_persons():
    alice, bob = make_user("alice"), make_user("bob")
    add_key(alice, text=public(ED25519), by=alice)
    with pytest.raises(Conflict) as refusal:
        add_key(bob, text=public(ED25519), by=bob)
    assert "alice" not in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "bits"),
    [(rsa.generate_private_key(65537, 2048), 2048), (ec.generate_private_key(ec.SECP384R1()), 384)],
    ids=["rsa", "ecdsa"],
)
def test_rsa_and_ecdsa_keys_are_accepted(key, bits):
    alice = make_user("alice")
    assert add_key(alice, text=public(key), by=alice).bits == bits


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-rsa " + public(ED25519).split()[1],
        f"{public(ED25519)} one\n{public(ED25519)} two",
        'command="rm" ' + public(ED25519),
        "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----",
        public(rsa.generate_private_key(65537, 1024)),
        "ssh-dss " + public(ED25519).split()[1],
        public(ED25519).replace("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com ", 1),
        "x" * 20_000,
    ],
    ids=["empty", "no-body", "cut", "other-type", "two", "options", "private", "short-rsa", "dsa", "certificate", "long"],
)
def test_what_is_no_good_key_is_refused(text):
    alice = make_user("alice")
    with pytest.raises(InvalidInput):
        add_key(alice, text=text, by=alice)
