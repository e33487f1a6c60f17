"""What builds and apps said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.conf import settings

from paas.builds.log import log_path
from paas.builds.models import Build
from runtime.logs.record import Line, Source
from runtime.logs.store import LogStore
from tests.factories import make_release

pytestmark = pytest.mark.django_db


@pytest.fixture
def build(app):
    release = make_release(app)
    values = {"ref": "refs/heads/main", "old": "0" * 40, "commit_subject": "Say hello."}
    Build.objects.create(app=app, number=1, new="1" * 40, status="succeeded", release=release, **values)
    return Build.objects.create(app=app, number=2, new="2" * 40, status="building", **values)


def test_builds_are_listed_newest_first(paas, build):
    lines = paas("builds", "-a", "hello").out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["2", "building", "22222222"], ["1", "succeeded", "11111111"]]
    assert "Say hello." in lines[2]
    assert [row["number"] for row in paas("builds", "-a", "hello", "-n", "1", "--json").json] == [2]


def test_the_output_of_a_running_build_is_followed_to_its_end(paas, build, transport):
    path = log_path(build.pk)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("-----> Python app\n")

    def builder():
        if any(request.url.path.endswith("/output") for request in transport.requests[:-1]):
            path.write_text("-----> Python app\n-----> Done\n")
            Build.objects.filter(pk=build.pk).update(status="succeeded")

    transport.meanwhile = builder
    assert paas("builds:output", "-a", "hello").out == "-----> Python app\n-----> Done\n"


def test_a_build_that_is_over_is_not_cancelled(paas, build):
    assert "over" in paas("builds:cancel", "-a", "hello", "1", code=1).err
    assert "build 7" in paas("builds:output", "-a", "hello", "7", code=1).err.lower()


def test_the_log_is_shown_by_process_and_text_without_colours(paas, app):
    store = LogStore(settings.ENV.app_logs)
    for name, text in (("web.1", "\x1b[32mListening\x1b[0m on 8080"), ("worker.1", "Ready"), ("web.1", "GET /hats")):
        store.append(str(app.pk), [Line(datetime.now(tz=UTC), Source.APP, name, text, release=1)])
    assert [line.split(" ", 1)[1] for line in paas("logs", "-a", "hello", "-p", "web").out.splitlines()] == [
        "app[web.1]: Listening on 8080",
        "app[web.1]: GET /hats",
    ]
    assert "Ready" in paas("logs", "-a", "hello", "--grep", "ready").out
    assert paas("logs", "-a", "hello", "-n", "1").out.count("\n") == 1
    assert "soon" in paas("logs", "-a", "hello", "--since", "soon", code=1).err
