"""Scale & health, and metrics: what people see, what they may do, and that a mistake keeps what was typed."""

from __future__ import annotations

import html
import json
import time

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from paas import wiring
from paas.apps.models import Collaborator, Role
from paas.apps.selectors import maintenance_page
from paas.convergence.models import Instance
from paas.dashboard.charts import Unit, path_of
from paas.formation.selectors import formation
from paas.metrics.services import record
from tests.factories import make_app, make_release, make_user

pytestmark = pytest.mark.django_db
PAGE = "/apps/hello/scale"
ACTIONS = ("quantities", "limits", "health", "restart", "stop", "start", "maintenance", "page")
MIB = 1024**2


@pytest.fixture(autouse=True)
def _machine():
    with wiring.replaced(machine_memory=8 * 1024 * MIB):
        yield


@pytest.fixture
def app():
    app = make_app(owner=make_user("alice"))
    make_release(app, process_types={"web": "serve", "worker": "work"})
    return app


@pytest.fixture
def alice(app):
    client = Client()
    client.force_login(app.owner)
    return client


def shown(answer) -> str:
    return html.unescape(answer.content.decode())


def instance(app, name: str) -> Instance:
    process, _, index = name.partition(".")
    return Instance.objects.create(app=app, process=process, index=int(index), state="up", release_version=1)


def measure(app, *names: str, requests: int = 0, failed: int = 0, ago: float = 30, memory: int = 64 * MIB) -> None:
    buckets = [0, 0, requests, 0, failed] + [0] * 8
    at = int(time.time() - ago) // 15 * 15
    record(
        {
            "at": at,
            "machine": [500, 2, 50, 4000, 8000, 10, 100],
            "instances": [[str(app.pk), name, 250, memory, 10, 20] for name in names],
            "traffic": {app.name: [[0, requests, 0, 0, failed], buckets, 1000]} if requests else {},
        }
    )


@pytest.mark.parametrize("action", ACTIONS)
def test_what_changes_something_is_for_operators_and_up(app, action):
    viewer, stranger = make_user("bob"), make_user("charlie")
    Collaborator.objects.create(app=app, user=viewer, role=Role.VIEWER)
    for user, status in ((viewer, 403), (stranger, 404)):
        client = Client()
        client.force_login(user)
        assert client.post(f"{PAGE}/{action}").status_code == status
    assert Client().post(f"{PAGE}/{action}").status_code == 302
    app.refresh_from_db()
    assert (app.stopped_at, app.maintenance, app.releases.count()) == (None, False, 1)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_form_without_its_token_is_refused(app, action):
    client = Client(enforce_csrf_checks=True)
    client.force_login(app.owner)
    assert client.post(f"{PAGE}/{action}").status_code == 403


@pytest.mark.parametrize("path", [PAGE, "/apps/hello/metrics", "/apps/hello/metrics.json"])
def test_strangers_see_no_such_pages(app, path):
    client = Client()
    client.force_login(make_user("charlie"))
    assert client.get(path).status_code == 404


def test_a_viewer_sees_all_and_is_offered_nothing(app):
    viewer = make_user("bob")
    Collaborator.objects.create(app=app, user=viewer, role=Role.VIEWER)
    client = Client()
    client.force_login(viewer)
    page = shown(client.get(PAGE))
    assert "512 MiB" in page
    for word in ("Restart", "Save", "Stop hello", "Turn maintenance on"):
        assert word not in page


def test_the_page_of_an_app_without_code_says_what_comes_first(app, alice):
    make_app("fresh", owner=app.owner)
    assert "Nothing has been deployed yet" in shown(alice.get("/apps/fresh/scale"))


def test_process_types_are_scaled_together(app, alice):
    answer = alice.post(f"{PAGE}/quantities", {"quantity-web": "3", "quantity-worker": "0"}, follow=True)
    assert "Scaling" in shown(answer)
    assert {each.process: each.quantity for each in formation(app)} == {"web": 3, "worker": 0}


@pytest.mark.parametrize("typed", ["11", "-1", "many", "1e3", "9" * 50])
def test_a_silly_number_of_instances_is_refused_in_words(app, alice, typed):
    answer = alice.post(
        f"{PAGE}/quantities", {"quantity-web": typed}, headers={"referer": f"http://testserver{PAGE}"}, follow=True
    )
    assert "Choose 0 to 10" in shown(answer)
    assert [each.quantity for each in formation(app)] == [1, 1]


def test_limits_are_saved_as_a_release_and_taken_back(app, alice):
    form = {"process": "web", "memory": "1.5 GiB", "cpu_shares": "2048"}
    assert "v2 is being released" in shown(alice.post(f"{PAGE}/limits", form, follow=True))
    assert "1.5 GiB" in shown(alice.get(PAGE))
    alice.post(f"{PAGE}/limits", {"process": "web", "default": "1"})
    assert [each.memory_bytes for each in formation(app)] == [512 * MIB] * 2


@pytest.mark.parametrize(
    ("memory", "why"),
    [("9 GiB", "more than this machine has"), ("<b>much</b>", "is not an amount"), ("1M", "too little")],
)
def test_a_refused_limit_keeps_what_was_typed(app, alice, memory, why):
    answer = alice.post(f"{PAGE}/limits", {"process": "web", "memory": memory, "cpu_shares": "1024"})
    assert answer.status_code == 422
    page = shown(answer)
    assert why in page
    assert f'value="{memory}"' in page
    assert "<b>much" not in answer.content.decode()


def test_a_health_check_is_saved_and_a_refused_one_keeps_what_was_typed(app, alice):
    form = {"process": "web", "kind": "http", "path": "/up", "timeout_seconds": "2", "start_seconds": "30"}
    assert "v2 is being released" in shown(alice.post(f"{PAGE}/health", form, follow=True))
    assert "HTTP /up within 30 s" in shown(alice.get(PAGE))
    answer = alice.post(f"{PAGE}/health", form | {"path": "no slash"})
    assert answer.status_code == 422
    assert 'value="no slash"' in shown(answer)
    assert "is no path" in shown(answer)


def test_one_instance_is_restarted_alone(app, alice, sent_tasks):
    instance(app, "web.1")
    sent_tasks.clear()
    assert "Restarting web.1" in shown(alice.post(f"{PAGE}/restart", {"target": "web.1"}, follow=True))
    assert app.restarts.get().target == "web.1"


def test_an_app_is_stopped_and_started(app, alice):
    page = shown(alice.post(f"{PAGE}/stop", follow=True))
    assert "This app is stopped" in page
    assert "Start hello" in page
    assert "hello is stopped" in shown(alice.get("/apps/hello"))
    alice.post(f"{PAGE}/start")
    assert "This app is stopped" not in shown(alice.get(PAGE))


def test_maintenance_goes_on_and_off_with_an_own_page(app, alice):
    alice.post(f"{PAGE}/maintenance", {"on": "1"})
    assert "Maintenance mode is on" in shown(alice.get(PAGE))
    file = SimpleUploadedFile("soon.html", "<h1>Grüße</h1>".encode())
    alice.post(f"{PAGE}/page", {"html": "<p>typed", "file": file})
    assert maintenance_page(app) == "<h1>Grüße</h1>"
    alice.post(f"{PAGE}/page", {"default": "1"})
    assert maintenance_page(app) == ""
    alice.post(f"{PAGE}/maintenance", {"on": "0"})
    app.refresh_from_db()
    assert not app.maintenance


@pytest.mark.parametrize("content", [b"\xff\xfe<p>", b"<p>" + b"x" * 70_000, b"no markup"])
def test_a_page_that_can_not_be_one_is_refused(app, alice, content):
    answer = alice.post(f"{PAGE}/page", {"html": "", "file": SimpleUploadedFile("x.html", content)})
    assert answer.status_code == 422
    assert maintenance_page(app) == ""


def test_the_number_of_queries_does_not_grow_with_instances(app, alice, django_assert_max_num_queries):
    for n in range(1, 11):
        instance(app, f"web.{n}")
    measure(app, *[f"web.{n}" for n in range(1, 11)])
    with django_assert_max_num_queries(20):
        page = shown(alice.get(PAGE))
    assert "64 MiB" in page
    assert "12 %" in page


# Metrics


def test_a_page_without_samples_says_when_they_come(app, alice):
    assert "Nothing was measured" in shown(alice.get("/apps/hello/metrics"))


def test_the_page_tells_in_words_and_figures_what_the_charts_show(app, alice):
    measure(app, "web.1", "worker.1", requests=99, failed=1)
    page = shown(alice.get("/apps/hello/metrics"))
    assert "100 requests in the last hour; 1 of them failed (5xx)." in page
    assert "64 MiB of 512 MiB, 12 %" in page
    assert "0.25 cores on average" in page
    assert "<path" in page
    assert " style=" not in page


def test_the_charts_are_given_their_lines_and_releases(app, alice):
    measure(app, "web.1", requests=30)
    answer = json.loads(alice.get("/apps/hello/metrics.json?window=1h").content)
    assert set(answer["charts"]) == {"requests", "latency", "cpu", "memory", "network"}
    assert answer["charts"]["memory"]["limit"] == 512 * MIB
    (line,) = answer["charts"]["cpu"]["lines"]
    assert line["name"] == "web.1"
    assert [value for value in line["values"] if value is not None] == [0.25]
    assert len(line["values"]) == len(answer["times"])
    assert [marker["text"] for marker in answer["markers"]] == ["v1: Deploy"]


@pytest.mark.parametrize("window", ["24h", "7d", "60d", "nonsense", ""])
def test_every_window_has_a_page(app, alice, window):
    measure(app, "web.1", requests=5)
    assert alice.get("/apps/hello/metrics", {"window": window}).status_code == 200


def test_a_drawn_line_is_interrupted_where_nobody_looked():
    assert path_of([1, None, 0, 1], 1, width=30, height=12) == "M0.0 1.0h.1M20.0 11.0h.1L30.0 1.0"


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        (Unit.CORES, 0.0123, "0.012 cores"),
        (Unit.BYTES, 64 * MIB, "64.0 MiB"),
        (Unit.BYTES, 0, "0 bytes"),
        (Unit.RATE, 1234.5, "1,234/s"),
        (Unit.MILLISECONDS, 12_345, "12.3 s"),
        (Unit.NUMBER, None, "–"),
    ],
)
def test_values_are_told_in_units_that_people_use(unit, value, text):
    assert unit.text(value) == text
