"""A program is signed in through the browser: it asks, a person confirms, it fetches its token once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.utils import timezone

from paas.accounts.models import ApiToken, LoginRequest
from paas.accounts.services import active_token, deactivate_user, forget_expired
from paas.core.models import AuditEvent
from tests.factories import make_user

pytestmark = pytest.mark.django_db


def begin(description: Any = "Heroku CLI login from vm", address: str = "192.0.2.1") -> Any:
    return Client(raise_request_exception=False).post(
        "/auth", {"description": description}, content_type="application/json",
        headers={"X-Paas-Door": "api"}, REMOTE_ADDR=address,
    )  # fmt: skip


def fetch(begun: Any, token: str = "") -> Any:
    """As the streams process asks."""
    login_id = begun["cli_url"].removeprefix("/streams/logins/")
    return Client(raise_request_exception=False).get(
        f"/-/streams/logins/{login_id}", headers={"Authorization": f"Bearer {token or begun['token']}"}
    )


def page_of(begun: Any) -> str:
    return str("/login/programs/" + begun["browser_url"].rpartition("/")[2])


@pytest.fixture
def alice():
    return make_user("alice")


@pytest.fixture
def browser(alice):
    client = Client(raise_request_exception=False)
    client.force_login(alice)
    return client


def test_a_program_is_signed_in_when_a_person_confirms(alice, browser):
    begun = begin().json()
    assert fetch(begun).json() == {"state": "pending"}
    page = browser.get(page_of(begun)).content.decode()
    for shown in (begun["browser_url"].rpartition("/")[2], "Heroku CLI login from vm", "192.0.2.1", "alice@example.com"):
        assert shown in page
    done = browser.post(page_of(begun), {"answer": "approve"}, follow=True)
    assert "You can go back to your terminal" in done.content.decode()
    secret = fetch(begun).json()["access_token"]
    token = active_token(secret)
    assert token is not None
    assert (token.user, token.name, token.scopes) == (alice, "Heroku CLI login from vm", ["global"])
    assert token.expires_at is not None
    assert token.expires_at > timezone.now() + timedelta(days=89)
    event = AuditEvent.objects.get(action="login.approve")
    assert (event.actor, event.detail["from_address"]) == (alice, "192.0.2.1")


def test_the_token_is_given_once(browser):
    begun = begin().json()
    browser.post(page_of(begun), {"answer": "approve"})
    assert "access_token" in fetch(begun).json()
    assert fetch(begun).status_code == 404
    assert ApiToken.objects.count() == 1


def test_a_refusal_is_told_and_no_token_made(browser):
    begun = begin().json()
    done = browser.post(page_of(begun), {"answer": "deny"}, follow=True)
    assert "Nothing was signed in" in done.content.decode()
    assert fetch(begun).json() == {"error": "The login was refused in the browser."}
    assert not ApiToken.objects.exists()
    assert browser.post(page_of(begun), {"answer": "approve"}).status_code == 404


def test_the_code_is_for_people_and_the_secret_for_the_program(browser):
    begun = begin().json()
    code = begun["browser_url"].rpartition("/")[2]
    assert len(code) == 9
    browser.post(page_of(begun), {"answer": "approve"})
    assert fetch(begun, token=code).status_code == 404
    assert fetch(begun, token="x").status_code == 404
    assert LoginRequest.objects.get().digest not in str(begun)


def test_nobody_confirms_without_a_session_or_the_forms_token(alice):
    begun = begin().json()
    stranger = Client()
    answer = stranger.get(page_of(begun))
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/login?next={page_of(begun)}")
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(alice)
    assert forged.post(page_of(begun), {"answer": "approve"}).status_code == 403
    assert LoginRequest.objects.get().state == "pending"


def test_an_unknown_code_and_one_that_is_too_old_lead_nowhere(browser):
    assert browser.get("/login/programs/BCDF-GHJK").status_code == 404
    begun = begin().json()
    LoginRequest.objects.update(expires_at=timezone.now())
    assert browser.get(page_of(begun)).status_code == 404
    assert fetch(begun).status_code == 404
    forget_expired()
    assert not LoginRequest.objects.exists()


def test_somebody_deactivated_meanwhile_gets_no_token(alice, browser):
    begun = begin().json()
    browser.post(page_of(begun), {"answer": "approve"})
    deactivate_user(alice, by=make_user("root", is_admin=True))
    assert "error" in fetch(begun).json()
    assert not ApiToken.objects.exists()


def test_one_address_can_not_fill_the_table(browser):
    assert [begin().status_code for _ in range(11)] == [200] * 10 + [429]
    assert begin(address="192.0.2.2").status_code == 200


@pytest.mark.parametrize("body", ["", "[]", "nonsense", '"text"'])
def test_what_is_no_request_is_refused(body):
    answer = Client(raise_request_exception=False).post(
        "/auth", body, content_type="application/json", headers={"X-Paas-Door": "api"}
    )
    assert answer.status_code in {200, 400}
    assert (answer.status_code == 200) == (body == "")


def test_the_page_is_at_the_dashboard_and_shows_what_the_program_says_as_text(browser):
    begun = begin("<script>alert(1)</script>\x1b[31m").json()
    lead = Client().get(begun["browser_url"], headers={"X-Paas-Door": "api"})
    assert (lead.status_code, lead.headers["Location"]) == (302, f"http://dashboard.apps.example{page_of(begun)}")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in browser.get(page_of(begun)).content.decode()
    assert UUID(begun["cli_url"].removeprefix("/streams/logins/"))
