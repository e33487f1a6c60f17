"""Series as people see them: lines of a chart, drawn by the server where there are no scripts, and told in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean
from typing import Any

from paas.formation.selectors import Process
from paas.formation.sizes import memory_text
from paas.metrics.selectors import AppMetrics, MachineMetrics, Values

WIDTH, HEIGHT = 600, 120  # of a server-drawn chart, in its own units


class Unit(StrEnum):
    CORES = "cores"
    BYTES = "bytes"
    RATE = "per second"
    MILLISECONDS = "ms"
    NUMBER = ""

    def text(self, value: float | None) -> str:
        if value is None:
            return "–"
        match self:
            case Unit.CORES:
                return f"{value:.3f} cores" if value < 0.1 else f"{value:.2f} cores"
            case Unit.BYTES:
                return _bytes(value)
            case Unit.RATE:
                return f"{value:,.2f}/s" if value < 10 else f"{value:,.0f}/s"
            case Unit.MILLISECONDS:
                return f"{value:,.0f} ms" if value < 10_000 else f"{value / 1000:,.1f} s"
            case Unit.NUMBER:
                return f"{value:,.2f}"


def _bytes(value: float) -> str:
    """Three digits are enough for what moves: `9.3 MiB`, `454 MiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.1f} {unit}" if value < 100 and unit != "bytes" else f"{value:,.0f} {unit}"
        value /= 1024
    raise AssertionError


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    values: Values

    def known(self) -> list[float]:
        return [value for value in self.values if value is not None]


@dataclass(frozen=True, slots=True)
class Row:
    """A line in figures."""

    name: str
    color: int  # of the series
    last: str
    mean: str
    peak: str
    path: str  # of an SVG


@dataclass(frozen=True, slots=True)
class Chart:
    key: str
    title: str
    unit: Unit
    lines: Sequence[Line]
    limit: float | None = None
    summary: str = ""
    has_data: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "has_data", any(line.known() for line in self.lines))

    @property
    def top(self) -> float:
        return max(
            [value for line in self.lines for value in line.known()] + ([self.limit] if self.limit else []), default=0
        )

    @property
    def top_text(self) -> str:
        return self.unit.text(self.top)

    @property
    def rows(self) -> list[Row]:
        rows = []
        for number, line in enumerate(self.lines):
            known = line.known()
            if known:
                last = next((value for value in reversed(line.values[-3:]) if value is not None), None)
                rows.append(
                    Row(
                        line.name,
                        number % 4 + 1,
                        self._figure(last),
                        self._figure(fmean(known)),
                        self._figure(max(known)),
                        path_of(line.values, self.top),
                    )
                )
        return rows

    def _figure(self, value: float | None) -> str:
        return self.unit.text(value).removesuffix(" cores")  # a table on a phone has no room to say it each time

    def data(self) -> dict[str, Any]:
        return {
            "unit": self.unit.value,
            "limit": self.limit,
            "lines": [{"name": line.name, "values": _rounded(line.values)} for line in self.lines],
        }


def path_of(values: Values, top: float, width: int = WIDTH, height: int = HEIGHT) -> str:
    """The `d` of an SVG path, interrupted where nobody looked."""
    parts, is_drawing = [], False
    step = width / max(1, len(values) - 1)
    for number, value in enumerate(values):
        if value is None:
            is_drawing = False
            continue
        y = height - 1 - (height - 2) * (value / top if top else 0)
        parts.append(f"{'L' if is_drawing else 'M'}{number * step:.1f} {y:.1f}" + ("" if is_drawing else "h.1"))
        is_drawing = True
    return "".join(parts)


def app_charts(metrics: AppMetrics, processes: Iterable[Process]) -> list[Chart]:
    limits = {each.process: each.memory_bytes for each in processes}
    shown = {limits.get(name.rpartition(".")[0], 0) for name in metrics.memory}
    limit = float(shown.pop()) if len(shown) == 1 else 0.0  # of several there is none to draw
    return [
        Chart("requests", "Requests", Unit.RATE, _lines(metrics.requests), summary=_requests(metrics)),
        Chart("latency", "Latency", Unit.MILLISECONDS, _lines(metrics.latency), summary=_latency(metrics)),
        Chart("cpu", "CPU", Unit.CORES, _lines(metrics.cpu), summary=_each(metrics.cpu, Unit.CORES)),
        Chart(
            "memory",
            "Memory",
            Unit.BYTES,
            _lines(metrics.memory),
            limit=limit or None,
            summary=_memory(metrics.memory, limits),
        ),
        Chart(
            "network",
            "Network of the instances",
            Unit.BYTES,
            [Line("received", metrics.received), Line("sent", metrics.sent)],
            summary="Bytes a second, all instances together.",
        ),
    ]


def machine_charts(metrics: MachineMetrics) -> list[Chart]:
    return [
        Chart("cpu", "CPU", Unit.CORES, [Line("busy", metrics.cpu)], limit=float(metrics.cores) or None,
              summary=f"Of {metrics.cores} cores."),
        Chart("memory", "Memory", Unit.BYTES, [Line("in use", metrics.memory)], limit=float(metrics.memory_total) or None,
              summary=f"Of {memory_text(metrics.memory_total)}, without caches that can be dropped."),
        Chart("load", "Load", Unit.NUMBER, [Line("load", metrics.load)], summary="Processes that run or wait."),
        Chart("disk", "Disk", Unit.BYTES, [Line("in use", metrics.disk)], limit=float(metrics.disk_total) or None,
              summary=f"Of {memory_text(metrics.disk_total)}, where the platform's home is."),
    ]  # fmt: skip


def chart_data(
    times: Sequence[int], spacing: int, charts: Iterable[Chart], markers: Iterable[tuple[int, str]]
) -> dict[str, Any]:
    """What js/charts.js draws."""
    return {
        "times": list(times),
        "spacing": spacing,
        "charts": {chart.key: chart.data() for chart in charts},
        "markers": [{"at": at, "text": text} for at, text in markers],
    }


def _lines(values: Mapping[str, Values]) -> list[Line]:
    """Classes of answers that never came are left out."""
    return [Line(name, each) for name, each in values.items() if name not in {"1xx", "3xx"} or any(each)]


def _rounded(values: Values) -> list[float | None]:
    return [None if value is None else float(f"{value:.4g}") for value in values]


def _requests(metrics: AppMetrics) -> str:
    total = sum(metrics.total.values())
    if not total:
        return f"No requests in the {metrics.window.words}."
    failed = metrics.total["5xx"]
    words = f"{failed:,} of them failed (5xx)" if failed else "none of them failed"
    return f"{total:,} request{'' if total == 1 else 's'} in the {metrics.window.words}; {words}."


def _latency(metrics: AppMetrics) -> str:
    half, most, nearly_all = (metrics.overall[name] for name in ("p50", "p95", "p99"))
    if half is None:
        return "Nothing was asked, so nothing was slow."
    ms = Unit.MILLISECONDS.text
    return f"Half of all were answered within {ms(half)}, 95 % within {ms(most)}, 99 % within {ms(nearly_all)}."


def _each(lines: Mapping[str, Values], unit: Unit) -> str:
    known = [value for values in lines.values() for value in values if value is not None]
    if not known:
        return "No instance was measured in this time."
    return f"{unit.text(fmean(known))} on average for each instance, {unit.text(max(known))} at most."


def _memory(lines: Mapping[str, Values], limits: Mapping[str, int]) -> str:
    peaks = {name: max((value for value in values if value is not None), default=0) for name, values in lines.items()}
    peaks = {name: peak for name, peak in peaks.items() if peak}
    if not peaks:
        return "No instance was measured in this time."
    name = max(peaks, key=lambda each: peaks[each] / (limits.get(each.rpartition(".")[0]) or float("inf")))
    limit = limits.get(name.rpartition(".")[0])
    if not limit:
        name = max(peaks, key=lambda each: peaks[each])
        return f"{name} used the most: {memory_text(round(peaks[name]))}. It has no limit."
    share = round(100 * peaks[name] / limit)
    return f"{name} came closest to its limit: {memory_text(round(peaks[name]))} of {memory_text(limit)}, {share} %."
