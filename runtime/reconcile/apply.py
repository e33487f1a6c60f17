"""Carry a plan out: one engine call for each step, no decisions.

Until the route is switched, whatever goes wrong takes away what was started and leaves the rest as it was. After that
there is no way back, and none is needed: every later step is found again by the next look.
"""

from __future__ import annotations

import logging
import re
import secrets
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from runtime.engine.api import Container, ContainerSpec, Engine, Exit, Health, Limits, Network, State
from runtime.errors import (
    Abandoned,
    BootFailed,
    ContainerMissing,
    EngineError,
    EngineUnavailable,
    RouterError,
    RouterUnavailable,
)
from runtime.reconcile import checks
from runtime.reconcile import spec as labels
from runtime.reconcile.observe import BoundEndpoint
from runtime.reconcile.plan import (
    Bind,
    EnsureNetwork,
    Plan,
    Remove,
    RemoveNetwork,
    RemoveRoute,
    Retire,
    Start,
    SwitchRoute,
    Unbind,
    Wait,
)
from runtime.reconcile.spec import AppSpec, BoundPort, CheckKind, ProcessSpec
from runtime.router.api import PortProtocol, Router, RouteState

T = TypeVar("T")

log = logging.getLogger(__name__)

_FIRST_INTERVAL = 0.02
_LONGEST_INTERVAL = 0.5
_GROWTH = 1.15
_INSPECT_INTERVAL = 0.05
_AT_ONCE = 4  # containers started at the same time; more gain nothing on a small machine
_CLOSED_ON_PURPOSE = 8  # connections closed in a row, over some 0.3 s: it lives, and does not speak HTTP
_LOG_LINES = 20
_MARGIN = 10.0  # seconds beyond all time-outs of a health check, after which nobody waits for it any more
_EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Exit)(: |$)")
_FATAL_GRACE = 1  # seconds that an instance which failed gets to end by itself


class InstanceFailed(BootFailed):
    """An instance of the new release did not come up. Nothing of it is left; the old ones were not touched."""

    def __init__(self, message: str, *, hint: str, id: str, instances: Sequence[str], log_lines: Sequence[str]) -> None:
        super().__init__(message, hint=hint, id=id)
        self.instances = tuple(instances)
        self.log_lines = tuple(log_lines)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a plan."""

    started: Mapping[str, str] = field(default_factory=dict)  # instance -> container id
    failed: Sequence[InstanceFailed] = ()  # restarts that failed again; their containers are left to be counted
    retired: Sequence[str] = ()  # container ids, handed to `retire`
    seconds: Mapping[str, float] = field(default_factory=dict)  # "pull", "start", "healthy", "route"


@dataclass(slots=True)
class _Started:
    """A container that is on trial until the route is switched."""

    step: Start | Wait
    spec: ProcessSpec
    container_id: str
    began: float
    failure: InstanceFailed | None = None

    @property
    def instance(self) -> str:
        return self.step.instance


class Applier:
    """May be shared by threads; plans of one app must not be applied at the same time."""

    def __init__(
        self,
        engine: Engine,
        router: Router,
        *,
        home: str,
        registry_token_for: Callable[[str], str] = lambda reference: "",  # noqa: ARG005
        accepts: Callable[[str, int, float], bool] = checks.accepts,
        answers: Callable[[str, int, str, str, float], int | None] = checks.answers,
        takes_datagrams: Callable[[str, int], bool] = checks.takes_datagrams,
        cgroup_parent: str = "",
        drain_seconds: float = 30.0,
        before_remove: Callable[[str], None] = lambda container_id: None,  # noqa: ARG005
    ) -> None:
        self._engine = engine
        self._router = router
        self._home = home
        self._token_for = registry_token_for
        self._accepts = accepts
        self._answers = answers
        self._takes_datagrams = takes_datagrams
        self._cgroup_parent = cgroup_parent
        self._drain_seconds = drain_seconds
        self._before_remove = before_remove

    # ---------------------------------------------------------------- plans

    def apply(
        self,
        plan: Plan,
        *,
        narrate: Callable[[str], None] = lambda line: None,  # noqa: ARG005
        retire: Callable[[Retire], None] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """`narrate` gets each step's line as it begins. `retire` may put the retiring of the old ones off; without it
        they are gone when this returns. `check` raises when the work should stop; it is asked while instances boot.

        Raises `InstanceFailed`, or whatever the engine or router raised."""
        run = _Run(self, narrate, check)
        try:
            for step in plan.steps:
                run.do(step)
            run.settle()
        except Abandoned:
            raise
        except BaseException:
            run.undo()
            raise
        handed = []
        inline = []
        for step in plan.retired():
            narrate(str(step))
            handed.append(step.container_id)
            if retire is not None:
                retire(step)
            else:
                inline.append(step)
        _each(self.retire_step, inline)
        for step in plan.steps:
            if isinstance(step, Remove | RemoveNetwork):
                narrate(str(step))
                self._clean_up(step)
        return Outcome(run.started(), run.failed, handed, run.seconds)

    def retire_step(self, step: Retire) -> None:
        self.retire(
            step.container_id, app=step.app, address=step.endpoint, grace_seconds=step.grace_seconds, bound=step.bound
        )

    def retire(
        self,
        container_id: str,
        *,
        app: str,
        address: str,
        grace_seconds: int,
        bound: Sequence[BoundEndpoint] = (),
    ) -> None:
        """Drain, stop, remove. One that is gone already is fine. `address` is "ip:port", "" when it got no traffic."""
        deadline = time.monotonic() + self._drain_seconds
        try:
            if address and not self._router.drained(app, address, timeout_seconds=self._drain_seconds):
                log.info("drain_timed_out", extra={"app": app, "address": address})
            for protocol, endpoint in bound:
                left = max(0.0, deadline - time.monotonic())
                if not self._router.binding_drained(protocol, endpoint, timeout_seconds=left):
                    log.info("drain_timed_out", extra={"app": app, "address": endpoint})
        except RouterError:
            log.warning("drain_failed", extra={"app": app, "address": address}, exc_info=True)
        try:
            self._engine.stop(container_id, grace_seconds=grace_seconds)
        except ContainerMissing:
            return
        self._remove(container_id)

    def _remove(self, container_id: str) -> None:
        """One that has ended is first given the time to have its last words kept."""
        try:
            if self._engine.inspect(container_id).state is State.EXITED:
                self._before_remove(container_id)
        except ContainerMissing:
            return
        self._engine.remove(container_id)

    def _clean_up(self, step: Remove | RemoveNetwork) -> None:
        """What does not go now is found again by the next look; what is live stays live."""
        try:
            if isinstance(step, Remove):
                self._remove(step.container_id)
            else:
                self._remove_network(step.name)
        except EngineUnavailable:
            raise
        except EngineError:
            log.warning("clean_up_failed", extra={"step": str(step)}, exc_info=True)

    def _remove_network(self, name: str) -> None:
        try:
            self._engine.remove_network(name)
        except EngineError as exc:
            if exc.id != "in_use":  # an instance is still being retired: the next look finds it again
                raise

    # ---------------------------------------------------------------- one-off containers

    def ensure_network(self, desired: AppSpec) -> Network:
        return self._engine.ensure_network(
            desired.network, subnet=desired.subnet, labels=self._network_labels(desired.app, desired.app_id)
        )

    def one_off_spec(
        self,
        desired: AppSpec,
        process: ProcessSpec,
        *,
        kind: str,
        command: Sequence[str] = (),
        tty: bool = False,
        open_stdin: bool = False,
        extra_labels: Mapping[str, str] | None = None,
    ) -> ContainerSpec:
        """A container like the instances of `process`, in the app's network, for `kind` "release" or "run"."""
        suffix = secrets.token_hex(3)
        return replace(
            self._container_spec(desired.app, desired.app_id, process, desired.network),
            name=f"paas-{desired.app}-{kind}-{suffix}",
            command=tuple(command) or process.command,
            labels={
                **self._labels(desired.app, desired.app_id),
                labels.KIND: kind,
                labels.PROCESS: process.process,
                labels.RELEASE: str(process.release),
                **(extra_labels or {}),
            },
            hostname=f"{kind}-{suffix}",
            tty=tty,
            open_stdin=open_stdin,
        )

    def run_one_off(
        self,
        spec: ContainerSpec,
        *,
        narrate: Callable[[str], None],
        deadline_seconds: float,
        check: Callable[[], None] = lambda: None,
    ) -> Exit:
        """Run a command to its end, telling each line of its output, and leave nothing. Raises TimeoutError past the
        deadline, and what `check` raised; the process is killed then."""
        self._engine.pull(spec.image, registry_token=self._token_for(spec.image))
        container_id = self._engine.create(spec)
        guard = _Guard(self._engine, container_id, deadline_seconds, check)
        try:
            self._engine.start(container_id)
            with guard:
                for line in self._engine.logs(container_id, follow=True):
                    narrate(line.text)
                return self._engine.wait(container_id)
        finally:
            self._remove(container_id)

    # ---------------------------------------------------------------- what containers are made of

    def _labels(self, app: str, app_id: str) -> dict[str, str]:
        return {labels.HOME: self._home, labels.APP: app, labels.APP_ID: app_id}

    def _network_labels(self, app: str, app_id: str) -> Mapping[str, str]:
        return self._labels(app, app_id)

    def _container_spec(self, app: str, app_id: str, process: ProcessSpec, network: str) -> ContainerSpec:
        return ContainerSpec(
            name="",
            image=process.image,
            command=tuple(process.command),
            environment=process.environment,
            labels=self._labels(app, app_id),
            network=network,
            limits=Limits(memory_bytes=process.memory_bytes, cpu_shares=process.cpu_shares, pids=process.pids),
            oci_runtime=process.oci_runtime,
            cgroup_parent=self._cgroup_parent,
            stop_grace_seconds=process.stop_grace_seconds,
        )

    def _instance_spec(self, step: Start) -> ContainerSpec:
        process = step.spec
        own = {
            **self._labels(step.app, step.app_id),
            labels.KIND: labels.INSTANCE,
            labels.PROCESS: process.process,
            labels.INDEX: str(step.index),
            labels.RELEASE: str(process.release),
            labels.SPEC: process.fingerprint(),
            labels.EPOCH: str(step.epoch),
            labels.GRACE: str(process.stop_grace_seconds),
        }
        if process.port:
            own[labels.PORT] = str(process.port)
        if process.bound:
            own[labels.BOUND] = ",".join(dict.fromkeys(f"{each.protocol}/{each.port}" for each in process.bound))
        return replace(
            self._container_spec(step.app, step.app_id, process, step.network),
            name=f"paas-{step.app}-{process.process}-{step.index}-{secrets.token_hex(3)}",
            labels=own,
            environment={**process.environment, "PAAS_INSTANCE": step.instance},
            address=step.address,
            hostname=f"{process.process}-{step.index}",
        )

    # ---------------------------------------------------------------- steps

    def _start(self, step: Start) -> _Started:
        container_id = self._engine.create(self._instance_spec(step))
        try:
            self._engine.start(container_id)
        except BaseException:
            self._engine.remove(container_id)
            raise
        return _Started(step, step.spec, container_id, time.monotonic())

    def _failure(
        self, trial: _Started, id: str, message: str, hint: str, *, log_lines: Sequence[str] | None = None
    ) -> InstanceFailed:
        lines = self._last_lines(trial.container_id) if log_lines is None else log_lines
        return InstanceFailed(message, hint=hint, id=id, instances=[trial.instance], log_lines=lines)

    def _last_lines(self, container_id: str) -> Sequence[str]:
        try:
            return [line.text for line in deque(self._engine.logs(container_id, tail=_LOG_LINES), maxlen=_LOG_LINES)]
        except EngineError:
            return ()

    def _await_healthy(self, trial: _Started, wait: Wait, stop: threading.Event) -> None:
        """Looks often at first, since a ready app should be seen at once, then less and less so. Sets the trial's
        failure when it does not become healthy in time, and then `stop`, so that the others' waits end too."""
        check = wait.spec.health
        deadline = trial.began + check.start_seconds
        if check.kind is CheckKind.UPTIME:
            deadline = max(deadline, trial.began + check.uptime_seconds + 5.0)
        interval = _FIRST_INTERVAL
        inspected = 0.0
        saw = _Saw(patience=check.timeout_seconds)
        while not stop.is_set():
            left = deadline - time.monotonic()
            looks_at_container = check.kind in {CheckKind.UPTIME, CheckKind.IMAGE}
            if not looks_at_container:
                saw.healthy = saw.healthy or self._passes(wait, saw, left)
                if saw.healthy and self._ports_are_open(wait, saw):
                    return
            if looks_at_container or time.monotonic() - inspected >= _INSPECT_INTERVAL:
                inspected = time.monotonic()
                if self._verdict(trial, wait) and self._ports_are_open(wait, saw):
                    return
            if trial.failure is None and left <= 0:
                if check.kind is CheckKind.TCP and saw.status == checks.SILENT and self._ports_are_open(wait, saw):
                    return  # it takes connections; that it is slow to answer is its own affair
                trial.failure = self._too_late(trial, wait, saw)
            if trial.failure is not None:
                if not trial.step.recovers:
                    stop.set()
                return
            stop.wait(interval)
            interval = min(_LONGEST_INTERVAL, interval * _GROWTH)

    def _ports_are_open(self, wait: Wait, saw: _Saw) -> bool:
        """Those that public ports lead to, beside what the health check looks at."""
        saw.closed_port = next((each for each in wait.spec.bound if not self._is_open(wait.address, each, saw)), None)
        return saw.closed_port is None

    def _is_open(self, address: str, bound: BoundPort, saw: _Saw) -> bool:
        if bound.protocol is PortProtocol.UDP:
            return self._takes_datagrams(address, bound.port)
        return self._accepts(address, bound.port, saw.patience)

    def _passes(self, wait: Wait, saw: _Saw, left: float) -> bool:
        """One attempt.

        A taken connection alone proves little: servers that fork listen first and load the app afterwards, in
        workers that may fail to. So the HTTP port is also asked something, and any answer will do."""
        health = wait.spec.health
        port = health.port or wait.spec.port
        timeout = max(0.05, min(saw.patience, left))
        if health.kind is CheckKind.TCP and port != wait.spec.port:
            return self._accepts(wait.address, port, timeout)
        path = health.path or "/"
        status = self._answers(wait.address, port, path, wait.host, timeout)
        if status is None:
            return False
        saw.closed = saw.closed + 1 if status == checks.CLOSED else 0
        saw.status = status
        if health.kind is CheckKind.HTTP:
            return 200 <= status < 400
        if status == checks.SILENT:
            saw.patience *= 2
        return status >= checks.NOT_HTTP or saw.closed >= _CLOSED_ON_PURPOSE

    def _verdict(self, trial: _Started, wait: Wait) -> bool:
        """What the engine says of the container: True when that is enough, a failure when it is over."""
        try:
            container = self._engine.inspect(trial.container_id)
        except ContainerMissing:
            trial.failure = self._failure(
                trial,
                "boot_crashed",
                f"{_title(trial)} disappeared: somebody removed its container.",
                "Deploy again.",
                log_lines=(),
            )
            return False
        if container.state not in {State.RUNNING, State.PAUSED}:
            trial.failure = self._crashed(trial, container)
            return False
        health = wait.spec.health
        if health.kind is CheckKind.UPTIME:
            return time.monotonic() - trial.began >= health.uptime_seconds
        if health.kind is CheckKind.IMAGE:
            if container.health is Health.UNHEALTHY:
                trial.failure = self._failure(
                    trial,
                    "boot_unhealthy",
                    f"{_title(trial)} runs, but the HEALTHCHECK of its image says that it is unhealthy.",
                    "Look at the log below, and run the check's command in the container: paas run",
                )
            return container.health is Health.HEALTHY
        return False

    def _look_once_more(self, trial: _Started) -> None:
        if trial.failure is None:
            container = self._engine.inspect(trial.container_id)
            if container.state not in {State.RUNNING, State.PAUSED}:
                trial.failure = self._crashed(trial, container)

    def _crashed(self, trial: _Started, container: Container) -> InstanceFailed:
        up = (
            (container.finished_at - container.started_at).total_seconds()
            if container.finished_at and container.started_at
            else time.monotonic() - trial.began
        )
        if container.oom_killed:
            limit = trial.spec.memory_bytes // (1024 * 1024)
            return self._failure(
                trial,
                "boot_out_of_memory",
                f"{_title(trial)} ran out of memory after {up:.1f} s: its limit is {limit} MB.",
                f"Raise the memory limit of {trial.spec.process}, or let it start fewer workers and threads.",
            )
        code = container.exit_code or 0
        lines = self._last_lines(container.id)
        message = f"{_title(trial)} exited after {up:.1f} s with code {code}: {exit_meaning(code)}."
        reason = _probable_reason(lines)
        if reason:
            message += f" It said: {reason}"
        hint = (
            f"A {trial.spec.process} process has to keep running in the foreground. Check its command in the Procfile."
            if code in {0, 126, 127}
            else "Fix what its last log lines name, and deploy again."
        )
        return self._failure(trial, "boot_crashed", message, hint, log_lines=lines)

    def _too_late(self, trial: _Started, wait: Wait, saw: _Saw) -> InstanceFailed:
        health = wait.spec.health
        port = health.port or wait.spec.port
        after = f"{health.start_seconds:g} s"
        if saw.closed_port is not None:
            bound = saw.closed_port
            name = bound.protocol.upper()
            message = (
                f"{_title(trial)} runs, but nothing took {name} on its port {bound.port} within {after}; the public "
                f"port {bound.public_port} leads there."
            )
            hint = f"Let that process listen on 0.0.0.0:{bound.port}, then try again."
            return self._failure(trial, "boot_port_closed", message, hint)
        if health.kind is CheckKind.IMAGE:
            message = f"{_title(trial)} runs, but the HEALTHCHECK of its image did not pass within {after}."
            return self._failure(trial, "boot_unhealthy", message, "Is it slow? Raise the check's start period.")
        path = health.path or "/"
        if saw.status is not None and saw.status > checks.NOT_HTTP:
            message = f"{_title(trial)} runs, but GET {path} answered {saw.status} for {after}; 200 to 399 is healthy."
            hint = f"Make {path} answer 200 when the app is ready, or change the path of its health check in app.json."
            return self._failure(trial, "boot_unhealthy", message, hint)
        if saw.status is not None:
            message = f"{_title(trial)} takes connections on port {port}, but GET {path} got no answer within {after}."
            hint = "Does it wait for something, such as a database? Look at the log below."
            return self._failure(trial, "boot_unhealthy", message, hint)
        return self._not_listening(trial, port, after)

    def _not_listening(self, trial: _Started, port: int, after: str) -> InstanceFailed:
        try:
            listeners = self._engine.listening(trial.container_id)
        except EngineError:
            listeners = ()
        bind = f"Bind it to 0.0.0.0 and the port in $PORT ({port})."
        local = [each for each in listeners if each.port == port and _is_loopback(each.address)]
        elsewhere = sorted({each.port for each in listeners if each.port != port})
        if local:
            message = (
                f"{_title(trial)} listens on {local[0].address}:{port} only, which nobody outside of its container "
                "can reach."
            )
        elif elsewhere:
            ports = ", ".join(str(each) for each in elsewhere)
            message = f"{_title(trial)} listens on port {ports}, but not on $PORT, which is {port}; waited {after}."
        else:
            message = f"{_title(trial)} runs, but nothing in it listens on $PORT ({port}) after {after}."
        return self._failure(trial, "boot_no_port", message, bind)


@dataclass(slots=True)
class _Saw:
    """What the attempts so far have got."""

    patience: float  # of one attempt; doubles when there was no answer
    status: int | None = None  # the last one, or a constant of `checks`
    closed: int = 0  # connections in a row that were closed without an answer
    healthy: bool = False  # its check has passed
    closed_port: BoundPort | None = None  # what it is still waited for then


class _Run:
    """One plan under way: what was started, and how to take it back."""

    def __init__(self, applier: Applier, narrate: Callable[[str], None], check: Callable[[], None]) -> None:
        self.applier = applier
        self.engine = applier._engine  # noqa: SLF001 - the two are one thing, cut by lifetime
        self.narrate = narrate
        self.check = check
        self.starts: list[Start] = []
        self.waits: list[Wait] = []
        self.trials: dict[str, _Started] = {}
        self.failed: list[InstanceFailed] = []
        self.seconds: dict[str, float] = {}
        self.switched = False
        self.tried = False

    def started(self) -> Mapping[str, str]:
        return {
            each.instance: each.container_id
            for each in self.trials.values()
            if isinstance(each.step, Start) and each.failure is None
        }

    def do(self, step: object) -> None:
        """Starts and waits are gathered, since all of them go on at the same time; anything else first sees them done."""
        match step:
            case Start():
                self.starts.append(step)
                return
            case Wait():
                self.waits.append(step)
                return
            case Retire() | Remove() | RemoveNetwork():
                return  # after there is no way back
        self.settle()
        self.narrate(str(step))
        match step:
            case EnsureNetwork():
                own = self.applier._network_labels(step.app, step.app_id)  # noqa: SLF001
                self.engine.ensure_network(step.name, subnet=step.subnet, labels=own)
            case SwitchRoute():
                self._switch(step)
            case Bind():
                self._bind(step)
            case Unbind():
                self.applier._router.unbind(step.protocol, step.port)  # noqa: SLF001
            case RemoveRoute():
                self.applier._router.remove(step.app)  # noqa: SLF001

    def settle(self) -> None:
        """Start what is to be started and wait until it is healthy."""
        if self.tried or not (self.starts or self.waits):
            return
        self.tried = True
        self._pull()
        self._start()
        self._wait()

    def _pull(self) -> None:
        began = time.monotonic()
        for image in dict.fromkeys(step.spec.image for step in self.starts):
            self.check()
            self.engine.pull(image, registry_token=self.applier._token_for(image))  # noqa: SLF001
        self.seconds["pull"] = time.monotonic() - began

    def _start(self) -> None:
        began = time.monotonic()
        for step in self.starts:
            self.narrate(str(step))
        errors: list[BaseException] = []

        def start(step: Start) -> None:
            if errors:
                return
            try:
                self.trials[step.instance] = self.applier._start(step)  # noqa: SLF001
            except BaseException as exc:  # noqa: BLE001 - raised again below, once the others have ended
                errors.append(exc)

        _each(start, self.starts)
        if errors:
            raise errors[0]
        self.seconds["start"] = time.monotonic() - began

    def _wait(self) -> None:
        began = time.monotonic()
        for step in self.waits:
            self.narrate(str(step))
            if step.container_id:
                self.trials[step.instance] = _Started(step, step.spec, step.container_id, time.monotonic())
        stop = threading.Event()
        errors: list[BaseException] = []

        def wait(step: Wait) -> None:
            try:
                self.applier._await_healthy(self.trials[step.instance], step, stop)  # noqa: SLF001
            except BaseException as exc:  # noqa: BLE001 - raised again below; lost, it would pass for healthy
                errors.append(exc)
                stop.set()

        threads = [threading.Thread(target=wait, args=(step,), daemon=True) for step in self.waits]
        for thread in threads:
            thread.start()
        try:
            for step, thread in zip(self.waits, threads, strict=True):
                health = step.spec.health
                patience = began + health.start_seconds + health.uptime_seconds + health.timeout_seconds + _MARGIN
                while thread.is_alive() and not stop.is_set():
                    thread.join(0.25)
                    self.check()
                    if time.monotonic() > patience:
                        self._give_up(step)
                        break
        finally:
            stop.set()  # a wait for an answer ends when the container is removed, so nobody waits for it here
        if errors:
            raise errors[0]
        self.seconds["healthy"] = time.monotonic() - began
        self._judge()

    def _give_up(self, step: Wait) -> None:
        """An answer that drips a byte at a time outlives every time-out of the socket's."""
        trial = self.trials[step.instance]
        trial.failure = self.applier._failure(  # noqa: SLF001
            trial,
            "boot_unhealthy",
            f"{_title(trial)} runs, but its answer to the health check never ends.",
            "Make it answer at once, or choose another path for its health check in app.json.",
        )

    def _judge(self) -> None:
        """A failure that may not stand ends it all; one that crashed again is left as it is, to be counted."""
        if len(self.trials) > 1 and not any(each.failure for each in self.trials.values()):
            for each in self.trials.values():
                self.applier._look_once_more(each)  # noqa: SLF001 - it may have ended while others were waited for
        fatal = [each.failure for each in self.trials.values() if each.failure and not each.step.recovers]
        if fatal:
            first = fatal[0]
            first.instances = tuple(name for each in fatal for name in each.instances)
            raise first
        for each in self.trials.values():
            if each.failure is not None:
                self.failed.append(each.failure)
                self._stop(each.container_id)

    def _stop(self, container_id: str) -> None:
        try:
            self.engine.stop(container_id, grace_seconds=_FATAL_GRACE)
        except ContainerMissing:
            return

    def _switch(self, step: SwitchRoute) -> None:
        began = time.monotonic()
        route = step.route
        left = self._without_failed(route.addresses)
        if left != route.addresses:
            state = RouteState.DOWN if route.state is RouteState.UP and not left else route.state
            route = replace(route, addresses=left, state=state)
        try:
            self.applier._router.put(route)  # noqa: SLF001
        except RouterUnavailable:
            self.switched = self.tried  # it may have been applied all the same: take nothing away that it could lead to
            raise
        self.switched = self.tried
        self.seconds["route"] = time.monotonic() - began

    def _bind(self, step: Bind) -> None:
        binding = replace(step.binding, addresses=self._without_failed(step.binding.addresses))
        try:
            self.applier._router.bind(binding)  # noqa: SLF001
        except RouterUnavailable:
            self.switched = self.tried  # as with a route
            raise
        except RouterError as exc:
            if exc.id != "port_taken" or self.switched:
                raise
            raise BootFailed(exc.message, hint=exc.hint, id=exc.id) from exc
        self.switched = self.tried

    def _without_failed(self, addresses: Sequence[str]) -> Sequence[str]:
        """An instance that was live before and failed again takes no traffic; the rest goes on."""
        lost = {wait.address for wait in self.waits if self._has_failed(wait.instance)}
        return tuple(each for each in addresses if each.rpartition(":")[0].strip("[]") not in lost)

    def _has_failed(self, instance: str) -> bool:
        trial = self.trials.get(instance)
        return trial is not None and trial.failure is not None

    def undo(self) -> None:
        if self.switched:
            return
        for each in self.trials.values():
            if each.step.recovers:
                continue
            try:
                self.applier._remove(each.container_id)  # noqa: SLF001
            except EngineError:
                log.warning("leftover_not_removed", extra={"container": each.container_id}, exc_info=True)


class _Guard:
    """Kills a container past its deadline, or when `check` raises, and raises that in place of how it ended."""

    def __init__(self, engine: Engine, container_id: str, deadline_seconds: float, check: Callable[[], None]) -> None:
        self._engine = engine
        self._container_id = container_id
        self._deadline_seconds = deadline_seconds
        self._check = check
        self._over = threading.Event()
        self._reason: Exception | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._reason is not None:
            raise self._reason

    def _watch(self) -> None:
        deadline = time.monotonic() + self._deadline_seconds
        while not self._over.wait(max(0.0, min(0.5, deadline - time.monotonic()))):
            try:
                self._check()
            except Exception as exc:  # noqa: BLE001 - it is raised again where the caller waits
                self._reason = exc
            if self._reason is None and time.monotonic() >= deadline:
                self._reason = TimeoutError(f"It was still running after {self._deadline_seconds:g} s.")
            if self._reason is not None:
                try:
                    self._engine.kill(self._container_id)
                except EngineError:
                    log.warning("kill_failed", extra={"container": self._container_id}, exc_info=True)
                return


def _each(work: Callable[[T], None], items: Sequence[T]) -> None:
    """A few at a time; one alone needs no thread."""
    if len(items) < 2:
        for item in items:
            work(item)
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(work, items))


def _title(trial: _Started) -> str:
    return f"{trial.instance} of v{trial.spec.release}"


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def exit_meaning(code: int) -> str:
    """What an exit code says, in words."""
    match code:
        case 0:
            return "it ended by itself, without an error"
        case 1 | 2:
            return "an error that the program reports itself"
        case 126:
            return "its command is not executable"
        case 127:
            return "its command was not found"
        case _ if code > 128:
            try:
                name = signal.Signals(code - 128).name
            except ValueError:
                return "a code of the program's own"
            return {
                "SIGKILL": "it was killed",
                "SIGTERM": "it was told to stop",
                "SIGSEGV": "it crashed with a segmentation fault",
                "SIGABRT": "it aborted",
            }.get(name, f"it was ended by {name}")
        case _:
            return "a code of the program's own"


def _probable_reason(lines: Iterable[str]) -> str:
    """The last line that looks like the reason: the end of a traceback, else a shell's complaint."""
    backwards = [line.strip() for line in reversed(list(lines))]
    found = next((text for text in backwards if _EXCEPTION.match(text)), "")
    telling = ("error", "exception", "not found", "no such file", "cannot", "permission denied", "refused", "missing")
    found = found or next((text for text in backwards if any(word in text.lower() for word in telling)), "")
    return found if len(found) <= 200 else f"{found[:200]}…"
