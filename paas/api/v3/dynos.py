"""Dynos, which are instances and one-off runs: seen, restarted, stopped."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.conf import settings
from ninja import Router
from pydantic import Field

from paas.api.auth import ApiRequest, find_app
from paas.api.errors import missing
from paas.api.ranges import page_of
from paas.api.schemas import Answer, Body, NamedRef, Time, app_ref
from paas.api.streams import host_name
from paas.api.v3.facts import size_limits, size_name
from paas.apps.models import App, Role
from paas.convergence.models import Instance
from paas.formation.selectors import Process, formation
from paas.formation.services import restart
from paas.runs.models import ACTIVE, Run, RunStatus
from paas.runs.rendezvous import promise_terminal
from paas.runs.selectors import run_limits
from paas.runs.services import Wishes, promise_run, start_run, stop_run
from runtime.errors import Conflict

router = Router(tags=["Dynos"])
RUN_STATES = {RunStatus.PENDING: "starting", RunStatus.RUNNING: "up"}


class ReleaseRef(Answer):
    id: UUID
    version: int


class DynoAnswer(Answer):
    app: NamedRef
    attach_url: str | None
    command: str
    created_at: Time
    id: UUID
    name: str
    release: ReleaseRef
    size: str
    state: str
    type: str
    updated_at: Time


class NewDyno(Body):
    command: str
    attach: bool | None = Field(None, description="Whether the client comes for its terminal or pipes: attach_url.")
    env: dict[str, str | int | None] = Field(
        {}, description="Beside the app's config. COLUMNS and LINES size a terminal."
    )
    force_no_tty: bool | None = Field(None, description="Pipes instead of a terminal.")
    size: str | None = None
    type: str | None = Field(None, description="A process type whose limits it gets; run for the platform's.")
    time_to_live: int | None = Field(None, description="Seconds after which it is stopped.")


class Nothing(Answer):
    """`{}`: it has been asked for, and happens from now on."""


def dyno_of_run(run: Run, *, attach_url: str | None = None) -> DynoAnswer:
    """`run` with its app and its release."""
    return DynoAnswer(
        app=app_ref(run.app),
        attach_url=attach_url,
        command=run.command,
        created_at=run.created_at,
        id=run.pk,
        name=str(run),
        release=ReleaseRef(id=run.release_id or run.pk, version=run.release.version if run.release else 0),
        size=size_name(*run_limits(run)),
        state=RUN_STATES.get(RunStatus(run.status), "complete"),
        type="run",
        updated_at=run.updated_at,
    )


def _dynos(app: App) -> list[DynoAnswer]:
    instances, runs = list(app.instances.all()), list(app.runs.filter(status__in=ACTIVE).select_related("app", "release"))
    releases = dict(
        app.releases.filter(version__in={each.release_version for each in instances}).values_list("version", "pk")
    )
    processes = {each.process: each for each in formation(app)}
    shown = [
        _answer(app, each, releases[each.release_version], processes.get(each.process))
        for each in instances
        if each.release_version in releases
    ]
    return [*shown, *(dyno_of_run(run) for run in runs)]


def _answer(app: App, instance: Instance, release_id: UUID, process: Process | None) -> DynoAnswer:
    return DynoAnswer(
        app=app_ref(app),
        attach_url=None,
        command=process.command if process else "",
        created_at=instance.created_at,
        id=instance.pk,
        name=str(instance),
        release=ReleaseRef(id=release_id, version=instance.release_version),
        size=size_name(process.memory_bytes, process.cpu_shares) if process else size_name(0, 0),
        state=instance.state,
        type=instance.process,
        updated_at=instance.since,
    )


def _named(dynos: Iterable[DynoAnswer], identity: str) -> DynoAnswer:
    for each in dynos:
        if identity.lower() in {each.name.lower(), str(each.id)}:
            return each
    raise missing("dyno")


@router.get("/apps/{identity}/dynos", response=list[DynoAnswer])
def list_dynos(request: ApiRequest, identity: str) -> list[DynoAnswer]:
    dynos = _dynos(find_app(request, identity))
    return page_of(request, dynos, ordered_by="name", id=lambda each: each.id, name=lambda each: each.name)


@router.post("/apps/{identity}/dynos", response={201: DynoAnswer})
def create_dyno(request: ApiRequest, identity: str, body: NewDyno) -> DynoAnswer:
    """A one-off run. Not attached, what it says is in the app's log."""
    app = find_app(request, identity, Role.DEVELOPER)
    wishes = Wishes(
        environment={name: str(value) for name, value in body.env.items() if value is not None},
        process=body.type if body.type not in {None, "run"} else "",
        limits=size_limits(body.size) if body.size else {},
        timeout_seconds=body.time_to_live,
    )
    if not body.attach:
        return dyno_of_run(start_run(app, body.command, by=request.user, wishes=wishes))
    if not settings.ENV.rendezvous_port:
        raise Conflict(
            "Terminals of runs are switched off on this platform.",
            hint="Its operator does that with PAAS_RENDEZVOUS_PORT=0. Run it detached.",
            id="no_terminals",
        )
    run = promise_run(app, body.command, by=request.user, terminal=not body.force_no_tty, wishes=wishes)
    secret = promise_terminal(run)
    return dyno_of_run(run, attach_url=settings.ENV.rendezvous_url(host_name(request), secret))


@router.delete("/apps/{identity}/dynos", response={202: Nothing})
def restart_all(request: ApiRequest, identity: str) -> Nothing:
    restart(find_app(request, identity, Role.OPERATOR), by=request.user)
    return Nothing()


@router.get("/apps/{identity}/dynos/{dyno}", response=DynoAnswer)
def dyno_info(request: ApiRequest, identity: str, dyno: str) -> DynoAnswer:
    return _named(_dynos(find_app(request, identity)), dyno)


@router.delete("/apps/{identity}/dynos/{dyno}", response={202: Nothing})
def restart_dyno(request: ApiRequest, identity: str, dyno: str) -> Nothing:
    """A new instance takes its place before it goes; a one-off run is stopped."""
    _replace(request, find_app(request, identity, Role.OPERATOR), dyno)
    return Nothing()


@router.post("/apps/{identity}/dynos/{dyno}/actions/stop", response={202: Nothing})
def stop_dyno(request: ApiRequest, identity: str, dyno: str) -> Nothing:
    """As on Heroku: what the formation asks for starts again."""
    _replace(request, find_app(request, identity, Role.OPERATOR), dyno)
    return Nothing()


@router.delete("/apps/{identity}/formations/{process}", response={202: Nothing})
def restart_process(request: ApiRequest, identity: str, process: str) -> Nothing:
    _restart_type(request, find_app(request, identity, Role.OPERATOR), process)
    return Nothing()


@router.post("/apps/{identity}/formations/{process}/actions/stop", response={202: Nothing})
def stop_process(request: ApiRequest, identity: str, process: str) -> Nothing:
    _restart_type(request, find_app(request, identity, Role.OPERATOR), process)
    return Nothing()


def _restart_type(request: ApiRequest, app: App, process: str) -> None:
    if process == "run":
        for run in app.runs.filter(status__in=ACTIVE):
            stop_run(run, by=request.user)
    elif process in {each.process for each in formation(app)}:
        restart(app, by=request.user, target=process)
    else:
        raise missing("formation")


def _replace(request: ApiRequest, app: App, identity: str) -> None:
    found = _named(_dynos(app), identity)
    run = app.runs.filter(pk=found.id).first() if found.type == "run" else None
    if run is not None:
        stop_run(run, by=request.user)
    else:
        restart(app, by=request.user, target=found.name)
