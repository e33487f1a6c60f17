"""Series for charts: evenly spaced, with None where nobody looked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Avg, F, Max, QuerySet

from paas.apps.models import App
from paas.metrics.latency import BOUNDS_MS, add, quantile
from paas.metrics.models import InstanceSample, MachineSample, TrafficSample
from paas.metrics.sampling import CLASSES, ROUND_SECONDS
from paas.releases.models import Release, ReleaseStatus

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time that ends now: which samples it is made of, and how far apart its points are."""

    name: str
    words: str
    seconds: int
    step: int  # of the samples
    spacing: int  # of the points: a multiple of the step, so that no chart has more than some 350


WINDOWS: Mapping[str, Window] = {
    each.name: each
    for each in (
        Window("1h", "last hour", 3600, ROUND_SECONDS, ROUND_SECONDS),
        Window("24h", "last 24 hours", 86_400, 60, 300),
        Window("7d", "last 7 days", 7 * 86_400, 900, 1800),
        Window("60d", "last 60 days", 60 * 86_400, 900, 4 * 3600),
    )
}
FIELDS = {"cpu": 0.001, "memory": 1, "received": 1, "sent": 1}  # and what makes our units of theirs
MAX_MARKERS = 100
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that happened: a release went live."""

    at: int
    text: str

    @property
    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)


@dataclass(frozen=True, slots=True)
class AppMetrics:
    """All have one value for each of `times` (Unix times). CPU in cores, memory in bytes, traffic in numbers a second,
    latency in ms."""

    window: Window
    times: Sequence[int]
    cpu: Mapping[str, Values]  # by instance
    memory: Mapping[str, Values]
    received: Values
    sent: Values
    requests: Mapping[str, Values]  # by class
    answered: Values  # bytes a second to visitors
    latency: Mapping[str, Values]  # by quantile
    total: Mapping[str, int]  # requests in the whole window, by class
    overall: Mapping[str, float | None]  # quantiles over the whole window
    markers: Sequence[Marker]


@dataclass(frozen=True, slots=True)
class MachineMetrics:
    window: Window
    times: Sequence[int]
    cores: int
    cpu: Values  # in cores
    load: Values
    memory: Values  # in bytes
    memory_total: int
    disk: Values
    disk_total: int


def app_metrics(app: App, window: Window, *, now: float | None = None) -> AppMetrics:
    times = _times(window, now)
    looked = _looked(window, times)
    slots = {at: index for index, at in enumerate(times)}
    usage: dict[str, dict[str, list[float | None]]] = {}  # field -> instance -> values
    for sample in _instance_samples(app, window, times):
        for field, scale in FIELDS.items():
            line = usage.setdefault(field, {}).setdefault(sample["series__name"], [None] * len(times))
            line[slots[sample["slot"]]] = sample[field] * scale
    names = sorted(usage.get("cpu", {}), key=_natural)

    def lines(field: str) -> Mapping[str, Values]:
        return {name: usage[field][name] for name in names}

    def added(field: str) -> Values:
        columns = zip(*lines(field).values(), strict=True) if names else ((None,) for _ in times)
        found = ([value for value in column if value is not None] for column in columns)
        return [sum(values) if values else None for values in found]

    traffic = _traffic(app, window, times)
    whole = _Traffic()
    for each in traffic.values():
        whole.add(each.requests, each.buckets, each.sent_bytes)
    nothing = _Traffic()

    def rate(number: Callable[[_Traffic], int]) -> Values:
        return [number(traffic.get(at, nothing)) / window.spacing if at in looked else None for at in times]

    return AppMetrics(
        window=window,
        times=times,
        cpu=lines("cpu"),
        memory=lines("memory"),
        received=added("received"),
        sent=added("sent"),
        requests={name: rate(lambda each, n=n: each.requests[n]) for n, name in enumerate(CLASSES)},  # type: ignore[misc]
        answered=rate(lambda each: each.sent_bytes),
        latency={
            name: [quantile(traffic[at].buckets, share) if at in traffic else None for at in times]
            for name, share in QUANTILES.items()
        },
        total=dict(zip(CLASSES, whole.requests, strict=True)),
        overall={name: quantile(whole.buckets, share) for name, share in QUANTILES.items()},
        markers=_markers(app, times),
    )


def machine_metrics(window: Window, *, now: float | None = None) -> MachineMetrics:
    times = _times(window, now)
    means = {
        each["slot"]: each
        for each in _spaced(MachineSample.objects.all(), window, times)
        .values("slot")
        .annotate(
            cpu=Avg("cpu_millicores"),
            load=Avg("load_hundredths"),
            memory=Avg("memory_used_bytes"),
            disk=Avg("disk_used_bytes"),
        )
        .order_by()
    }
    last = MachineSample.objects.order_by("-at").first()

    def values(field: str, scale: float = 1) -> Values:
        found = (means[at][field] if at in means else None for at in times)
        return [None if value is None else value * scale for value in found]

    return MachineMetrics(
        window=window,
        times=times,
        cores=last.cores if last else 0,
        cpu=values("cpu", 0.001),
        load=values("load", 0.01),
        memory=values("memory"),
        memory_total=last.memory_total_bytes if last else 0,
        disk=values("disk"),
        disk_total=last.disk_total_bytes if last else 0,
    )


@dataclass(frozen=True, slots=True)
class Latest:
    """What an instance used in the last round of samples."""

    cpu: float  # cores
    memory_bytes: int


def latest_usage(app: App, *, now: float | None = None) -> Mapping[str, Latest]:
    """By instance; without those that nobody has looked at in the last minute."""
    begin = int(time.time() if now is None else now) - 60 - ROUND_SECONDS
    samples = InstanceSample.objects.filter(series__app=app, step=ROUND_SECONDS, at__gte=begin).order_by("at")
    values = samples.values_list("series__name", "cpu_millicores", "memory_bytes")
    return {name: Latest(cpu / 1000, memory) for name, cpu, memory in values}


@dataclass(frozen=True, slots=True)
class Recent:
    """Requests of the last hour, for a small chart: how many in all, and how many a second in each step."""

    total: int
    values: Values


def recent_requests(app: App, *, now: float | None = None) -> Recent:
    window = Window("hour", "last hour", 3600, 60, 300)
    times = _times(window, now)
    looked = _looked(window, times)
    traffic = _traffic(app, window, times)
    counts = [sum(traffic[at].requests) if at in traffic else 0 for at in times]
    values = [count / window.spacing if at in looked else None for at, count in zip(times, counts, strict=True)]
    return Recent(sum(counts), values)


def _times(window: Window, now: float | None) -> Sequence[int]:
    """Beginnings of the steps up to the last one that is over."""
    end = int(time.time() if now is None else now) // window.spacing * window.spacing
    return range(end - window.seconds, end, window.spacing)


def _spaced(samples: QuerySet[Any], window: Window, times: Sequence[int]) -> QuerySet[Any]:
    """Those inside the window, each with the point it belongs to as its `slot`."""
    inside = samples.filter(step=window.step, at__gte=times[0], at__lt=times[-1] + window.spacing)
    spaced: QuerySet[Any] = inside.annotate(slot=F("at") - F("at") % window.spacing)
    return spaced


def _looked(window: Window, times: Sequence[int]) -> frozenset[int]:
    samples = _spaced(MachineSample.objects.all(), window, times)
    return frozenset(samples.values_list("slot", flat=True).order_by().distinct())


def _instance_samples(app: App, window: Window, times: Sequence[int]) -> Sequence[Mapping[str, Any]]:
    samples = _spaced(InstanceSample.objects.filter(series__app=app), window, times)
    return list(
        samples.values("series__name", "slot")
        .annotate(
            cpu=Avg("cpu_millicores"),
            memory=Max("memory_peak_bytes"),
            received=Avg("received_rate"),
            sent=Avg("sent_rate"),
        )
        .order_by()
    )


@dataclass(slots=True)
class _Traffic:
    """What was asked in one slot, or in all of them."""

    requests: Sequence[int] = (0,) * len(CLASSES)
    buckets: Sequence[int] = (0,) * (len(BOUNDS_MS) + 1)
    sent_bytes: int = 0

    def add(self, requests: Sequence[int], buckets: Sequence[int], sent_bytes: int) -> None:
        self.requests = add(self.requests, requests)
        self.buckets = add(self.buckets, buckets)
        self.sent_bytes += sent_bytes


def _traffic(app: App, window: Window, times: Sequence[int]) -> Mapping[int, _Traffic]:
    found: dict[int, _Traffic] = {}
    samples = _spaced(TrafficSample.objects.filter(series__app=app), window, times)
    for slot, *numbers in samples.values_list("slot", "requests", "buckets", "sent_bytes"):
        found.setdefault(slot, _Traffic()).add(*numbers)
    return found


def _natural(name: str) -> tuple[str, int]:
    """web.2 before web.10."""
    process, _, index = name.rpartition(".")
    return process, int(index) if index.isdigit() else 0


def _markers(app: App, times: Sequence[int]) -> Sequence[Marker]:
    begin = datetime.fromtimestamp(times[0], UTC)
    releases = Release.objects.filter(app=app, status=ReleaseStatus.SUCCEEDED, finished_at__gte=begin)
    newest = releases.order_by("-version").values_list("version", "description", "finished_at")[:MAX_MARKERS]
    return [
        Marker(int(at.timestamp()), f"v{version}: {description}") for version, description, at in reversed(newest) if at
    ]
