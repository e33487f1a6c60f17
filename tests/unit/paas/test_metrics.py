"""From counters to samples, from samples to coarser ones, from those to lines of a chart."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from paas.core import redis
from paas.metrics.latency import BOUNDS_MS, quantile
from paas.metrics.models import InstanceSample, MachineSample, Series, TrafficSample
from paas.metrics.sampling import QUEUE, ROUND_SECONDS, Sampler, Watched
from paas.metrics.selectors import WINDOWS, app_metrics, machine_metrics, recent_requests
from paas.metrics.services import STEPS, record, record_waiting
from paas.releases.models import Release
from runtime.router.api import Route
from runtime.router.memory import MemoryRouter
from runtime.usage.cgroups import Usage
from runtime.usage.machine import MachineUsage
from tests.factories import make_app, make_release

NOON = 1_764_072_000  # 2025-11-25 12:00 UTC
MIB = 1024 * 1024


class World:
    """What a sampler looks at, with a clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.used: dict[str, Usage] = {}
        self.router = MemoryRouter()
        self.router.put(Route(app="shop", hosts=("shop.example",)))
        self.router_answers = True
        self.busy = 0.0
        self.sampler = Sampler(
            usage=self.used.get,
            traffic=lambda: self.router.traffic() if self.router_answers else None,
            machine=lambda: MachineUsage(2, self.busy, 0.5, 4000, 8000, 10, 100),
            clock=lambda: self.now,
        )

    def sample(self, *containers: Watched, after: float = ROUND_SECONDS):
        self.now += after
        return self.sampler.sample(NOON + int(self.now), containers)


@pytest.fixture
def world() -> World:
    return World()


WEB = Watched("c1", "app-1", "web.1")


def test_counters_become_rates_from_the_second_round_on(world):
    world.used["c1"] = Usage(10.0, 50 * MIB, 1000, 500)
    assert world.sample(WEB)["instances"] == [["app-1", "web.1", 0, 50 * MIB, 0, 0]]
    world.used["c1"] = Usage(13.0, 60 * MIB, 1000 + 15 * 200, 500 + 15 * 100)
    assert world.sample(WEB)["instances"] == [["app-1", "web.1", 200, 60 * MIB, 200, 100]]


def test_a_container_that_takes_the_place_of_another_starts_counting_anew(world):
    world.used["c1"] = Usage(1000.0, 50 * MIB, 10**9, 10**9)
    world.sample(WEB)
    del world.used["c1"]
    world.used["c2"] = Usage(0.5, 30 * MIB, 100, 100)
    assert world.sample(Watched("c2", "app-1", "web.1"))["instances"] == [["app-1", "web.1", 0, 30 * MIB, 0, 0]]


def test_a_counter_that_goes_back_counts_as_nothing_and_never_as_less(world):
    world.used["c1"] = Usage(100.0, MIB, 10**6, 10**6)
    world.sample(WEB)
    world.used["c1"] = Usage(1.0, MIB, 10, 10)
    assert world.sample(WEB)["instances"] == [["app-1", "web.1", 0, MIB, 0, 0]]


def test_while_one_instance_replaces_another_their_work_is_added_and_the_larger_memory_counts(world):
    other = Watched("c2", "app-1", "web.1")
    world.used |= {"c1": Usage(0.0, 50 * MIB, 0, 0), "c2": Usage(0.0, 80 * MIB, 0, 0)}
    world.sample(WEB, other)
    world.used |= {"c1": Usage(1.5, 50 * MIB, 0, 0), "c2": Usage(3.0, 80 * MIB, 0, 0)}
    assert world.sample(WEB, other)["instances"] == [["app-1", "web.1", 300, 80 * MIB, 0, 0]]


def test_requests_are_those_since_the_round_before(world):
    world.router.visit("shop")
    assert world.sample()["traffic"] == {}  # when they came nobody knows
    for status in (200, 200, 404, 503):
        world.router.visit("shop", status=status, milliseconds=30, sent_bytes=100)
    classes, buckets, sent = world.sample()["traffic"]["shop"]
    assert classes == [0, 2, 0, 1, 1]
    assert (sum(buckets), buckets[BOUNDS_MS.index(50)], sent) == (4, 4, 400)
    assert world.sample()["traffic"] == {}


def test_a_router_that_started_anew_counts_from_nothing(world):
    for _ in range(5):
        world.router.visit("shop")
    world.sample()
    world.router.remove("shop")
    world.router.put(Route(app="shop", hosts=("shop.example",)))
    world.router.visit("shop")
    assert world.sample()["traffic"]["shop"][0] == [0, 1, 0, 0, 0]


def test_what_was_counted_while_nobody_could_look_is_no_rush_of_one_moment(world):
    world.sample()
    world.router_answers = False
    for _ in range(4):
        world.sample()
    world.router_answers = True
    for _ in range(100):
        world.router.visit("shop")
    assert world.sample()["traffic"] == {}
    world.router.visit("shop")
    assert world.sample()["traffic"]["shop"][0] == [0, 1, 0, 0, 0]


def test_the_machine_is_busy_in_thousandths_of_a_core(world):
    assert world.sample()["machine"][:3] == [None, 2, 50]
    world.busy += 7.5
    assert world.sample()["machine"][0] == 500


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ([0] * 13, 0.5, None),
        ([10] + [0] * 12, 0.5, 2.5),
        ([0, 0, 100] + [0] * 10, 0.99, 10 + 15 * 0.99),
        ([50, 0, 0, 0, 50] + [0] * 8, 0.95, 50 + 50 * 0.9),
        ([0] * 12 + [3], 0.5, 30_000),
    ],
)
def test_quantiles_are_read_from_the_histogram(buckets, share, expected):
    assert quantile(buckets, share) == (expected if expected is None else pytest.approx(expected))


# What is written down


def round_at(at: int, app=None, *, cpu: int = 100, memory: int = MIB, requests: int = 0, names=("web.1",)):
    return {
        "at": at,
        "machine": [500, 2, 50, 4000, 8000, 10, 100],
        "instances": [[str(app.pk), name, cpu, memory, 10, 20] for name in names] if app else [],
        "traffic": {app.name: [[0, requests, 0, 0, 0], [requests] + [0] * 12, requests * 100]} if requests else {},
    }


@pytest.mark.django_db
class TestRows:
    def test_a_round_is_written_once_however_often_it_comes(self):
        app = make_app()
        for _ in range(2):
            record(round_at(NOON, app, requests=3))
        assert InstanceSample.objects.count() == TrafficSample.objects.count() == MachineSample.objects.count() == 1

    def test_what_belongs_to_an_app_that_is_gone_is_left_out(self):
        app = make_app()
        gone = round_at(NOON, app, requests=3)
        app.delete()
        record(gone)
        assert (Series.objects.count(), MachineSample.objects.count()) == (0, 1)

    def test_a_full_minute_becomes_one_sample_of_means_peaks_and_sums(self):
        app = make_app()
        for n, cpu in enumerate((100, 200, 300, 400)):
            record(round_at(NOON + n * 15, app, cpu=cpu, memory=(n + 1) * MIB, requests=n))
        assert not InstanceSample.objects.filter(step=60).exists()
        record(round_at(NOON + 60, app))
        sample = InstanceSample.objects.get(step=60)
        assert (sample.at, sample.cpu_millicores) == (NOON, 250)
        assert (sample.memory_bytes, sample.memory_peak_bytes) == (round(2.5 * MIB), 4 * MIB)
        traffic = TrafficSample.objects.get(step=60)
        assert (traffic.requests[1], traffic.buckets[0], traffic.sent_bytes) == (6, 6, 600)

    def test_rounds_that_got_lost_leave_a_mean_of_those_that_came(self):
        app = make_app()
        record(round_at(NOON, app, cpu=100))
        record(round_at(NOON + 45, app, cpu=300))
        record(round_at(NOON + 600, app))
        assert list(InstanceSample.objects.filter(step=60).values_list("at", "cpu_millicores")) == [(NOON, 200)]

    def test_rows_are_bounded(self):
        app = make_app()
        finest, minute, quarter = STEPS
        for at in range(NOON, NOON + 4 * 3600, 300):
            record(round_at(at, app, requests=1))
        oldest = NOON + 4 * 3600 - 300 - finest.kept_seconds
        assert InstanceSample.objects.filter(step=15).order_by("at").first().at >= oldest
        assert InstanceSample.objects.filter(step=60).count() == 47
        assert InstanceSample.objects.filter(step=900).count() == 15
        record(round_at(NOON + minute.kept_seconds + 86400, app))
        record(round_at(NOON + minute.kept_seconds + 86400 + 60, app))
        assert InstanceSample.objects.filter(step=60).count() == 1
        assert TrafficSample.objects.filter(step=900).count() == 16
        later = NOON + quarter.kept_seconds + 10 * 86400
        for at in (later, later + 60, later + 900):
            record(round_at(at))
        assert InstanceSample.objects.count() == TrafficSample.objects.count() == 0
        assert Series.objects.count() == 0

    def test_the_worker_takes_what_waits_oldest_first(self):
        for at in (NOON, NOON + 15):
            redis.client().lpush(QUEUE, json.dumps(round_at(at)))
        assert record_waiting() == 2
        assert list(MachineSample.objects.values_list("at", flat=True).order_by("pk")) == [NOON, NOON + 15]
        assert record_waiting() == 0


# What is shown


@pytest.mark.django_db
class TestSeries:
    def test_a_line_has_a_value_for_each_moment_and_none_where_nobody_looked(self):
        app = make_app()
        record(round_at(NOON - 60, app, cpu=500, requests=30))
        record(round_at(NOON - 30, app, cpu=1500))
        seen = app_metrics(app, WINDOWS["1h"], now=NOON)
        assert len(seen.times) == 240
        assert (seen.times[0], seen.times[-1]) == (NOON - 3600, NOON - 15)
        assert list(seen.cpu) == ["web.1"]
        assert seen.cpu["web.1"][-4:] == [0.5, None, 1.5, None]
        assert seen.requests["2xx"][-4:] == [2.0, None, 0.0, None]
        assert seen.answered[-4:] == [200.0, None, 0.0, None]
        assert seen.latency["p50"][-4:] == [2.5, None, None, None]
        assert seen.received[-4:] == [10, None, 10, None]
        assert seen.total["2xx"] == 30

    def test_a_long_window_shows_means_of_cpu_and_peaks_of_memory(self):
        app = make_app()
        for n in range(9):
            record(round_at(NOON - 480 + n * 60, app, cpu=n * 100, memory=(n + 1) * MIB))
        seen = app_metrics(app, WINDOWS["24h"], now=NOON)
        assert len(seen.times) == 288
        # 11:52 to 11:54, then 11:55 to 11:59
        assert seen.cpu["web.1"][-2:] == pytest.approx([0.1, 0.5])
        assert seen.memory["web.1"][-2:] == [3 * MIB, 8 * MIB]

    @pytest.mark.parametrize("window", WINDOWS.values(), ids=str)
    def test_no_chart_has_too_many_points_and_all_ask_the_same_few_questions(self, window, django_assert_num_queries):
        app = make_app()
        record(round_at(NOON - 900, app, requests=1, names=[f"web.{n}" for n in range(1, 11)]))
        with django_assert_num_queries(4):
            seen = app_metrics(app, window, now=NOON)
        assert len(seen.times) <= 400
        assert window.spacing % window.step == 0

    def test_instances_stand_in_the_order_people_count(self):
        app = make_app()
        record(round_at(NOON - 15, app, names=["web.10", "web.2", "worker.1"]))
        assert list(app_metrics(app, WINDOWS["1h"], now=NOON).cpu) == ["web.2", "web.10", "worker.1"]

    def test_releases_that_went_live_are_marked(self):
        app = make_app()
        for hours in (3, 0.5):
            live = datetime.fromtimestamp(NOON, UTC) - timedelta(hours=hours)
            Release.objects.filter(pk=make_release(app).pk).update(finished_at=live)
        markers = app_metrics(app, WINDOWS["1h"], now=NOON).markers
        assert [(marker.at, marker.text) for marker in markers] == [(NOON - 1800, "v2: Deploy")]

    def test_of_another_apps_samples_nothing_is_seen(self):
        mine, other = make_app(), make_app("other")
        record(round_at(NOON - 15, other, requests=9))
        seen = app_metrics(mine, WINDOWS["1h"], now=NOON)
        assert (dict(seen.cpu), sum(seen.total.values())) == ({}, 0)

    def test_the_machine_has_lines_too(self):
        record(round_at(NOON - 15))
        seen = machine_metrics(WINDOWS["1h"], now=NOON)
        assert (seen.cpu[-1], seen.load[-1], seen.memory[-1], seen.cpu[-2]) == (0.5, 0.5, 4000, None)
        assert (seen.cores, seen.memory_total) == (2, 8000)

    def test_the_last_hour_is_told_in_twelve_steps_and_two_queries(self, django_assert_num_queries):
        app = make_app()
        for n in range(5):
            record(round_at(NOON - 300 + n * 60, app, requests=60))
        record(round_at(NOON, app))
        with django_assert_num_queries(2):
            found = recent_requests(app, now=NOON)
        assert (len(found.values), found.total) == (12, 300)
        assert list(found.values[-2:]) == [None, 1.0]
