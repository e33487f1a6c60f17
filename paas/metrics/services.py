"""Write samples down, and make coarser ones of them as they age."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Avg, Exists, Manager, Max, OuterRef
from redis import RedisError

from paas.apps.models import App
from paas.core import redis
from paas.metrics.latency import BOUNDS_MS, add
from paas.metrics.models import InstanceSample, MachineSample, Series, TrafficSample
from paas.metrics.sampling import CLASSES, KEEP_ROUNDS, QUEUE, ROUND_SECONDS

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Step:
    """One resolution and how long it is kept."""

    seconds: int
    kept_seconds: int


STEPS = (Step(ROUND_SECONDS, 3 * 3600), Step(60, 2 * 86400), Step(900, 60 * 86400))


def record_waiting() -> int:
    """Take what the agent has left for us. How many rounds; one at a time, so that none is rolled up half-written."""
    rounds = 0
    with redis.lease("metrics") as held:
        while held is not None and rounds < KEEP_ROUNDS:
            try:
                text = redis.client().rpop(QUEUE)
            except RedisError:
                break
            if not isinstance(text, str):
                break
            record(json.loads(text))
            rounds += 1
    return rounds


def record(sample: Mapping[str, Any]) -> None:
    """One round, as `paas.metrics.sampling` makes it. The same one again changes nothing."""
    at = int(sample["at"])
    instances, traffic = sample["instances"], sample["traffic"]
    with transaction.atomic():
        apps = {str(pk): name for pk, name in App.objects.values_list("pk", "slug")}
        ids = {name: pk for pk, name in apps.items()}
        keys = {(pk, name) for pk, name, *_ in instances if pk in apps}
        keys |= {(ids[name], "") for name in traffic if name in ids}
        series = _series(keys)
        finest = STEPS[0].seconds
        InstanceSample.objects.bulk_create(
            [
                InstanceSample(
                    series_id=series[pk, name],
                    step=finest,
                    at=at,
                    cpu_millicores=cpu,
                    memory_bytes=memory,
                    memory_peak_bytes=memory,
                    received_rate=received,
                    sent_rate=sent,
                )
                for pk, name, cpu, memory, received, sent in instances
                if pk in apps
            ],
            ignore_conflicts=True,
        )
        TrafficSample.objects.bulk_create(
            [
                TrafficSample(
                    series_id=series[ids[name], ""],
                    step=finest,
                    at=at,
                    requests=classes,
                    buckets=buckets,
                    sent_bytes=sent,
                )
                for name, (classes, buckets, sent) in traffic.items()
                if name in ids and len(classes) == len(CLASSES) and len(buckets) == len(BOUNDS_MS) + 1
            ],
            ignore_conflicts=True,
        )
        cpu, cores, load, *sizes = sample["machine"]
        used, total, disk_used, disk_total = sizes
        MachineSample.objects.bulk_create(
            [
                MachineSample(
                    step=finest,
                    at=at,
                    cpu_millicores=cpu,
                    cores=cores,
                    load_hundredths=load,
                    memory_used_bytes=used,
                    memory_total_bytes=total,
                    disk_used_bytes=disk_used,
                    disk_total_bytes=disk_total,
                )
            ],
            ignore_conflicts=True,
        )
    roll_up(at)


def _series(keys: set[tuple[str, str]]) -> Mapping[tuple[str, str], int]:
    found = _known_series()
    missing = keys - found.keys()
    if missing:
        Series.objects.bulk_create(
            [Series(app_id=UUID(pk), name=name) for pk, name in sorted(missing)], ignore_conflicts=True
        )
        found = _known_series()
    return found


def _known_series() -> dict[tuple[str, str], int]:
    return {(str(app), name): pk for app, name, pk in Series.objects.values_list("app_id", "name", "pk")}


def roll_up(now: int) -> None:
    """Make the coarser samples of every step that is complete, and forget what is too old. Idempotent."""
    rolled = set()
    for fine, coarse in pairwise(STEPS):
        for at in _complete(fine, coarse, now):
            with transaction.atomic():
                _roll_up_instances(fine, coarse, at)
                _roll_up_traffic(fine, coarse, at)
                _roll_up_machine(fine, coarse, at)
            rolled.add(coarse)
    if rolled:  # after all of them: what is too old for one step may not have become part of the next yet
        forget(now)
    if STEPS[-1] in rolled:
        forget_empty_series()


def _complete(fine: Step, coarse: Step, now: int) -> Iterable[int]:
    """Beginnings of steps that are over and have fine samples, but no coarse one yet."""
    last = MachineSample.objects.filter(step=coarse.seconds).aggregate(last=Max("at"))["last"]
    begin = 0 if last is None else last + coarse.seconds
    end = now - now % coarse.seconds
    samples = MachineSample.objects.filter(step=fine.seconds, at__gte=begin, at__lt=end)
    return sorted({at - at % coarse.seconds for at in samples.values_list("at", flat=True)})


def _within(fine: Step, coarse: Step, at: int) -> Mapping[str, int]:
    return {"step": fine.seconds, "at__gte": at, "at__lt": at + coarse.seconds}


def _roll_up_instances(fine: Step, coarse: Step, at: int) -> None:
    means = (
        InstanceSample.objects.filter(**_within(fine, coarse, at))
        .values("series_id")
        .annotate(
            cpu=Avg("cpu_millicores"),
            memory=Avg("memory_bytes"),
            peak=Max("memory_peak_bytes"),
            received=Avg("received_rate"),
            sent=Avg("sent_rate"),
        )
        .order_by()
    )
    InstanceSample.objects.bulk_create(
        [
            InstanceSample(
                series_id=each["series_id"],
                step=coarse.seconds,
                at=at,
                cpu_millicores=round(each["cpu"]),
                memory_bytes=round(each["memory"]),
                memory_peak_bytes=each["peak"],
                received_rate=round(each["received"]),
                sent_rate=round(each["sent"]),
            )
            for each in means
        ],
        ignore_conflicts=True,
    )


def _roll_up_traffic(fine: Step, coarse: Step, at: int) -> None:
    sums: dict[int, TrafficSample] = {}
    for each in TrafficSample.objects.filter(**_within(fine, coarse, at)):
        into = sums.get(each.series_id)
        if into is None:
            sums[each.series_id] = TrafficSample(
                series_id=each.series_id,
                step=coarse.seconds,
                at=at,
                requests=each.requests,
                buckets=each.buckets,
                sent_bytes=each.sent_bytes,
            )
        else:
            into.requests = add(into.requests, each.requests)
            into.buckets = add(into.buckets, each.buckets)
            into.sent_bytes += each.sent_bytes
    TrafficSample.objects.bulk_create(sums.values(), ignore_conflicts=True)


def _roll_up_machine(fine: Step, coarse: Step, at: int) -> None:
    samples = list(MachineSample.objects.filter(**_within(fine, coarse, at)))
    busy = [each.cpu_millicores for each in samples if each.cpu_millicores is not None]

    def mean(of: Callable[[MachineSample], int]) -> int:
        return round(sum(map(of, samples)) / len(samples))

    MachineSample.objects.bulk_create(
        [
            MachineSample(
                step=coarse.seconds,
                at=at,
                cpu_millicores=round(sum(busy) / len(busy)) if busy else None,
                cores=samples[-1].cores,
                load_hundredths=mean(lambda each: each.load_hundredths),
                memory_used_bytes=mean(lambda each: each.memory_used_bytes),
                memory_total_bytes=samples[-1].memory_total_bytes,
                disk_used_bytes=mean(lambda each: each.disk_used_bytes),
                disk_total_bytes=samples[-1].disk_total_bytes,
            )
        ],
        ignore_conflicts=True,
    )


def forget(now: int) -> None:
    """What is older than its step is kept."""
    samples: tuple[Manager[Any], ...] = (InstanceSample.objects, TrafficSample.objects, MachineSample.objects)
    for step in STEPS:
        for each in samples:
            each.filter(step=step.seconds, at__lt=now - step.kept_seconds).delete()


def forget_empty_series() -> None:
    """Of process types and instances that are gone for so long that nothing is left of them."""
    Series.objects.filter(
        ~Exists(InstanceSample.objects.filter(series=OuterRef("pk"))),
        ~Exists(TrafficSample.objects.filter(series=OuterRef("pk"))),
    ).delete()
