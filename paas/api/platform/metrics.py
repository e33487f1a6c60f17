"""CPU, memory, traffic and latency of an app over time."""

from __future__ import annotations

from collections.abc import Sequence

from ninja import Router

from paas.api.auth import ApiRequest, find_app
from paas.api.errors import Refusal
from paas.api.schemas import Answer, Time
from paas.metrics.selectors import WINDOWS, Window, app_metrics

router = Router(tags=["Metrics"])
Series = list[float | None]


class MarkerAnswer(Answer):
    at: Time
    text: str


class MetricsAnswer(Answer):
    """All series have one value for each of `times`, null where nobody looked. CPU in cores, memory in bytes, traffic in
    numbers a second, latency in milliseconds."""

    window: str
    times: list[int]
    cpu: dict[str, Series]
    memory: dict[str, Series]
    received: Series
    sent: Series
    requests: dict[str, Series]
    answered: Series
    latency: dict[str, Series]
    total: dict[str, int]
    overall: dict[str, float | None]
    releases: list[MarkerAnswer]


def chosen_window(name: str) -> Window:
    """Raises `Refusal`."""
    if name not in WINDOWS:
        words = ", ".join(WINDOWS)
        raise Refusal(422, "invalid_params", f"window should be one of {words}.", code="unknown_window")
    return WINDOWS[name]


def series(values: Sequence[float | None]) -> Series:
    return list(values)


@router.get("/apps/{identity}/metrics", response=MetricsAnswer)
def metrics_of_app(request: ApiRequest, identity: str, window: str = "1h") -> MetricsAnswer:
    """`window`: 1h, 24h, 7d, 60d."""
    app = find_app(request, identity)
    found = app_metrics(app, chosen_window(window))
    return MetricsAnswer(
        window=found.window.name,
        times=list(found.times),
        cpu={name: series(values) for name, values in found.cpu.items()},
        memory={name: series(values) for name, values in found.memory.items()},
        received=series(found.received),
        sent=series(found.sent),
        requests={name: series(values) for name, values in found.requests.items()},
        answered=series(found.answered),
        latency={name: series(values) for name, values in found.latency.items()},
        total=dict(found.total),
        overall=dict(found.overall),
        releases=[MarkerAnswer(at=each.moment, text=each.text) for each in found.markers],
    )
