"""Start a command, stop it, write down how it ended.

A run is a row and a container. Nobody holds a thread while it goes on: the agent hears of its end, `settle` writes it
down, and the sweep looks anyway, at deadlines and at what a worker that died left behind.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from redis.exceptions import RedisError

from paas.accounts.models import User
from paas.apps.models import App
from paas.config.rules import MAX_VALUE_BYTES, NAME
from paas.convergence.oneoff import one_off_container
from paas.convergence.spec import app_spec
from paas.core import audit, redis
from paas.core.queue import send
from paas.core.redis import announce_change, wait_until_collected
from paas.formation.checks import check_memory
from paas.formation.selectors import formation
from paas.formation.services import unknown_process
from paas.releases.models import Release
from paas.releases.selectors import current_release
from paas.runs.models import ACTIVE, Run, RunStatus
from paas.runs.selectors import run_limits
from paas.wiring import applier, engine, machine_memory, pull_token
from runtime.engine.api import Attached, State
from runtime.errors import Conflict, ContainerMissing, EngineUnavailable, Failure, InvalidInput
from runtime.logs.mask import masked, secrets_of
from runtime.reconcile.apply import exit_meaning
from runtime.reconcile.spec import HOME, KIND

log = structlog.get_logger()

MAX_COMMAND = 4000
MOST_AT_ONCE = 5
KEEP = 200
GRACE_SECONDS = 10
LOST_AFTER = timedelta(minutes=2)  # a worker that said it would start it, and did not
MOST_ATTACHED = 25
COME_SECONDS = 60  # within which somebody comes for a terminal that was promised
BEAT_SECONDS = 20.0
LONGEST_SECONDS = 24 * 3600
MAX_VARIABLES = 100


@dataclass(frozen=True, slots=True)
class Wishes:
    """What may be asked for beside the command."""

    environment: Mapping[str, str] = field(default_factory=dict)
    process: str = ""  # the process type whose limits it gets
    limits: Mapping[str, int] = field(default_factory=dict)  # memory_bytes, cpu_shares, instead of those
    timeout_seconds: int | None = None


PLAIN = Wishes()


@dataclass(frozen=True, slots=True)
class Session:
    run: Run
    attached: Attached
    container_id: str

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Its exit code. Raises `TimeoutError`."""
        return engine().wait(self.container_id, timeout_seconds=timeout_seconds).code


def start_run(app: App, command: str, *, by: User, wishes: Wishes = PLAIN) -> Run:
    """In the background. Raises `InvalidInput`, or `Conflict` before the first deploy and when too many run already."""
    run = _create(app, command, by=by, wishes=wishes)
    run_id = str(run.pk)
    transaction.on_commit(lambda: send("runs.begin", run_id))
    return run


def stop_run(run: Run, *, by: User) -> None:
    """Raises `Conflict` when it is over."""
    if run.is_finished:
        raise Conflict(f"Run {run.number} is over: it {run.status}.", id="run_finished")
    audit.record("run.stop", by=by, app_id=run.app_id, app_name=run.app.name, number=run.number)
    Run.objects.filter(pk=run.pk).update(stop_requested_at=timezone.now())
    if not _finish(run, RunStatus.STOPPED, reason=f"Stopped by {by.email}.", only=RunStatus.PENDING):
        container_id = run.container_id
        transaction.on_commit(lambda: send("runs.settle", container_id) if container_id else None)


def promise_run(app: App, command: str, *, by: User, terminal: bool, wishes: Wishes = PLAIN) -> Run:
    """It begins when somebody comes for its terminal or pipes: `attach_to`. Raises like `start_run`."""
    return _create(app, command, by=by, is_attached=True, has_terminal=terminal, wishes=wishes)


@contextmanager
def attached_run(
    app: App,
    command: str,
    *,
    by: User,
    terminal: bool,
    window: tuple[int, int] | None = None,
    wishes: Wishes = PLAIN,
) -> Iterator[Session]:
    """Started and attached to; gone at the end, however that comes. `window`: rows and columns of the terminal."""
    run = promise_run(app, command, by=by, terminal=terminal, wishes=wishes)
    with attach_to(run, window=window) as session:
        yield session


@contextmanager
def attach_to(run: Run, *, window: tuple[int, int] | None = None) -> Iterator[Session]:
    """Begin a run that was promised. Raises `Conflict` when it has begun, or is over."""
    if not _claim(run):
        raise Conflict(f"Run {run.number} has begun already, or is over.", id="run_finished")
    container_id = ""
    try:
        with _beating(run):
            container_id = _make_container(run, window if run.has_terminal else None)
            with engine().attach(container_id) as attached:
                engine().start(container_id)
                log.info("run_started", app=run.app.name, run=run.number)
                yield Session(run, attached, container_id)
    except Failure as exc:
        _finish(run, RunStatus.FAILED, reason=exc.message)
        raise
    finally:
        if container_id:
            _conclude(run, container_id, is_overdue=_is_overdue(run))
        _finish(run, RunStatus.STOPPED, reason="Whoever started it went away.")


@contextmanager
def _beating(run: Run) -> Iterator[None]:
    """The sweep sees by this that somebody holds the run's terminal, and ends it when that process has died."""
    done = threading.Event()

    def beat() -> None:
        with suppress(RedisError):
            redis.raise_flag(_held(run), lifetime_seconds=int(BEAT_SECONDS * 3))

    def go_on() -> None:
        while not done.wait(BEAT_SECONDS):
            beat()

    beat()
    threading.Thread(target=go_on, daemon=True, name=f"beat of run {run.number}").start()
    try:
        yield
    finally:
        done.set()


def _held(run: Run) -> str:
    return f"run:{run.pk}:held"


def begin(run_id: str | UUID) -> None:
    """Returns at once when somebody else has begun it, or when it was stopped before."""
    run = Run.objects.select_related("app", "release", "release__image").filter(pk=run_id).first()
    if run is None or not _claim(run):
        return
    try:
        container_id = _make_container(run)
        engine().start(container_id)
    except Failure as exc:
        _finish(run, RunStatus.FAILED, reason=exc.message)
        if not isinstance(exc, EngineUnavailable) and run.container_id:
            engine().remove(run.container_id)
        log.info("run_not_started", app=run.app.name, run=run.number, error=exc.id)
        return
    log.info("run_started", app=run.app.name, run=run.number)
    run.refresh_from_db()
    if run.stop_requested_at is not None:
        settle(container_id)


def settle(container_id: str) -> None:
    """Its container has ended, or should: write down how."""
    run = Run.objects.select_related("app").filter(container_id=container_id, status=RunStatus.RUNNING).first()
    if run is None:
        return
    is_overdue = _is_overdue(run) and _is_running(container_id)
    if run.stop_requested_at is not None or is_overdue:
        _stop(container_id)
    if not run.is_attached or not _is_held(run):  # whoever is attached does the rest
        _conclude(run, container_id, is_overdue=is_overdue)


def _is_held(run: Run) -> bool:
    return redis.is_raised(_held(run))


def sweep() -> None:
    """Deadlines, ends that nobody heard of, beginnings whose message was lost."""
    now = timezone.now()
    containers = None
    for run in Run.objects.filter(status__in=ACTIVE).select_related("app"):
        if run.status == RunStatus.PENDING:
            if run.is_attached and run.created_at < now - timedelta(seconds=COME_SECONDS):
                reason = f"Nobody came for its terminal within {COME_SECONDS} seconds."
                _finish(run, RunStatus.FAILED, reason=reason, only=RunStatus.PENDING)
            elif not run.is_attached and run.created_at < now - timedelta(seconds=20):
                send("runs.begin", str(run.pk))
            continue
        if containers is None:
            containers = {each.id: each for each in engine().list({HOME: str(settings.ENV.home), KIND: "run"})}
        container = containers.get(run.container_id)
        if container is None:
            if run.started_at is None or run.started_at < now - LOST_AFTER:
                _finish(run, RunStatus.FAILED, reason="Its container is gone; nobody saw how it ended.")
        elif container.state is State.EXITED or _is_overdue(run) or run.stop_requested_at is not None or _is_left(run):
            send("runs.settle", run.container_id)


def _is_left(run: Run) -> bool:
    """The process that held its terminal has died: no sign of it at two looks in a row, as Redis may have been away."""
    if not run.is_attached or _is_held(run):
        return False
    return redis.count_up(f"run-left:{run.pk}", lifetime_seconds=100) > 1


def _create(
    app: App,
    command: str,
    *,
    by: User,
    is_attached: bool = False,
    has_terminal: bool = False,
    wishes: Wishes = PLAIN,
) -> Run:
    command = command.strip()
    if not command:
        raise InvalidInput(
            "There is no command.", hint="Write one, such as: python manage.py migrate", id="invalid_command"
        )
    if len(command) > MAX_COMMAND or "\0" in command:
        raise InvalidInput(f"A command has at most {MAX_COMMAND} characters, none of them NUL.", id="invalid_command")
    with transaction.atomic():
        App.objects.select_for_update().get(pk=app.pk)
        release = current_release(app)
        if release is None or release.image is None:
            raise Conflict(f"{app.name} has nothing to run yet.", hint="Push some code first.", id="nothing_deployed")
        _check_wishes(app, release, wishes)
        most = MOST_ATTACHED if is_attached else MOST_AT_ONCE
        if app.runs.filter(status__in=ACTIVE, is_attached=is_attached).count() >= most:
            raise Conflict(
                f"{most} commands of {app.name} are running already.",
                hint="Wait for one of them to end, or stop one.",
                id="too_many_runs",
            )
        environment: Any = dict(wishes.environment)  # a field of JSON
        number = (app.runs.aggregate(last=Max("number"))["last"] or 0) + 1
        run = Run.objects.create(
            app=app,
            number=number,
            release=release,
            command=command,
            created_by=by,
            door=audit.door(),
            is_attached=is_attached,
            has_terminal=has_terminal,
            environment=environment,
            process=wishes.process,
            limits=dict(wishes.limits),
            timeout_seconds=wishes.timeout_seconds,
        )
        audit.record(
            "run.create",
            by=by,
            app_id=app.id,
            app_name=app.name,
            number=number,
            release=release.version,
            command=masked(command, secrets_of(release.config)),
        )
        app.runs.filter(number__lte=number - KEEP).exclude(status__in=ACTIVE).delete()
    announce_change(app.pk)
    return run


def _check_wishes(app: App, release: Release, wishes: Wishes) -> None:
    """Raises `InvalidInput`."""
    if len(wishes.environment) > MAX_VARIABLES:
        raise InvalidInput(f"A run takes at most {MAX_VARIABLES} variables of its own.", id="invalid_environment")
    for name, value in wishes.environment.items():
        if not NAME.fullmatch(name) or "\0" in value or len(value) > MAX_VALUE_BYTES:
            raise InvalidInput(
                f"The variable {name[:40]!r} can't be set.",
                hint="Names are letters, digits and underscores; values are text of at most 32 KiB.",
                id="invalid_environment",
            )
    if wishes.process:
        known = [process.process for process in formation(app, release)]
        if wishes.process not in known:
            raise unknown_process(app, wishes.process, known)
    if memory := wishes.limits.get("memory_bytes"):
        check_memory("run", memory, machine_bytes=machine_memory())
    if wishes.timeout_seconds is not None and not 0 < wishes.timeout_seconds <= LONGEST_SECONDS:
        raise InvalidInput(f"A run may take from 1 to {LONGEST_SECONDS} seconds.", id="invalid_time_to_live")


def _claim(run: Run) -> bool:
    run.status, run.started_at = RunStatus.RUNNING, timezone.now()
    pending = Run.objects.filter(pk=run.pk, status=RunStatus.PENDING)
    claimed = bool(pending.update(status=run.status, started_at=run.started_at))
    if claimed:
        announce_change(run.app_id)
    return claimed


def _make_container(run: Run, window: tuple[int, int] | None = None) -> str:
    """Created, not started: its id is in the row before anything happens."""
    release: Release | None = run.release
    if release is None or release.image is None:
        raise Conflict(f"The release of run {run.number} is gone.", id="nothing_deployed")
    spec = one_off_container(
        run.app,
        release,
        run.command,
        kind="run",
        number=run.number,
        is_attached=run.is_attached,
        has_terminal=run.has_terminal,
        own_environment=run.environment,
        limits=run_limits(run),
        window=window,
    )
    applier().ensure_network(app_spec(run.app, release))
    engine().pull(spec.image, registry_token=pull_token(spec.image))
    run.container_id = engine().create(spec)
    Run.objects.filter(pk=run.pk).update(container_id=run.container_id)
    return run.container_id


def _conclude(run: Run, container_id: str, *, is_overdue: bool = False) -> None:
    """Nothing is left of it but what it said, and how it ended."""
    try:
        if run.is_attached and _is_running(container_id):
            _stop(container_id)
        end = engine().wait(container_id, timeout_seconds=GRACE_SECONDS)
    except TimeoutError:
        return  # it goes on
    except ContainerMissing:
        _finish(run, RunStatus.FAILED, reason="Its container is gone; nobody saw how it ended.")
        return
    if not run.has_terminal:
        wait_until_collected(container_id)
    engine().remove(container_id)
    run.refresh_from_db()
    if run.stop_requested_at is not None:
        _finish(run, RunStatus.STOPPED, exit_code=end.code, reason="Stopped by hand.")
    elif is_overdue:
        seconds = _allowed_seconds(run)
        _finish(run, RunStatus.FAILED, exit_code=end.code, reason=f"It was stopped after {seconds} seconds.")
    elif end.code:
        why = "it ran out of memory" if end.oom_killed else exit_meaning(end.code)
        _finish(run, RunStatus.FAILED, exit_code=end.code, reason=f"It exited with {end.code}: {why}.")
    else:
        _finish(run, RunStatus.SUCCEEDED, exit_code=0)


def _finish(
    run: Run, status: RunStatus, *, exit_code: int | None = None, reason: str = "", only: RunStatus | None = None
) -> bool:
    """False when it had ended already."""
    active = Run.objects.filter(pk=run.pk, status__in=(only,) if only else ACTIVE)
    finished = active.update(
        status=status, exit_code=exit_code, reason=reason, finished_at=timezone.now(), environment={}
    )
    if finished:
        announce_change(run.app_id)
        log.info("run_ended", app=run.app.name, run=run.number, status=status.value, exit_code=exit_code)
    return bool(finished)


def _is_overdue(run: Run) -> bool:
    if run.started_at is None or (run.is_attached and run.timeout_seconds is None):
        return False
    return timezone.now() > run.started_at + timedelta(seconds=_allowed_seconds(run))


def _allowed_seconds(run: Run) -> int:
    return run.timeout_seconds or settings.ENV.run_timeout_seconds


def _is_running(container_id: str) -> bool:
    try:
        return engine().inspect(container_id).state is State.RUNNING
    except ContainerMissing:
        return False


def _stop(container_id: str) -> None:
    try:
        engine().stop(container_id, grace_seconds=GRACE_SECONDS)
    except ContainerMissing:
        return
