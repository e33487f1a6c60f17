"""Reading an app's log: the page, the download, who may see what; and what the platform says in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from paas.accounts.models import User
from paas.apps.models import App, Role
from paas.apps.services import add_collaborator, restart_app
from paas.core import applog, redis
from paas.core.models import AuditEvent
from runtime.logs.record import Line, Source
from runtime.logs.store import LogStore
from tests.factories import make_app, make_release, make_user

pytestmark = pytest.mark.django_db
BEGAN = datetime(2026, 11, 23, 16, 0, tzinfo=UTC)


def said(app: App, *texts: str, name: str = "web.1", source: Source = Source.APP) -> None:
    lines = [Line(BEGAN + timedelta(seconds=n), source, name, text, 1) for n, text in enumerate(texts)]
    LogStore(settings.ENV.app_logs).append(str(app.pk), lines)


def share(app: App, name: str, role: Role) -> User:
    user = make_user(name)
    add_collaborator(app, user, role, by=app.owner)
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def app() -> App:
    app = make_app()
    make_release(app)
    said(app, "Boot", "<script>alert(1)</script>", "\x1b[31mred\x1b[0m GET /ok")
    said(app, 'method=GET path="/ok"', name="router", source=Source.ROUTER)
    said(app, "SECRET=hunter2", name="run.7")
    return app


def test_the_page_shows_what_was_said_and_runs_none_of_it(app: App):
    page = signed_in(app.owner).get(f"/apps/{app.name}/logs").content.decode()
    assert "Boot" in page
    assert "<script>alert(1)" not in page
    assert "red GET /ok" in page
    assert f'data-tail="/streams/apps/{app.name}/logs?after=' in page


def test_filters_are_fields_of_a_form_and_the_tail_keeps_them(app: App):
    page = signed_in(app.owner).get(f"/apps/{app.name}/logs?source=router&q=%2Fok").content.decode()
    assert "method=GET" in page
    assert "Boot" not in page
    assert "logs?source=router&amp;q=%2Fok&amp;after=" in page


@pytest.mark.parametrize("query", ["process=%3Brm", "release=first", "since=yesterday", "q=(&regex=1", "source=all"])
def test_a_filter_that_makes_no_sense_is_answered_in_words(app: App, query: str):
    answer = signed_in(app.owner).get(f"/apps/{app.name}/logs?{query}")
    assert answer.status_code == 422
    assert b'role="alert"' in answer.content
    assert signed_in(app.owner).get(f"/-/streams/apps/{app.name}/logs?{query}").status_code == 422


def test_older_lines_are_pages_before_a_position(app: App):
    said(app, *(f"line {n}" for n in range(450)))
    client, seen, query = signed_in(app.owner), [], "process=web"
    while query:
        page = client.get(f"/apps/{app.name}/logs?{query}").content.decode()
        seen.append(page.count('class="log-line"'))
        found = page.split('rel="prev" href="?', 1)
        query = found[1].split('"')[0].replace("&amp;", "&") if len(found) > 1 else ""
    assert seen == [200, 200, 53]


def test_an_app_without_a_log_says_what_will_be_there():
    app = make_app("fresh")
    assert b"Nothing has been said yet" in signed_in(app.owner).get(f"/apps/{app.name}/logs").content


def test_a_viewer_does_not_see_what_a_command_run_by_hand_printed(app: App):
    viewer = signed_in(share(app, "bob", Role.VIEWER))
    assert b"Boot" in viewer.get(f"/apps/{app.name}/logs").content
    for query in ("", "?process=run", "?q=hunter2", "?process=run.7"):
        assert b"SECRET" not in viewer.get(f"/apps/{app.name}/logs{query}").content
    assert viewer.get(f"/-/streams/apps/{app.name}/logs").json()["filter"]["without"] == ["run"]
    assert b"SECRET" in signed_in(share(app, "olga", Role.OPERATOR)).get(f"/apps/{app.name}/logs").content


def test_an_operator_downloads_what_fits_and_that_is_on_record(app: App):
    operator = share(app, "olga", Role.OPERATOR)
    answer = signed_in(operator).post(f"/apps/{app.name}/logs/download", {"process": "web"})
    text = answer.getvalue().decode()
    assert text.splitlines()[0] == "2026-11-23T16:00:00.000000+00:00 app[web.1]: Boot"
    assert len(text.splitlines()) == 3
    assert answer["Content-Disposition"].startswith(f'attachment; filename="{app.name}-')
    event = AuditEvent.objects.get(action="logs.download")
    assert (event.actor, event.detail) == (operator, {"filter": {"process": "web"}})


def test_a_viewer_downloads_nothing_and_a_stranger_finds_nothing(app: App):
    viewer = signed_in(share(app, "bob", Role.VIEWER))
    assert viewer.post(f"/apps/{app.name}/logs/download").status_code == 403
    charlie = signed_in(make_user("charlie"))
    assert charlie.get(f"/apps/{app.name}/logs").status_code == 404
    assert charlie.get(f"/-/streams/apps/{app.name}/logs").status_code == 404
    assert charlie.post(f"/apps/{app.name}/logs/download").status_code == 404
    assert Client().get(f"/-/streams/apps/{app.name}/logs").status_code == 401


def test_the_number_of_queries_does_not_grow_with_the_log(app: App, django_assert_num_queries):
    client = signed_in(app.owner)
    client.get(f"/apps/{app.name}/logs")
    with django_assert_num_queries(15, exact=False) as few:
        client.get(f"/apps/{app.name}/logs")
    said(app, *(f"line {n}" for n in range(150)))
    with django_assert_num_queries(len(few)):
        client.get(f"/apps/{app.name}/logs")


@pytest.mark.django_db(transaction=True)
def test_the_platform_says_in_the_log_what_it_was_told_to_do():
    app = make_app()
    restart_app(app, by=app.owner)
    make_release(app, live=False)
    found: Any = redis.client().xrange(applog.STREAM)
    entries = [fields for _, fields in found]
    assert [(each["name"], each["text"]) for each in entries] == [
        ("api", f"App created by {app.owner.email}"),
        ("api", f"Restarted by {app.owner.email}"),
        ("api", f"Release v1 created: Deploy by {app.owner.email}"),
    ]
    assert {each["app"] for each in entries} == {str(app.pk)}
