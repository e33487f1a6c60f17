"""One round of samples: what every instance, the router and the machine did since the round before.

Runs in the agent, so nothing of Django is loaded here. Counters become differences at once: a round that gets lost on its
way leaves a gap and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.router.api import AppTraffic
from runtime.usage.cgroups import Usage
from runtime.usage.machine import MachineUsage

ROUND_SECONDS = 15
QUEUE = "paas:samples"  # rounds on their way to the worker, in Redis
LONGEST_ROUND_SECONDS = 2.5 * ROUND_SECONDS
KEEP_ROUNDS = 20  # of a worker that is away for longer, the older ones are lost
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")


@dataclass(frozen=True, slots=True)
class Watched:
    """A running container of ours. Two have the same name while one takes the other's place."""

    container_id: str
    app_id: str
    name: str  # "web.1"


@dataclass(slots=True)
class _Sum:
    cpu_millicores: float = 0.0
    memory_bytes: int = 0
    received: float = 0.0  # bytes a second
    sent: float = 0.0


@dataclass(slots=True)
class Sampler:
    """Remembers the counters of the round before."""

    usage: Callable[[str], Usage | None]
    traffic: Callable[[], Mapping[str, AppTraffic] | None]  # None: the router does not answer
    machine: Callable[[], MachineUsage]
    clock: Callable[[], float] = time.monotonic
    _before: dict[str, tuple[float, Usage]] = field(default_factory=dict)
    _traffic_before: tuple[float, Mapping[str, AppTraffic]] | None = None
    _machine_before: tuple[float, MachineUsage] | None = None

    def sample(self, at: int, containers: Iterable[Watched]) -> dict[str, Any]:
        """`at` is the Unix time the round is for. JSON as it goes to the worker; `paas.metrics.services` reads it."""
        return {
            "at": at,
            "machine": self._machine(),
            "instances": self._instances(containers),
            "traffic": self._requests(),
        }

    def _machine(self) -> list[float | None]:
        now, seen = self.clock(), self.machine()
        busy = None
        if self._machine_before:
            then, before = self._machine_before
            busy = _rate(seen.busy_seconds - before.busy_seconds, now - then)
        self._machine_before = now, seen
        return [
            None if busy is None else round(busy * 1000),
            seen.cores,
            round(seen.load * 100),
            seen.memory_used_bytes,
            seen.memory_total_bytes,
            seen.disk_used_bytes,
            seen.disk_total_bytes,
        ]

    def _instances(self, containers: Iterable[Watched]) -> list[list[Any]]:
        """One that is new in this round has no rates yet, only memory: its counters say nothing about these seconds."""
        sums: dict[tuple[str, str], _Sum] = {}
        seen: dict[str, tuple[float, Usage]] = {}
        for each in containers:
            usage = self.usage(each.container_id)
            if usage is None:
                continue
            now = self.clock()
            seen[each.container_id] = now, usage
            into = sums.setdefault((each.app_id, each.name), _Sum())
            into.memory_bytes = max(into.memory_bytes, usage.memory_bytes)  # each has the limit for itself
            if each.container_id in self._before:
                then, before = self._before[each.container_id]
                seconds = now - then
                into.cpu_millicores += 1000 * _rate(usage.cpu_seconds - before.cpu_seconds, seconds)
                into.received += _rate(usage.received_bytes - before.received_bytes, seconds)
                into.sent += _rate(usage.sent_bytes - before.sent_bytes, seconds)
        self._before = seen
        return [
            [app_id, name, round(each.cpu_millicores), each.memory_bytes, round(each.received), round(each.sent)]
            for (app_id, name), each in sums.items()
        ]

    def _requests(self) -> dict[str, list[Any]]:
        """Apps that were asked something: numbers by class, by latency bucket, and bytes sent."""
        traffic, now = self.traffic(), self.clock()
        if traffic is None:
            return {}
        before, self._traffic_before = self._traffic_before, (now, traffic)
        if before is None or now - before[0] > LONGEST_ROUND_SECONDS:
            return {}  # many minutes must not look like one moment's rush
        found = {}
        for app, seen in traffic.items():
            then = before[1].get(app)
            if then is not None and sum(_classes(then)) > sum(_classes(seen)):
                then = None  # the router, or the app, began anew
            classes = _less(_classes(seen), _classes(then) if then else None)
            if any(classes):
                buckets = _less(_buckets(seen), _buckets(then) if then else None)
                found[app] = [classes, buckets, max(0, seen.sent_bytes - (then.sent_bytes if then else 0))]
        return found


def _rate(difference: float, seconds: float) -> float:
    """A counter that went back began anew; what it lost in between nobody knows."""
    return max(0.0, difference) / seconds if seconds > 0 else 0.0


def _classes(traffic: AppTraffic) -> list[int]:
    return [traffic.requests.get(name, 0) for name in CLASSES]


def _buckets(traffic: AppTraffic) -> list[int]:
    """Each for itself, not cumulative."""
    cumulative = [number for _, number in sorted(traffic.latency_buckets.items())]
    return [number - before for number, before in zip(cumulative, [0, *cumulative], strict=False)]


def _less(now: Sequence[int], before: Sequence[int] | None) -> list[int]:
    return [max(0, new - old) for new, old in zip(now, before or [0] * len(now), strict=True)]
