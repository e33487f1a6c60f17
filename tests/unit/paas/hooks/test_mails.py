"""Invitations and links for a new password, by mail."""

from __future__ import annotations

import re
import time

import pytest
from django.test import Client

from paas.accounts.models import Session, User
from paas.hooks.models import Message
from paas.hooks.services.mails import mail_password
from paas.hooks.services.notices import MAIL
from paas.hooks.services.notifications import send_messages
from tests.factories import make_app, make_user

pytestmark = pytest.mark.django_db
NEW = "a better horse battery"


def link_in(mail) -> str:
    found = re.search(r"http://dashboard\.apps\.example(/\S+)", mail.get_content())
    assert found is not None
    return found[1]


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_an_invitation_is_mailed_and_its_link_works(mails):
    owner = make_user("alice")
    make_app(owner=owner)
    page = signed_in(owner).post("/apps/hello/people", {"email": "bob@example.com", "role": "10"}, follow=True)
    assert "mailed to them" in page.content.decode()
    assert "secret" not in Message.objects.get().subject
    send_messages(MAIL)
    (mail,) = mails
    assert mail["To"] == "bob@example.com"
    guest = Client()
    assert guest.get(link_in(mail)).status_code == 200
    guest.post(link_in(mail), {"name": "Bob", "password": NEW, "repeated": NEW})
    assert User.objects.filter(email="bob@example.com").exists()
    assert Message.objects.get().text == ""


def test_without_a_mail_server_the_link_is_shown_and_nothing_mailed():
    owner = make_user("alice")
    make_app(owner=owner)
    page = signed_in(owner).post("/apps/hello/people", {"email": "bob@example.com", "role": "10"}, follow=True)
    assert "Send them this link" in page.content.decode()
    assert not Message.objects.exists()


def ask(email: str, sent_tasks) -> None:
    page = Client().post("/password", {"email": email})
    assert "If " in page.content.decode()
    assert ("hooks.mail_password", (email,)) in sent_tasks
    mail_password(email)
    send_messages(MAIL)


def test_a_password_is_set_by_a_link_that_works_once(mails, sent_tasks):
    alice = make_user("alice")
    browser = signed_in(alice)
    assert "Forgot your password?" in Client().get("/login").content.decode()
    ask("alice@example.com", sent_tasks)
    link = link_in(mails[0])
    guest = Client()
    assert guest.get(link).status_code == 200
    assert guest.post(link, {"password": "short", "repeated": "short"}).status_code == 422
    assert guest.post(link, {"password": NEW, "repeated": NEW}).status_code == 302
    alice.refresh_from_db()
    assert alice.check_password(NEW)
    assert guest.get(link).status_code == 404
    assert browser.get("/account").status_code == 302  # other sessions have ended
    assert not Session.objects.filter(user=alice).exists()


def test_a_link_ends_with_an_hour(mails, sent_tasks, monkeypatch):
    make_user("alice")
    ask("alice@example.com", sent_tasks)
    from paas.hooks.services import mails as service

    now = service._tokens._now()
    monkeypatch.setattr(type(service._tokens), "_now", lambda _: now.fromtimestamp(time.time() + 3700))
    assert Client().get(link_in(mails[0])).status_code == 404


def test_who_is_no_user_gets_the_same_answer_and_no_mail(mails, sent_tasks):
    make_user("alice")
    ask("nobody@example.com", sent_tasks)
    gone = make_user("gone")
    User.objects.filter(pk=gone.pk).update(is_active=False)
    ask("gone@example.com", sent_tasks)
    assert mails == []


def test_a_link_of_somebody_else_is_none(mails, sent_tasks):
    make_user("alice")
    bob = make_user("bob")
    ask("alice@example.com", sent_tasks)
    token = link_in(mails[0]).rpartition("/")[2]
    assert Client().get(f"/password/{bob.pk}/{token}").status_code == 404


def test_asking_again_and_again_is_slowed_down(mails):
    make_user("alice")
    codes = [Client().post("/password", {"email": "alice@example.com"}).status_code for _ in range(10)]
    assert codes[0] == 200
    assert codes[-1] == 429


def test_without_a_mail_server_there_is_no_such_page():
    assert "Forgot" not in Client().get("/login").content.decode()
    assert Client().get("/password").status_code == 404
