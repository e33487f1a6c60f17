"""Limits, health, restarts, stop and start, the maintenance page: rows in, one release or one wish out."""

from __future__ import annotations

import pytest

from paas import wiring
from paas.apps.models import MaintenancePage, Restart
from paas.apps.selectors import maintenance_page
from paas.apps.services import restart_app, set_maintenance_page, start_app, stop_app
from paas.convergence.spec import app_spec, effective_health
from paas.core.models import AuditEvent
from paas.formation.selectors import formation
from paas.formation.services import restart, scale, set_health, set_limits
from paas.formation.sizes import memory_text, parse_memory
from paas.releases.services import roll_back
from runtime.errors import Conflict, InvalidInput
from runtime.router.document import MAX_PAGE_BYTES
from tests.factories import make_app, make_live, make_release

pytestmark = pytest.mark.django_db
MIB = 1024**2
TYPES = {"web": "serve", "worker": "work"}


@pytest.fixture(autouse=True)
def _machine():
    with wiring.replaced(machine_memory=8 * 1024 * MIB):
        yield


@pytest.fixture
def app():
    made = make_app()
    make_release(made, process_types=TYPES)
    return made


def sizes(app) -> dict[str, tuple[int, int]]:
    return {each.process: (each.memory_bytes // MIB, each.cpu_shares) for each in formation(app)}


# Limits


def test_there_is_a_limit_until_somebody_chooses_another(app):
    assert sizes(app) == {"web": (512, 1024), "worker": (512, 1024)}
    release = set_limits(app, {"web": {"memory_bytes": 1024 * MIB, "cpu_shares": 2048}}, by=app.owner)
    assert (release.kind, release.description) == ("limits", "Limit web: memory 1 GiB, CPU shares 2048")
    make_live(release)
    assert sizes(app) == {"web": (1024, 2048), "worker": (512, 1024)}


def test_unlimited_is_a_choice_and_default_takes_it_back(app):
    make_live(set_limits(app, {"worker": {"memory_bytes": 0}}, by=app.owner))
    assert sizes(app)["worker"] == (0, 1024)
    release = set_limits(app, {"worker": {"memory_bytes": None}}, by=app.owner)
    assert release.limits == {}
    make_live(release)
    assert sizes(app)["worker"] == (512, 1024)


def test_limits_go_back_with_a_rollback_and_stay_through_a_deploy(app):
    first = app.current_release
    make_live(set_limits(app, {"web": {"memory_bytes": 64 * MIB}}, by=app.owner))
    make_release(app, process_types=TYPES)
    assert sizes(app)["web"][0] == 64
    make_live(roll_back(app, first, by=app.owner))
    assert sizes(app)["web"][0] == 512


def test_saying_what_is_so_already_makes_no_release(app):
    make_live(set_limits(app, {"web": {"cpu_shares": 512}}, by=app.owner))
    before = app.releases.count()
    assert set_limits(app, {"web": {"cpu_shares": 512}}, by=app.owner) is None
    assert app.releases.count() == before


@pytest.mark.parametrize(
    ("process", "change", "error"),
    [
        ("cron", {"memory_bytes": 64 * MIB}, "unknown_process_type"),
        ("web", {"memory_bytes": MIB}, "invalid_limit"),
        ("web", {"memory_bytes": -1}, "invalid_limit"),
        ("web", {"memory_bytes": 9 * 1024 * MIB}, "more_than_the_machine"),
        ("web", {"cpu_shares": 0}, "invalid_limit"),
        ("web", {"cpu_shares": 10**9}, "invalid_limit"),
    ],
)
def test_a_senseless_limit_is_refused_with_what_to_do(app, process, change, error):
    with pytest.raises(InvalidInput) as refused:
        set_limits(app, {process: change}, by=app.owner)
    assert refused.value.id == error
    assert refused.value.hint
    assert app.releases.count() == 1


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 * MIB),
        ("512", 512 * MIB),
        ("1.5 GiB", 1536 * MIB),
        ("64mb", 64 * MIB),
        ("unlimited", 0),
        ("1T", 1 << 40),
    ],
)
def test_memory_is_read_as_people_write_it(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "a lot", "1e9", "5 apples", "٣M", "9" * 30, "1..5G", "512 M B"])
def test_what_is_no_amount_of_memory_is_refused(text):
    with pytest.raises(InvalidInput):
        parse_memory(text)


def test_memory_is_written_as_people_read_it():
    assert [memory_text(size) for size in (0, 512 * MIB, 1536 * MIB, 100)] == [
        "unlimited",
        "512 MiB",
        "1.5 GiB",
        "100 bytes",
    ]


# Health


def test_a_health_check_is_set_and_taken_back(app):
    release = set_health(app, "web", {"kind": "http", "path": "/up", "timeout_seconds": "2"}, by=app.owner)
    assert release is not None
    assert (release.kind, release.description) == ("health", "Health of web: HTTP /up within 60 s")
    make_live(release)
    spec = next(each for each in app_spec(app, release).processes if each.process == "web")
    assert (spec.health.kind, spec.health.path, spec.health.timeout_seconds, spec.health.port) == ("http", "/up", 2, 8080)
    assert effective_health(release, "web").source == "people"
    back = set_health(app, "web", None, by=app.owner)
    assert back is not None
    assert back.health_overrides == {}
    assert effective_health(back, "web").source == "default"


def test_what_a_kind_does_not_use_is_not_kept(app):
    given = {"kind": "uptime", "path": "/up", "port": "99", "uptime_seconds": "5", "timeout_seconds": "3"}
    release = set_health(app, "worker", given, by=app.owner)
    assert release.health_overrides["worker"] == {"kind": "uptime", "uptime_seconds": 5.0, "start_seconds": 60.0}


@pytest.mark.parametrize(
    ("process", "check"),
    [
        ("web", {}),
        ("web", {"kind": "ping"}),
        ("web", {"kind": "image"}),
        ("web", {"kind": "http", "path": "up"}),
        ("web", {"kind": "http", "path": "/a b"}),
        ("web", {"kind": "http", "path": "/a\r\nHost: x"}),
        ("web", {"kind": "http", "path": "/" + "x" * 400}),
        ("web", {"kind": "tcp", "port": "70000"}),
        ("web", {"kind": "tcp", "port": "http"}),
        ("web", {"kind": "tcp", "timeout_seconds": "nan"}),
        ("web", {"kind": "tcp", "timeout_seconds": "-1"}),
        ("web", {"kind": "tcp", "start_seconds": "1e9"}),
        ("web", {"kind": "http", "timeout_seconds": "30", "start_seconds": "10"}),
        ("worker", {"kind": "tcp"}),
        ("worker", {"kind": "uptime", "uptime_seconds": "120", "start_seconds": "60"}),
        ("cron", {"kind": "uptime"}),
    ],
)
def test_a_health_check_that_could_tell_nothing_is_refused(app, process, check):
    with pytest.raises(InvalidInput) as refused:
        set_health(app, process, check, by=app.owner)
    assert refused.value.hint
    assert app.releases.count() == 1


# Restart


def test_restarts_are_counted_on_from_the_highest(app):
    scale(app, {"web": 2}, by=app.owner)
    restart(app, by=app.owner, target="web.2")
    restart(app, by=app.owner, target="web")
    restart(app, by=app.owner)
    app.refresh_from_db()
    assert (app.restart_epoch, Restart.objects.count()) == (3, 0)
    restart(app, by=app.owner, target="worker")
    spec = app_spec(app, app.current_release)
    assert (spec.epoch_of("worker", 1), spec.epoch_of("web", 1)) == (4, 3)


@pytest.mark.parametrize("target", ["cron", "web.3", "web.0", "web.", ".1", "web.1.1", "worker.2"])
def test_what_the_app_does_not_have_is_not_restarted(app, target):
    scale(app, {"web": 2}, by=app.owner)
    with pytest.raises(InvalidInput) as refused:
        restart(app, by=app.owner, target=target)
    assert refused.value.hint


# Stop and start


def test_a_stopped_app_wants_nothing_to_run_until_it_is_started(app):
    assert stop_app(app, by=app.owner)
    assert not stop_app(app, by=app.owner)
    app.refresh_from_db()
    spec = app_spec(app, app.current_release)
    assert (spec.stopped, spec.processes) == (True, ())
    make_release(app, process_types=TYPES)
    assert app_spec(app, app.current_release).processes == ()
    assert start_app(app, by=app.owner)
    assert not start_app(app, by=app.owner)
    app.refresh_from_db()
    assert [each.process for each in app_spec(app, app.current_release).processes] == ["web", "worker"]
    assert [each.action for each in AuditEvent.objects.filter(action__in=["app.stop", "app.start"])] == [
        "app.start",
        "app.stop",
    ]


def test_a_stopped_app_is_not_restarted(app):
    stop_app(app, by=app.owner)
    with pytest.raises(Conflict) as refused:
        restart_app(app, by=app.owner)
    assert (refused.value.id, "ps:start" in refused.value.hint) == ("app_stopped", True)


# The maintenance page


def test_a_page_of_its_own_is_kept_and_taken_back(app):
    assert set_maintenance_page(app, " <h1>Soon</h1>\n", by=app.owner)
    assert not set_maintenance_page(app, "<h1>Soon</h1>", by=app.owner)
    assert maintenance_page(app) == "<h1>Soon</h1>"
    assert app_spec(app, app.current_release).maintenance_page == ""  # nobody is to see it yet
    assert set_maintenance_page(app, "", by=app.owner)
    assert not MaintenancePage.objects.exists()


@pytest.mark.parametrize(
    "html", ["no markup", "<p>\0", "<p>" + "x" * MAX_PAGE_BYTES, "<p>" + "漢" * (MAX_PAGE_BYTES // 2)]
)
def test_a_page_that_is_none_or_too_large_is_refused(app, html):
    with pytest.raises(InvalidInput) as refused:
        set_maintenance_page(app, html, by=app.owner)
    assert refused.value.hint
    assert not MaintenancePage.objects.exists()
