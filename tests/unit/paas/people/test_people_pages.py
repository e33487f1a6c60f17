"""The pages about people, as a browser without scripts uses them."""

from __future__ import annotations

import dataclasses
import json
import re
import time

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from paas.accounts.models import ApiToken, Session, TwoFactor
from paas.accounts.services import begin_two_factor, confirm_two_factor, create_user, deactivate_user
from paas.apps.models import Invitation, Role
from paas.apps.selectors import role_in
from paas.apps.services import add_collaborator
from paas.core.models import AuditEvent
from tests.factories import code_of, make_app, make_config, make_public_key, make_user

pytestmark = pytest.mark.django_db
GOOD = "correct horse battery"


def sign_in(client, email="alice@example.com", password=GOOD, **more):
    return client.post("/login", {"username": email, "password": password, **more})


def text_of(response) -> str:
    return re.sub(r"\s+", " ", response.content.decode())


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def alice():
    return make_user("alice")


class CountingHasher(MD5PasswordHasher):
    algorithm = "counting"
    hashed = 0

    def encode(self, password, salt):
        type(self).hashed += 1
        return super().encode(password, salt)


class TestSignIn:
    def test_it_leads_to_where_one_wanted_to_go_and_nowhere_else(self, client, alice):
        assert sign_in(client, next="/audit").headers["Location"] == "/audit"
        assert sign_in(Client(), next="https://evil.example/").headers["Location"] == "/"

    def test_a_session_begins_with_another_cookie_and_says_where_it_came_from(self, client, alice):
        client.get("/login")
        headers = {"x-forwarded-for": "192.0.2.4", "user-agent": "curl/8"}
        client.post("/login", {"username": "Alice@example.com", "password": GOOD}, REMOTE_ADDR="", headers=headers)
        row = Session.objects.get(user=alice)
        assert (row.address, row.user_agent) == ("192.0.2.4", "curl/8")
        event = AuditEvent.objects.get(action="session.create")
        assert (event.actor, event.address, event.door) == (alice, "192.0.2.4", "dashboard")

    def test_nobody_learns_who_has_an_account(self, settings, alice):
        settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
        create_user(email="invited@example.com")
        for name in ("bob", "gone"):
            make_user(name)
        deactivate_user(make_user("gone2"), by=make_user("root", is_admin=True))
        alice.set_password(GOOD)
        alice.save()
        answers, hashed = set(), set()
        for email in ("bob@example.com", "gone2@example.com", "invited@example.com", "nobody@example.com"):
            CountingHasher.hashed = 0
            answer = sign_in(Client(), email, "a wrong password")
            page = re.sub(r'value="[^"]*"', "", text_of(answer))
            answers.add((answer.status_code, page))
            hashed.add(CountingHasher.hashed)
        assert len(answers) == 1
        assert hashed == {1}

    def test_a_failed_one_is_recorded_without_what_may_be_a_password(self, client, alice):
        sign_in(client, password="wrong one")
        sign_in(client, email="my secret password", password="alice")
        emails = [event.detail["email"] for event in AuditEvent.objects.filter(action="session.refused")]
        assert sorted(emails) == ["", "alice@example.com"]
        assert "secret" not in str(AuditEvent.objects.values())

    def test_guessing_is_slowed_down_and_says_how_long(self, client, alice):
        statuses = [sign_in(client, password=f"wrong {n}").status_code for n in range(7)]
        assert statuses == [422] * 6 + [429]
        answer = sign_in(client)
        assert answer.status_code == 429
        assert "Try again in" in text_of(answer)

    def test_somebody_with_two_factor_authentication_needs_a_code_as_well(self, client, alice):
        row = begin_two_factor(alice, by=alice)
        codes = confirm_two_factor(alice, code_of(row, -1))
        assert sign_in(client, next="/audit").headers["Location"] == "/login/code"
        assert client.get("/").headers["Location"].startswith("/login")
        assert client.get("/login/code").status_code == 200
        assert client.post("/login/code", {"code": "000000"}).status_code == 422
        code = code_of(row)
        assert client.post("/login/code", {"code": code}).headers["Location"] == "/audit"
        assert client.get("/").status_code == 200
        other = Client()
        sign_in(other)
        assert other.post("/login/code", {"code": code}).status_code == 422
        assert other.post("/login/code", {"code": codes[0]}).status_code == 302
        assert "9 are left" in text_of(other.get("/"))

    def test_the_second_step_is_no_way_around_the_first(self, client, alice):
        row = begin_two_factor(alice, by=alice)
        confirm_two_factor(alice, code_of(row, -1))
        assert client.post("/login/code", {"code": code_of(row)}).headers["Location"] == "/login"
        sign_in(client)
        alice.set_password("another good one")
        alice.save()
        assert client.post("/login/code", {"code": code_of(row)}).headers["Location"] == "/login"

    def test_guessing_codes_is_slowed_down(self, client, alice):
        confirm_two_factor(alice, code_of(begin_two_factor(alice, by=alice), -1))
        sign_in(client)
        statuses = [client.post("/login/code", {"code": f"{n:06d}"}).status_code for n in range(7)]
        assert statuses == [422] * 6 + [429]

    def test_signing_out_ends_the_session(self, client, alice):
        sign_in(client)
        assert client.post("/logout").headers["Location"] == "/login"
        assert not Session.objects.filter(user=alice).exists()
        assert AuditEvent.objects.filter(action="session.end", actor=alice).exists()

    def test_where_admins_need_a_second_step_they_get_nowhere_before_they_have_one(self, settings, alice):
        settings.ENV = dataclasses.replace(settings.ENV, admins_need_two_factor=True)
        root, client = make_user("root", is_admin=True), Client()
        client.force_login(root)
        assert client.get("/people").headers["Location"] == "/account/two-factor"
        assert client.post("/people", {"email": "dora@example.com"}).headers["Location"] == "/account/two-factor"
        assert not Invitation.objects.exists()
        client.post("/account/two-factor/begin")
        client.post("/account/two-factor/confirm", {"code": code_of(root.two_factor)})
        assert client.get("/people").status_code == 200
        assert signed_in(alice).get("/").status_code == 200


class TestAccount:
    def test_the_password_is_changed_and_this_session_goes_on(self, alice):
        here, there = signed_in(alice), signed_in(alice)
        wrong = here.post("/account/password", {"current": "x", "new": "fresh and long", "repeated": "fresh and long"})
        assert wrong.status_code == 422
        other = here.post("/account/password", {"current": GOOD, "new": "fresh and long", "repeated": "fresh and lonk"})
        assert "another password" in text_of(other)
        good = here.post("/account/password", {"current": GOOD, "new": "fresh and long", "repeated": "fresh and long"})
        assert good.status_code == 302
        assert here.get("/account").status_code == 200
        assert there.get("/account").status_code == 302

    def test_a_token_is_shown_once(self, alice):
        client = signed_in(alice)
        client.post("/account/tokens", {"name": "ci", "scope": "git", "days": "30"})
        token = ApiToken.objects.get()
        assert token.scopes == ["git"]
        first, second = text_of(client.get("/account/tokens")), text_of(client.get("/account/tokens"))
        secret = re.search(r"paas_[0-9a-f]{40}", first).group()
        assert secret not in second
        assert token.prefix in second
        with connection.cursor() as cursor:
            cursor.execute("SELECT session_data FROM accounts_session")
            assert secret not in str(cursor.fetchall())
        client.post(f"/account/tokens/{token.pk}/revoke")
        assert not ApiToken.objects.exists()

    def test_a_token_can_be_made_for_an_app_that_one_sees_and_for_no_other(self, alice):
        make_app("mine", owner=alice)
        make_app("other")
        client = signed_in(alice)
        assert (
            client.post("/account/tokens", {"name": "t", "scope": "git", "days": "0", "app": "other"}).status_code == 422
        )
        assert (
            client.post("/account/tokens", {"name": "t", "scope": "global", "days": "0", "app": "mine"}).status_code
            == 422
        )
        assert (
            client.post("/account/tokens", {"name": "t", "scope": "git", "days": "0", "app": "mine"}).status_code == 302
        )
        assert ApiToken.objects.get().app.name == "mine"

    def test_what_is_somebody_elses_can_be_neither_revoked_nor_removed_nor_ended(self, alice):
        bob = signed_in(make_user("bob"))
        client = signed_in(alice)
        client.post("/account/tokens", {"name": "ci", "scope": "git", "days": "0"})
        client.post("/account/keys", {"key": make_public_key()})
        token, key, session = ApiToken.objects.get(), alice.ssh_keys.get(), alice.sessions.get()
        for address in (f"tokens/{token.pk}/revoke", f"keys/{key.pk}/remove", f"sessions/{session.pk}/end"):
            assert bob.post(f"/account/{address}").status_code == 404
        assert ApiToken.objects.exists()
        assert alice.ssh_keys.exists()
        assert alice.sessions.exists()

    def test_a_bad_key_is_refused_at_the_field_and_what_was_typed_stays(self, alice):
        client = signed_in(alice)
        answer = client.post("/account/keys", {"key": "ssh-ed25519 nonsense", "name": "laptop"})
        assert answer.status_code == 422
        assert "not an SSH public key" in text_of(answer)
        assert "ssh-ed25519 nonsense" in text_of(answer)

    def test_sessions_are_listed_in_words_and_can_be_ended(self, alice):
        here, there = signed_in(alice), signed_in(alice)
        there.get("/", headers={"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Firefox/132.0"})
        page = text_of(here.get("/account/sessions"))
        assert "Firefox 132 on Linux" in page
        assert page.count("this one") == 1
        here.post("/account/sessions/end-others")
        assert there.get("/").status_code == 302
        assert here.get("/").status_code == 200

    def test_two_factor_authentication_is_set_up_and_its_codes_are_shown_once(self, alice):
        client = signed_in(alice)
        client.post("/account/two-factor/begin")
        page = text_of(client.get("/account/two-factor"))
        row = TwoFactor.objects.get()
        assert row.secret in page
        qr = client.get("/account/two-factor/code.svg")
        assert qr.headers["Content-Type"] == "image/svg+xml"
        assert b"style=" not in qr.content
        assert client.post("/account/two-factor/confirm", {"code": code_of(row)}).status_code == 302
        first, second = text_of(client.get("/account/two-factor")), text_of(client.get("/account/two-factor"))
        assert len(re.findall(r"\b(?:[a-z2-7]{4}-){3}[a-z2-7]{4}\b", first)) >= 10
        assert not re.search(r"\b(?:[a-z2-7]{4}-){3}[a-z2-7]{4}\b", second)
        assert row.secret not in second
        assert client.get("/account/two-factor/code.svg").status_code == 404
        wrong = client.post(
            "/account/two-factor/off", {"proof": "x"}, headers={"referer": "http://testserver/account/two-factor"}
        )
        assert wrong.headers["Location"] == "/account/two-factor"
        assert TwoFactor.objects.exists()
        client.post("/account/two-factor/off", {"proof": GOOD})
        assert not TwoFactor.objects.exists()


class TestPeople:
    def test_a_user_gets_access_and_somebody_new_an_invitation(self, alice):
        app, client = make_app(owner=alice), signed_in(alice)
        bob = make_user("bob")
        client.post("/apps/hello/people", {"email": "bob@example.com", "role": Role.OPERATOR})
        assert role_in(app, bob) == Role.OPERATOR
        client.post("/apps/hello/people", {"email": "dora@example.com", "role": Role.VIEWER})
        page = text_of(client.get("/apps/hello/people"))
        link = re.search(r"http://testserver(/invitations/[\w-]+)", page).group(1)
        assert link not in text_of(client.get("/apps/hello/people"))
        assert "invited" in page
        guest = Client()
        assert "dora@example.com" in text_of(guest.get(link))
        bad = guest.post(link, {"name": "Dora", "password": "short", "repeated": "short"})
        assert bad.status_code == 422
        done = guest.post(link, {"name": "Dora", "password": GOOD, "repeated": GOOD})
        assert done.headers["Location"] == "/"
        assert "hello" in text_of(guest.get("/"))
        assert Client().get(link).status_code == 404
        assert not Invitation.objects.exists()

    def test_an_invitation_is_not_accepted_by_whoever_is_signed_in(self, alice):
        make_app(owner=alice)
        client = signed_in(alice)
        client.post("/apps/hello/people", {"email": "dora@example.com", "role": Role.VIEWER})
        link = re.search(r"http://testserver(/invitations/[\w-]+)", text_of(client.get("/apps/hello/people"))).group(1)
        client.post(link, {"name": "Dora", "password": GOOD, "repeated": GOOD})
        assert "You are signed in as alice@example.com" in text_of(client.get(link))
        assert Invitation.objects.exists()

    def test_a_viewer_sees_who_has_access_and_has_nothing_to_change_it_with(self, alice):
        app, bob = make_app(owner=alice), make_user("bob")
        add_collaborator(app, bob, Role.VIEWER, by=alice)
        page = text_of(signed_in(bob).get("/apps/hello/people"))
        assert "alice@example.com" in page
        assert "Give somebody access" not in page
        assert "Hand hello over" not in page
        assert "Leave hello" in page

    def test_roles_are_changed_taken_away_and_left(self, alice):
        app, bob = make_app(owner=alice), make_user("bob")
        add_collaborator(app, bob, Role.VIEWER, by=alice)
        client = signed_in(alice)
        client.post("/apps/hello/people/update", {"email": bob.email, "role": Role.DEVELOPER})
        assert role_in(app, bob) == Role.DEVELOPER
        client.post("/apps/hello/people/remove", {"email": bob.email})
        assert role_in(app, bob) is None
        add_collaborator(app, bob, Role.VIEWER, by=alice)
        assert signed_in(bob).post("/apps/hello/people/leave").headers["Location"] == "/"
        assert role_in(app, bob) is None

    def test_an_app_is_handed_over_with_its_name_typed(self, alice):
        app, bob = make_app(owner=alice), make_user("bob")
        add_collaborator(app, bob, Role.VIEWER, by=alice)
        client = signed_in(alice)
        client.post("/apps/hello/people/transfer", {"email": bob.email, "confirm": "other"})
        app.refresh_from_db()
        assert app.owner == alice
        client.post("/apps/hello/people/transfer", {"email": bob.email, "confirm": "hello"})
        app.refresh_from_db()
        assert app.owner == bob

    def test_an_admin_invites_and_changes_people(self):
        root, bob = make_user("root", is_admin=True), make_user("bob")
        client = signed_in(root)
        client.post("/people", {"email": "dora@example.com", "is_admin": "on"})
        assert "/invitations/" in text_of(client.get("/people"))
        for change, field, value in (
            ("make-admin", "is_admin", True),
            ("no-admin", "is_admin", False),
            ("forbid-apps", "can_create_apps", False),
            ("allow-apps", "can_create_apps", True),
            ("deactivate", "is_active", False),
            ("activate", "is_active", True),
        ):
            client.post(f"/people/{bob.pk}/{change}")
            bob.refresh_from_db()
            assert getattr(bob, field) is value
        assert client.get(f"/people/{bob.pk}").status_code == 200
        referer = {"referer": f"http://testserver/people/{root.pk}"}
        client.post(f"/people/{root.pk}/no-admin", headers=referer)
        assert "last admin" in text_of(client.get(f"/people/{root.pk}"))

    def test_the_lists_take_the_same_number_of_queries_however_long_they_are(self, alice):
        root, app = make_user("root", is_admin=True), make_app(owner=alice)
        client = signed_in(root)

        def counted(address):
            with CaptureQueriesContext(connection) as queries:
                assert client.get(address).status_code == 200
            return len(queries)

        addresses = ("/people", "/apps/hello/people", "/audit", "/account/tokens")
        client.get("/")  # after this one the session has been seen
        before = [counted(address) for address in addresses]
        for number in range(8):
            bob = make_user(f"bob{number}")
            add_collaborator(app, bob, Role.VIEWER, by=alice)
            client.post("/account/tokens", {"name": f"t{number}", "scope": "git", "days": "7", "app": "hello"})
            client.post("/apps/hello/people", {"email": f"new{number}@example.com", "role": Role.VIEWER})
        for address in addresses:
            client.get(address)  # takes what is shown once
        assert [counted(address) for address in addresses] == before


class TestAudit:
    def test_it_is_filtered_and_shows_before_and_after(self, alice):
        app, bob = make_app(owner=alice), make_user("bob")
        add_collaborator(app, bob, Role.OPERATOR, by=alice)
        make_config(app, TOKEN="value")
        client = signed_in(alice)
        page = text_of(client.get("/audit", {"app": "hello", "action": "access"}))
        assert "access.add" in page
        assert "Operator" in page
        assert page.count("app.create</th>") == 0
        assert "TOKEN" in text_of(client.get("/audit", {"text": "token"}))
        assert "Nothing fits" in text_of(client.get("/audit", {"actor": "nobody"}))
        assert client.get("/audit", {"since": "yesterday"}).status_code == 422

    def test_it_is_exported_whole_as_csv_and_json(self, alice):
        make_app("hello", owner=alice)
        make_app("other", owner=alice)
        client = signed_in(alice)

        def body(address):
            return b"".join(client.get(address)).decode()

        lines = body("/audit/export.csv?app=hello").splitlines()
        assert lines[0].startswith("at,actor,door")
        assert len(lines) == 2
        events = json.loads(body("/audit/export.json"))
        assert {event["app"] for event in events} == {"hello", "other"}
        assert json.loads(body("/audit/export.json?app=none")) == []

    def test_somebody_without_a_part_in_an_app_reads_nothing_of_it(self, alice):
        make_app(owner=alice)
        client = signed_in(make_user("charlie"))
        assert "hello" not in text_of(client.get("/audit", {"app": ""}))
        assert json.loads(b"".join(client.get("/audit/export.json?app=hello"))) == []

    def test_a_thousand_events_are_a_page_at_a_time(self, alice):
        app = make_app(owner=alice)
        for number in range(60):
            make_config(app, NUMBER=str(number))
        client = signed_in(alice)
        began = time.monotonic()
        first = client.get("/audit")
        assert first.context["page"].paginator.num_pages >= 2
        assert "Older" in text_of(first)
        assert client.get("/audit", {"page": "2"}).status_code == 200
        assert time.monotonic() - began < 60
