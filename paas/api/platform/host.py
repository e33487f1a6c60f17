"""The machine: where the platform answers, how its parts are, disk, cleanups."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from ninja import Router

from paas.accounts.models import Scope
from paas.accounts.selectors import check_admin
from paas.api.auth import ApiRequest, TokenAuth
from paas.api.platform.metrics import Series, chosen_window, series
from paas.api.schemas import Answer, Time
from paas.convergence.cleanup import clear_caches, expired_everywhere, last_cleanup
from paas.machine import selectors, services
from paas.machine.doors import doors
from paas.machine.measure import measured
from paas.machine.processes import platform_processes
from paas.metrics.selectors import machine_metrics

router = Router(tags=["Host"])
ADMIN = TokenAuth(reading=Scope.GLOBAL, writing=Scope.GLOBAL)


class HostAnswer(Answer):
    """null: a door that is closed."""

    domain: str
    http_url: str
    https_url: str | None
    api_url: str
    git_url: str
    dashboard_url: str
    ssh: str | None
    registry: str


class PartAnswer(Answer):
    name: str
    purpose: str
    problem: str | None
    hint: str | None


class ProcessAnswer(Answer):
    name: str
    memory_bytes: int
    cpu_seconds: float


class QueueAnswer(Answer):
    name: str
    waiting: int
    oldest_task: str | None
    oldest_seconds: float | None


class SweepAnswer(Answer):
    at: Time
    seconds: float
    late: bool


class RunningBuild(Answer):
    id: UUID
    app: str
    number: int
    status: str


class EngineAnswer(Answer):
    version: str | None
    storage: str | None
    runtimes: list[str]
    problem: str | None


class PlatformHealthAnswer(Answer):
    healthy: bool
    parts: list[PartAnswer]
    processes: list[ProcessAnswer]
    queues: list[QueueAnswer]
    last_sweep: SweepAnswer | None
    builds: list[RunningBuild]
    engine: EngineAnswer


class StorageAnswer(Answer):
    """As it was at the last measure; `at` is null before the first."""

    at: Time | None
    kinds: dict[str, int]
    apps: list[dict[str, Any]]
    expired_images: int
    expired_bytes: int


class MachineMetricsAnswer(Answer):
    """All series have one value for each of `times`. CPU in cores, sizes in bytes."""

    window: str
    times: list[int]
    cores: int
    cpu: Series
    load: Series
    memory: Series
    memory_total: int
    disk: Series
    disk_total: int


class ExpiredImage(Answer):
    app: str
    digest: str
    size_bytes: int
    releases: list[int]


class CleanupState(Answer):
    state: str
    reason: str | None


class LastCleanup(Answer):
    at: Time
    by: str | None
    detail: dict[str, Any]


class CleanupAnswer(Answer):
    """`images` is what the next one gives up first. `state` is of one that is asked for, or failed."""

    images: list[ExpiredImage]
    state: CleanupState | None
    last: LastCleanup | None


class DroppedAnswer(Answer):
    dropped: int


@router.get("/host", response=HostAnswer)
def host(request: ApiRequest) -> HostAnswer:  # whoever has a token
    """Where the platform answers."""
    found = doors(settings.ENV)
    return HostAnswer.model_validate({name: found[name] for name in HostAnswer.model_fields})


@router.get("/host/health", response=PlatformHealthAnswer, auth=ADMIN)
def host_health(request: ApiRequest) -> PlatformHealthAnswer:
    """How every part of the platform is, and what waits."""
    check_admin(request.user)
    parts, sweep, engine = selectors.parts(), selectors.last_sweep(), selectors.engine_state()
    return PlatformHealthAnswer(
        healthy=not any(part.problem for part in parts),
        parts=[
            PartAnswer(name=each.name, purpose=each.purpose, problem=each.problem or None, hint=each.hint or None)
            for each in parts
        ],
        processes=[
            ProcessAnswer(name=each.name, memory_bytes=each.memory_bytes, cpu_seconds=each.cpu_seconds)
            for each in platform_processes()
        ],
        queues=[
            QueueAnswer(
                name=each.name,
                waiting=each.waiting,
                oldest_task=each.oldest_task or None,
                oldest_seconds=each.oldest_seconds,
            )
            for each in selectors.queues()
        ],
        last_sweep=SweepAnswer(at=sweep.at, seconds=sweep.seconds, late=sweep.is_late) if sweep else None,
        builds=[
            RunningBuild(id=each.pk, app=each.app.name, number=each.number, status=each.status)
            for each in selectors.running_builds()
        ],
        engine=EngineAnswer(
            version=engine.version or None,
            storage=engine.storage or None,
            runtimes=list(engine.runtimes),
            problem=engine.problem or None,
        ),
    )


@router.get("/host/storage", response=StorageAnswer, auth=ADMIN)
def host_storage(request: ApiRequest) -> StorageAnswer:
    """What takes the disk: the last hourly measure."""
    check_admin(request.user)
    found = measured()
    if found is None:
        return StorageAnswer(at=None, kinds={}, apps=[], expired_images=0, expired_bytes=0)
    return StorageAnswer(
        at=found.moment,
        kinds=found.kinds,
        apps=found.apps,
        expired_images=found.expired_images,
        expired_bytes=found.expired_bytes,
    )


@router.get("/host/metrics", response=MachineMetricsAnswer, auth=ADMIN)
def host_metrics(request: ApiRequest, window: str = "1h") -> MachineMetricsAnswer:
    """`window`: 1h, 24h, 7d, 60d."""
    check_admin(request.user)
    found = machine_metrics(chosen_window(window))
    return MachineMetricsAnswer(
        window=found.window.name,
        times=list(found.times),
        cores=found.cores,
        cpu=series(found.cpu),
        load=series(found.load),
        memory=series(found.memory),
        memory_total=found.memory_total,
        disk=series(found.disk),
        disk_total=found.disk_total,
    )


def _cleanup() -> CleanupAnswer:
    told, last = services.cleanup_state(), last_cleanup()
    return CleanupAnswer(
        images=[
            ExpiredImage(app=each.app, digest=each.digest, size_bytes=each.size_bytes, releases=list(each.versions))
            for each in expired_everywhere()
        ],
        state=CleanupState(state=told["state"], reason=told.get("reason")) if told else None,
        last=LastCleanup(at=last.at, by=last.actor_email or None, detail=last.detail) if last else None,
    )


@router.get("/host/cleanup", response=CleanupAnswer, auth=ADMIN)
def cleanup_info(request: ApiRequest) -> CleanupAnswer:
    check_admin(request.user)
    return _cleanup()


@router.post("/host/cleanup", response={202: CleanupAnswer}, auth=ADMIN)
def request_cleanup(request: ApiRequest) -> CleanupAnswer:
    """Asked for; it is done when `state` is null again. Asking twice changes nothing."""
    check_admin(request.user)
    services.request_cleanup(by=request.user)
    return _cleanup()


@router.delete("/host/build-cache", response=DroppedAnswer, auth=ADMIN)
def clear_build_cache(request: ApiRequest) -> DroppedAnswer:
    """Cached dependencies of all apps; the next builds make them anew."""
    check_admin(request.user)
    return DroppedAnswer(dropped=clear_caches(wait_seconds=5))
