"""The host page: for admins, quick, and it says what is wrong and what to do."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable

import pytest
from django.test import Client

from paas.convergence import services as convergence
from paas.convergence.services import SWEPT
from paas.core import redis
from paas.core.queue import send
from paas.machine import health, selectors, services
from paas.machine.measure import measure, measured
from paas.machine.processes import platform_processes
from runtime.errors import Conflict
from tests.factories import make_app, make_release, make_user

pytestmark = pytest.mark.django_db
WELL: dict[str, Callable[[], str]] = dict.fromkeys(("redis", "registry", "router", "web", "git", "workers", "agent"), str)


@pytest.fixture(autouse=True)
def checks(monkeypatch):
    """What each part answers; the real checks need sockets."""
    answers = dict(WELL)
    monkeypatch.setattr(health, "checks", lambda: answers)
    return answers


@pytest.fixture
def admin():
    client = Client()
    client.force_login(make_user("root", is_admin=True))
    return client


def shown(answer) -> str:
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


@pytest.mark.parametrize("path", ["/host", "/host/metrics.json", "/host/measure", "/host/cleanup"])
def test_for_others_than_admins_there_is_no_such_page(path):
    client = Client()
    client.force_login(make_user("alice"))
    assert client.get(path).status_code in {404, 405}
    assert client.post(path).status_code in {404, 405}
    assert Client().get("/host").status_code == 302


def test_all_is_well_on_a_machine_where_all_is_well(admin):
    page = shown(admin.get("/host"))
    assert "Every part is well" in page
    assert "nothing waits" in page
    assert "not measured yet" in page
    assert " style=" not in page


def test_what_is_wrong_comes_first_with_what_to_do(admin, checks):
    checks["registry"] = lambda: "The registry does not answer: connection refused"
    page = shown(admin.get("/host"))
    assert "1 part not well" in page
    assert "connection refused" in page
    assert "What runs goes on running." in page


def test_an_answer_is_told_again_for_some_seconds(checks):
    asked = []

    def git() -> str:
        asked.append(1)
        return ""

    checks["git"] = git
    assert [part.name for part in selectors.parts()] == [part.name for part in selectors.parts()]
    assert len(asked) == 1


def test_an_engine_that_is_away_is_said(admin):
    from paas.wiring import engine

    engine().available = False  # type: ignore[attr-defined]
    page = shown(admin.get("/host"))
    assert "systemctl status docker" in page


def test_the_oldest_waiting_task_is_named_with_how_long_it_waits(admin):
    for task, ago in (("convergence.sweep", 90), ("convergence.tidy", 5)):
        redis.client().lpush("default", json.dumps({"headers": {"task": task, "sent_at": time.time() - ago}}))
    redis.client().lpush("builds", "not what Celery writes")
    page = shown(admin.get("/host"))
    assert "2 waiting" in page
    assert "convergence.sweep" in page
    assert "late" in page


def test_a_task_is_sent_with_the_time_it_was_sent_at(monkeypatch):
    seen = {}
    monkeypatch.setattr("celery.app.base.Celery.send_task", lambda self, name, **rest: seen.update(rest))
    from paas.celery import celery_app

    monkeypatch.delattr(celery_app, "send_task", raising=False)
    send("convergence.sweep")
    assert seen["headers"]["sent_at"] == pytest.approx(time.time(), abs=5)


def test_a_sweep_is_remembered_and_one_that_is_late_is_said(admin):
    convergence.sweep()
    sweep = selectors.last_sweep()
    assert sweep is not None
    assert not sweep.is_late
    redis.client().set(SWEPT, json.dumps({"at": time.time() - 300, "seconds": 0.1}))
    assert "Nobody has looked after the apps" in shown(admin.get("/host"))


def test_the_disk_is_measured_once_and_told_by_kind_and_app(admin):
    make_release(make_app("shop"))
    measure()
    found = measured()
    assert found is not None
    assert {"registry", "cache", "repositories", "builds", "logs", "database"} <= set(found.kinds)
    page = shown(admin.get("/host"))
    assert "Disk by app" in page
    assert "shop" in page


def test_the_page_asks_the_same_few_questions_however_many_apps_there_are(admin, django_assert_max_num_queries):
    for n in range(5):
        make_release(make_app(f"app-{n}"))
    measure()
    with django_assert_max_num_queries(15):
        shown(admin.get("/host"))


def test_a_cleanup_is_asked_for_once_and_its_failure_is_kept_for_the_page(admin, sent_tasks, monkeypatch):
    assert "has been started" in shown(admin.post("/host/cleanup", follow=True))
    assert "at work already" in shown(admin.post("/host/cleanup", follow=True))
    ((_, (user_id,)),) = [task for task in sent_tasks if task[0] == "machine.clean_up"]

    def refuse(**_: object) -> None:
        raise Conflict("Builds are running.", hint="Try again later.", id="builds_running")

    monkeypatch.setattr(services, "clean_up", refuse)
    from paas.machine.tasks import clean_up

    clean_up(user_id)
    assert "Builds are running. Try again later." in shown(admin.get("/host"))
    assert "has been started" in shown(admin.post("/host/cleanup", follow=True))


def test_processes_of_a_platform_that_was_started_by_nobody_are_none():
    assert platform_processes() == []
