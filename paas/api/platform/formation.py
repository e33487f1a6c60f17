"""Limits and health checks of process types; instances, and the whole app stopped, started, restarted."""

from __future__ import annotations

from typing import Any

from ninja import Router
from pydantic import Field

from paas.api.auth import ApiRequest, find_app
from paas.api.errors import missing
from paas.api.platform.releases import ReleaseDetails, details_of
from paas.api.ranges import page_of
from paas.api.schemas import Answer, Body, Time
from paas.apps import services as apps
from paas.apps.models import App, Role
from paas.convergence.selectors import state_of
from paas.convergence.spec import effective_health
from paas.formation import services
from paas.formation.selectors import Process, formation
from paas.formation.sizes import parse_memory
from paas.releases.models import UNFINISHED
from paas.releases.selectors import wished_release

router = Router(tags=["Instances"])


class InstanceAnswer(Answer):
    name: str
    process: str
    index: int
    state: str
    release: int
    container: str | None
    address: str | None
    since: Time
    crashes: int
    reason: str | None
    command: str | None


class StateAnswer(Answer):
    """`observed_generation` follows `generation`: when they are the same, everything runs as wished."""

    state: str
    reason: str | None
    stopped: bool
    maintenance: bool
    generation: int
    observed_generation: int


class ChangedStateAnswer(StateAnswer):
    changed: bool


class Restart(Body):
    target: str = Field("", description="A process type, `web`, or an instance, `web.1`; all of them without one.")


class LimitsAnswer(Answer):
    process: str
    quantity: int
    memory_bytes: int = Field(description="0: no limit")
    cpu_shares: int


class ChangedLimitsAnswer(LimitsAnswer):
    release: ReleaseDetails | None


class LimitsChange(Body):
    memory: str | int | None = Field(None, description="Bytes, or text: `512M`, `unlimited`. null: the default again.")
    cpu_shares: int | None = Field(None, description="1024 is one share. null: the default again.")
    why: str = ""


class HealthAnswer(Answer):
    process: str
    kind: str
    path: str | None
    port: int | None
    timeout_seconds: float | None
    start_seconds: float | None
    uptime_seconds: float | None
    source: str = Field(description="Who says so: people, code, image, default")
    words: str


class ChangedHealthAnswer(HealthAnswer):
    release: ReleaseDetails | None


class HealthCheck(Body):
    kind: str = Field(description="http, tcp, uptime or image")
    path: str | None = None
    port: int | None = None
    timeout_seconds: float | None = None
    start_seconds: float | None = None
    uptime_seconds: float | None = None
    why: str = ""


@router.get("/apps/{identity}/instances", response=list[InstanceAnswer])
def list_instances(request: ApiRequest, identity: str) -> list[InstanceAnswer]:
    app = find_app(request, identity)
    commands = {each.process: each.command for each in formation(app)}
    rows = page_of(request, list(app.instances.all()), name=str)
    return [
        InstanceAnswer(
            name=str(each),
            process=each.process,
            index=each.index,
            state=each.state,
            release=each.release_version,
            container=each.container_id or None,
            address=each.address or None,
            since=each.since,
            crashes=each.crashes,
            reason=each.reason or None,
            command=commands.get(each.process) or None,
        )
        for each in rows
    ]


def _state(app: App) -> dict[str, Any]:
    fresh = App.objects.select_related("current_release").get(pk=app.pk)
    is_deploying = fresh.releases.filter(status__in=UNFINISHED).exists()
    state = state_of(fresh, list(fresh.instances.all()), is_deploying=is_deploying)
    return {
        "state": state.word,
        "reason": state.reason or None,
        "stopped": fresh.stopped_at is not None,
        "maintenance": fresh.maintenance,
        "generation": fresh.generation,
        "observed_generation": fresh.observed_generation,
    }


@router.get("/apps/{identity}/state", response=StateAnswer)
def app_state(request: ApiRequest, identity: str) -> StateAnswer:
    return StateAnswer(**_state(find_app(request, identity)))


@router.post("/apps/{identity}/stop", response=ChangedStateAnswer)
def stop(request: ApiRequest, identity: str) -> ChangedStateAnswer:
    """Everything of it; it stays stopped, also after deploys, until it is started."""
    app = find_app(request, identity, Role.OPERATOR)
    changed = apps.stop_app(app, by=request.user)
    return ChangedStateAnswer(**_state(app), changed=changed)


@router.post("/apps/{identity}/start", response=ChangedStateAnswer)
def start(request: ApiRequest, identity: str) -> ChangedStateAnswer:
    """As it was scaled."""
    app = find_app(request, identity, Role.OPERATOR)
    changed = apps.start_app(app, by=request.user)
    return ChangedStateAnswer(**_state(app), changed=changed)


@router.post("/apps/{identity}/restart", response=StateAnswer)
def restart(request: ApiRequest, identity: str, body: Restart) -> StateAnswer:
    """Each instance is replaced by a new one before it goes."""
    app = find_app(request, identity, Role.OPERATOR)
    services.restart(app, by=request.user, target=body.target)
    return StateAnswer(**_state(app))


def _limits(process: Process) -> dict[str, Any]:
    return {
        "process": process.process,
        "quantity": process.quantity,
        "memory_bytes": process.memory_bytes,
        "cpu_shares": process.cpu_shares,
    }


def _process(app: App, name: str) -> Process:
    """Raises 404."""
    found = next((each for each in formation(app) if each.process == name), None)
    if found is None:
        raise missing("process_type")
    return found


@router.get("/apps/{identity}/limits", response=list[LimitsAnswer])
def list_limits(request: ApiRequest, identity: str) -> list[LimitsAnswer]:
    processes = page_of(request, formation(find_app(request, identity)), process=lambda each: each.process)
    return [LimitsAnswer(**_limits(each)) for each in processes]


@router.patch("/apps/{identity}/limits/{process}", response=ChangedLimitsAnswer)
def update_limits(request: ApiRequest, identity: str, process: str, body: LimitsChange) -> ChangedLimitsAnswer:
    """Of each instance of a process type. What is left out stays."""
    app = find_app(request, identity, Role.OPERATOR)
    _process(app, process)
    given = body.changed()
    change: dict[str, int | None] = {}
    if "memory" in given:
        change["memory_bytes"] = parse_memory(body.memory) if isinstance(body.memory, str) else body.memory
    if "cpu_shares" in given:
        change["cpu_shares"] = body.cpu_shares
    release = services.set_limits(app, {process: change}, by=request.user, why=body.why)
    return ChangedLimitsAnswer(**_limits(_process(app, process)), release=details_of(app, release))


def _health(app: App, process: str) -> dict[str, Any]:
    release = wished_release(app)
    assert release is not None  # there is a process type
    check = effective_health(release, process)
    names = ("kind", "path", "port", "timeout_seconds", "start_seconds", "uptime_seconds")
    values = {name: check.values.get(name) or None for name in names}
    return {"process": process, **values, "source": check.source, "words": services.health_text(check.values)}


@router.get("/apps/{identity}/health-checks", response=list[HealthAnswer])
def list_health_checks(request: ApiRequest, identity: str) -> list[HealthAnswer]:
    app = find_app(request, identity)
    processes = page_of(request, formation(app), process=lambda each: each.process)
    return [HealthAnswer(**_health(app, each.process)) for each in processes]


@router.put("/apps/{identity}/health-checks/{process}", response=ChangedHealthAnswer)
def put_health_check(request: ApiRequest, identity: str, process: str, body: HealthCheck) -> ChangedHealthAnswer:
    """Whatever the code asks for."""
    app = find_app(request, identity, Role.OPERATOR)
    _process(app, process)
    given = body.model_dump(exclude={"why"}, exclude_none=True)
    release = services.set_health(app, process, given, by=request.user, why=body.why)
    return ChangedHealthAnswer(**_health(app, process), release=details_of(app, release))


@router.delete("/apps/{identity}/health-checks/{process}", response=ChangedHealthAnswer)
def delete_health_check(request: ApiRequest, identity: str, process: str) -> ChangedHealthAnswer:
    """Back to what the code asks for."""
    app = find_app(request, identity, Role.OPERATOR)
    _process(app, process)
    release = services.set_health(app, process, None, by=request.user)
    return ChangedHealthAnswer(**_health(app, process), release=details_of(app, release))
