"""Every address of the dashboard, found in its table: who gets in, and that looking changes nothing.

A new page comes in by itself. Arguments that are not in `EXAMPLES` get a value by their type: a page checks the role
before it looks for anything below the app, so these tests don't need what the address names.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.urls.converters import IntConverter, UUIDConverter

from paas.apps.models import Role
from paas.apps.services import add_collaborator
from paas.core.models import AuditEvent
from paas.dashboard.navigation import RAIL
from tests.factories import make_app, make_config, make_release, make_user

pytestmark = pytest.mark.django_db

EXAMPLES = {"name": "hello", "version": "1", "number": 1, "process": "web", "tag": "latest"}
# Without a session: the platform's own health, the way in, and what is a secret by itself: an invitation, a new password,
# a stream that the API has promised.
OPEN = {
    "-/health", "ca.pem", "login", "login/code", "invitations/<str:secret>", "password",
    "password/<uuid:user_id>/<str:token>", "-/streams/log-sessions/<str:secret>", "-/streams/output/<str:signed>",
}  # fmt: skip
# What everybody with a role may do.
FOR_VIEWERS = {
    "apps/<str:name>/people/leave",
    # Their own mails; for anybody else's it is as if there were none.
    "apps/<str:name>/settings/notifications/mail",
    "apps/<str:name>/settings/notifications/<uuid:channel_id>/remove",
    "apps/<str:name>/settings/notifications/<uuid:channel_id>/test",
}
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


def routes() -> Iterator[tuple[str, str]]:
    """(route, an address of it)."""

    def walk(patterns: list[Any], before: str = "") -> Iterator[tuple[str, URLPattern]]:
        for entry in patterns:
            if isinstance(entry, URLResolver):
                yield from walk(entry.url_patterns, before + str(entry.pattern))
            else:
                yield before + str(entry.pattern), entry

    for route, pattern in walk(get_resolver().url_patterns):
        address = route
        for name, converter in pattern.pattern.converters.items():
            kind = type(converter)
            by_type = 1 if kind is IntConverter else uuid.UUID(int=1) if kind is UUIDConverter else "web"
            value = EXAMPLES.get(name, by_type)
            parts = [part for part in address.split("/") if part.startswith("<") and part.rstrip(">").endswith(name)]
            whole = next(part for part in parts if part.split(":")[-1].rstrip(">") == name)
            address = address.replace(whole, str(value))
        yield route, f"/{address}"


def of_apps() -> list[tuple[str, str]]:
    return [(route, address) for route, address in routes() if "<str:name>" in route]


def for_admins() -> list[tuple[str, str]]:
    pages = [reverse(entry.view) for entry in RAIL if entry.for_admins and _exists(entry.view)]
    return [
        (route, address)
        for route, address in routes()
        if any(address == page or address.startswith(f"{page}/") for page in pages)
    ]


def _exists(view: str) -> bool:
    return any(pattern.name == view for pattern in get_resolver().url_patterns[0].url_patterns)


@pytest.fixture
def app():
    app = make_app(owner=make_user("alice"))
    make_config(app, TOKEN="value")
    make_release(app)
    return app


def signed_in(user, **options) -> Client:
    client = Client(raise_request_exception=False, **options)
    client.force_login(user)
    return client


def answers(client: Client, method: str, chosen: list[tuple[str, str]]) -> dict[str, int]:
    """By route. The address of a form that is only looked at may lead to its page: then it is that page's answer."""
    found = {}
    for route, address in chosen:
        response = getattr(client, method)(address, follow=method == "get")
        found[route] = response.status_code
        response.close()
    return found


def test_the_table_is_not_empty():
    assert len(list(routes())) > 30
    assert len(of_apps()) > 8
    assert len(for_admins()) > 4


@pytest.mark.parametrize("method", ["get", "post"])
def test_without_a_session_every_address_leads_to_the_sign_in(app, method):
    client, wrong = Client(), {}
    for route, address in routes():
        if route in OPEN:
            continue
        response = getattr(client, method)(address)
        where = response.headers.get("Location", "")
        is_refused = response.status_code in {401, 405} or (response.status_code == 302 and where.startswith("/login"))
        if not is_refused:
            wrong[route] = (response.status_code, where)
    assert wrong == {}


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_app_does_not_exist_for_whoever_has_no_role_in_it(app, method):
    client = signed_in(make_user("charlie"))
    wrong = {route: status for route, status in answers(client, method, of_apps()).items() if status not in {404, 405}}
    assert wrong == {}


def test_nothing_is_done_without_the_forms_token(app):
    app.owner.is_admin = True
    app.owner.save()
    client = signed_in(app.owner, enforce_csrf_checks=True)
    before = AuditEvent.objects.count()
    wrong = {route: status for route, status in answers(client, "post", list(routes())).items() if status != 403}
    assert wrong == {}
    assert AuditEvent.objects.count() == before


def test_a_viewer_changes_nothing(app):
    bob = make_user("bob")
    add_collaborator(app, bob, Role.VIEWER, by=app.owner)
    client = signed_in(bob)
    chosen = [(route, address) for route, address in of_apps() if route not in FOR_VIEWERS]
    before = AuditEvent.objects.count()
    wrong = {route: status for route, status in answers(client, "post", chosen).items() if status not in {403, 405}}
    assert wrong == {}
    assert AuditEvent.objects.count() == before


@pytest.mark.parametrize(
    ("role", "words"), [(Role.OPERATOR, ("deploy", "console", "destroy")), (Role.DEVELOPER, ("destroy", "transfer"))]
)
def test_what_takes_more_than_a_role_is_refused_by_what_its_address_says(app, role, words):
    bob = make_user("bob")
    add_collaborator(app, bob, role, by=app.owner)
    client = signed_in(bob)
    chosen = [(route, address) for route, address in of_apps() if any(f"/{word}" in route for word in words)]
    wrong = {route: status for route, status in answers(client, "post", chosen).items() if status not in {403, 405}}
    assert chosen
    assert wrong == {}


def test_people_are_the_owners_business(app):
    bob = make_user("bob")
    add_collaborator(app, bob, Role.DEVELOPER, by=app.owner)
    client = signed_in(bob)
    chosen = [(route, address) for route, address in of_apps() if "/people" in route and route not in FOR_VIEWERS]
    assert set(answers(client, "post", chosen).values()) == {403}


@pytest.mark.parametrize("method", ["get", "post"])
def test_the_platforms_pages_are_for_admins(method):
    client = signed_in(make_user("bob"))
    allowed = {403, 404, 405}
    wrong = {route: status for route, status in answers(client, method, for_admins()).items() if status not in allowed}
    assert wrong == {}


@pytest.mark.parametrize("is_admin", [False, True])
def test_looking_changes_nothing_and_never_breaks(app, is_admin):
    client = signed_in(make_user("root", is_admin=True) if is_admin else app.owner)
    wrong = {}
    for route, address in routes():
        with CaptureQueriesContext(
            connection,
        ) as queries:
            response = client.get(address)
            if response.streaming:
                for _ in response:
                    pass
            response.close()
        written = [
            query["sql"][:120]
            for query in queries
            if query["sql"].startswith(WRITES) and '"accounts_session"' not in query["sql"]
        ]
        if written or response.status_code >= 500:
            wrong[route] = (response.status_code, written)
    assert wrong == {}
