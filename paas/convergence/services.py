"""`converge(app)` is the only verb that changes what runs. Idempotent, level-triggered, one at a time per app."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from paas.apps.models import App
from paas.apps.selectors import repository_path
from paas.builds import services as builds
from paas.builds.log import BuildLog, log_path
from paas.builds.models import ACTIVE, Build, BuildStatus
from paas.convergence.events import tell_instance
from paas.convergence.models import Instance, InstanceState, Retirement
from paas.convergence.oneoff import one_off_container
from paas.convergence.selectors import labels_of
from paas.convergence.spec import app_spec
from paas.core import applog
from paas.core.queue import send
from paas.core.redis import (
    Lease,
    LeaseLost,
    announce_change,
    count_up,
    forget_count,
    lease,
    remember,
    signal,
    take_turn,
)
from paas.pipelines import services as pipelines
from paas.releases import services as releases
from paas.releases.models import UNFINISHED, Image, Release
from paas.releases.selectors import current_release, wished_release, wished_releases
from paas.releases.tags import unpublished_tags
from paas.wiring import DRAIN_SECONDS, applier, engine, registry, router
from runtime.engine.api import Container, State
from runtime.errors import BootFailed, ContainerMissing, ManifestUnknown, PlatformError, RegistryError, Retryable
from runtime.logs.mask import secrets_of
from runtime.reconcile import spec as labels
from runtime.reconcile.apply import InstanceFailed, Outcome, exit_meaning
from runtime.reconcile.observe import InstanceMemory, Observation, Observed, observe, remember_crash
from runtime.reconcile.plan import Plan, Retire, plan
from runtime.reconcile.spec import AppSpec
from runtime.router.api import PortProtocol

log = structlog.get_logger()

RELEASE_COMMAND_SECONDS = 900.0
RELEASE_DEADLINE = timedelta(minutes=20)
ONE_OFF_DEADLINE = timedelta(hours=24)
RETRY_SECONDS = 3.0
LONGEST_RETRY_SECONDS = 60.0
LAST_GRACE_SECONDS = 5
MAX_LOOKS = 5
SWEPT = "paas:swept"  # when the last sweep was, and how long it took, for the host page


def converge(app_id: str) -> None:
    """Bring one app to where its rows say. When somebody is at it already, they look again when they are done."""

    def look(held: Lease) -> None:
        try:
            _look(app_id, held)
            forget_count(f"failed:{app_id}")
        except PlatformError as exc:
            failures = count_up(f"failed:{app_id}", lifetime_seconds=600)
            trace = None if isinstance(exc, Retryable) else exc
            log.warning("converge_failed", app_id=app_id, error=exc.id, message=exc.message, exc_info=trace)
            send("convergence.converge", app_id, countdown=retry_pause(failures))

    try:
        take_turn(f"again:{app_id}", look, lock=f"app:{app_id}")
    except LeaseLost:
        log.warning("lease_lost", app_id=app_id)


def retry_pause(failures: int) -> float:
    """Seconds before the next try, when it is not the app's fault: the engine, the registry or the router."""
    return float(min(LONGEST_RETRY_SECONDS, RETRY_SECONDS * 2 ** min(failures - 1, 10)))


def home() -> str:
    return str(settings.ENV.home)


def _look(app_id: str, held: Lease) -> None:
    for _ in range(MAX_LOOKS):
        app = App.objects.filter(pk=app_id).first()
        if app is None:
            return
        generation = app.generation
        if app.destroyed_at is not None:
            _take_down(app, held)
            return
        release = wished_release(app)
        if release is None or release.is_finished:
            _keep(app, release, held)
        else:
            _roll_out(app, release, held)
        if App.objects.filter(pk=app.pk).exclude(observed_generation=generation).update(observed_generation=generation):
            announce_change(app.pk)
        app.refresh_from_db()
        if app.generation == generation and wished_release(app) == current_release(app):
            return


def retire(  # noqa: PLR0917 - a message to the queue is a list
    app_id: str,
    app_name: str,
    container_id: str,
    address: str,
    grace_seconds: int,
    bound: Sequence[Sequence[str]] = (),
) -> None:
    """The second half of a switch: drain, stop, remove. Whoever comes second finds nothing to do."""
    if not Retirement.objects.filter(container_id=container_id).exists():
        return
    ends = [(PortProtocol(protocol), endpoint) for protocol, endpoint in bound]
    applier().retire(container_id, app=app_name, address=address, grace_seconds=grace_seconds, bound=ends)
    Retirement.objects.filter(container_id=container_id).delete()
    log.info("instance_retired", app=app_name, app_id=app_id, container=container_id[:12])


def sweep() -> None:
    """Look at everything at once: one list of the engine's containers, whatever their number."""
    with lease("sweep") as held:
        if held is not None:
            began = time.monotonic()
            try:
                _sweep()
            except PlatformError as exc:
                log.warning("sweep_failed", error=exc.id, message=exc.message)
            else:
                remember(SWEPT, {"at": time.time(), "seconds": round(time.monotonic() - began, 3)})


def _sweep() -> None:
    builds.take_up_lost_builds()
    pipelines.take_up_lost_promotions()
    _publish_tags()
    router().rotate_logs()
    observation = observe(engine(), router(), home=home())
    wished = wished_releases()
    known = set()
    for app in App.objects.all().prefetch_related("scales", "restarts", "domains", "instances", "retirements"):
        known.add(str(app.pk))
        if app.destroyed_at is not None:
            send("convergence.converge", str(app.pk))
            continue
        try:
            _check_course(app, wished.get(app.pk), observation)
        except Exception:  # one app must not keep the others from being looked after
            log.exception("app_not_swept", app=app.name)
    _remove_strays(observation, known)


def _publish_tags() -> None:
    """Those of which the registry should have heard by now: it was away, or the message was lost."""
    waiting = unpublished_tags().filter(updated_at__lt=timezone.now() - timedelta(minutes=1))
    for app_id in waiting.order_by().values_list("app", flat=True).distinct():
        send("releases.publish_tags", str(app_id))


def _check_course(app: App, release: Release | None, observation: Observation) -> None:
    desired = app_spec(app, release)
    steps = plan(desired, _observed(app, desired, observation), now=timezone.now())
    if steps or (release is not None and not release.is_finished):
        log.info("app_off_course", app=app.name, steps=[str(step) for step in steps.steps])
        send("convergence.converge", str(app.pk))


def _remove_strays(observation: Observation, known: set[str]) -> None:
    """What is ours but belongs to nobody: apps that are gone, builds and release commands whose worker died."""
    for app_id in observation.app_ids - known:
        for instance in observation.instances.get(app_id, ()):
            log.warning("stray_removed", container=instance.container.name)
            engine().remove(instance.container.id)
    for container in observation.others:
        if _is_stray(container, known):
            log.warning("stray_removed", container=container.name)
            engine().remove(container.id)
    for name, network in observation.networks.items():
        owner = network.labels.get(labels.APP_ID)
        if owner is not None and owner not in known:
            with suppress(PlatformError):
                engine().remove_network(name)
    names = set(App.objects.values_list("slug", flat=True))
    for binding in observation.bindings.values():
        if binding.app not in names:
            router().unbind(binding.protocol, binding.port)
    for app_name in set(observation.routes) - names:
        router().remove(app_name)


def _is_stray(container: Container, known: set[str]) -> bool:
    kind = container.labels.get(labels.KIND)
    app_id = container.labels.get(labels.APP_ID, "")
    age = timezone.now() - container.created_at if container.created_at else timedelta()
    if app_id not in known:
        return age > timedelta(minutes=1)
    if kind == "build":
        return not Build.objects.filter(app_id=app_id, status=BuildStatus.BUILDING).exists()
    if kind == "release":
        return not Release.objects.filter(app_id=app_id, status__in=UNFINISHED).exists()
    return age > ONE_OFF_DEADLINE


def _keep(app: App, release: Release | None, held: Lease) -> None:
    """What is live stays as it should be: crashed instances come back, surplus ones go, routes are right."""
    desired = app_spec(app, release)
    steps = _plan(app, desired)
    memory = dict(steps.memory)
    try:
        if steps:
            outcome = _apply(
                app, steps, narrate=lambda line: log.info("converged", app=app.name, step=line), check=held.check
            )
            for failure in outcome.failed:
                log.warning("instance_failed", app=app.name, instances=failure.instances, error=failure.id)
    except InstanceFailed as exc:
        log.warning("instance_failed", app=app.name, instances=exc.instances, error=exc.id)
        _count_failures(desired, exc, memory)
    except BootFailed as exc:  # a public port that another process has
        log.warning("converge_failed", app=app.name, error=exc.id, message=exc.message)
    _write_down(app, desired, memory)
    _look_again(app, steps, memory)


def _roll_out(app: App, release: Release, held: Lease) -> None:
    """An unfinished release becomes the current one, or fails and everything stays as it was."""
    if not releases.start_release(release):
        return
    announce_change(app.pk)
    out = _release_log(release)
    check = partial(_check, release, held)
    desired = app_spec(app, release)
    memory: dict[str, InstanceMemory] = {}
    try:
        if release.started_at and timezone.now() - release.started_at > RELEASE_DEADLINE:
            raise BootFailed(
                f"v{release.version} was not live after {int(RELEASE_DEADLINE.total_seconds() / 60)} minutes.",
                hint="See the platform's log for what held it up, then push again.",
                id="release_timeout",
            )
        out.write(f"-----> Releasing v{release.version}")
        _run_release_command(app, release, desired, out, check)
        steps = _plan(app, desired)
        memory = dict(steps.memory)
        _apply(app, steps, narrate=lambda line: out.write(f"       {line}"), check=check)
        if releases.finish_release(release):
            log.info("release_succeeded", app=app.name, release=release.version)
            applog.say(app.pk, app.name, "release", f"v{release.version} is live", release=release.version)
        else:
            send("convergence.converge", str(app.pk))  # stopped at the last moment: back to what is current
    except BootFailed as exc:
        if isinstance(exc, InstanceFailed):
            for line in exc.log_lines:
                out.write(f"       | {line}")
        exc.message, exc.hint = out.mask(exc.message), out.mask(exc.hint)  # it may quote what the app printed
        releases.fail_release(release, exc)
        log.info("release_failed", app=app.name, release=release.version, error=exc.id)
        words = f"v{release.version} failed: {exc.message.splitlines()[0] if exc.message else exc.id}"
        applog.say(app.pk, app.name, "release", words, release=release.version)
    except PlatformError as exc:
        if isinstance(exc, Retryable):
            out.write(f" !     {exc.message} Trying again.")
        else:
            releases.fail_release(release, exc)
        raise
    finally:
        signal(f"release:{release.pk}")
        announce_change(app.pk)
        out.close()
    release.refresh_from_db()
    app.refresh_from_db()
    live = current_release(app)
    if live is None or live.image is None:
        with suppress(PlatformError):  # a one-off run may be in it
            engine().remove_network(app.network)
    _write_down(app, app_spec(app, live), memory if live == release else {})


def _plan(app: App, desired: AppSpec) -> Plan:
    # Whoever retired these is too late now: what is still there is planned for like everything else.
    app.retirements.filter(deadline__lte=timezone.now()).delete()
    observation = observe(engine(), router(), home=home(), app_id=str(app.pk))
    return plan(desired, _observed(app, desired, observation), now=timezone.now())


def _apply(app: App, steps: Plan, *, narrate: Callable[[str], None], check: Callable[[], None]) -> Outcome:
    return applier().apply(steps, narrate=narrate, retire=partial(_send_retire, app), check=check)


def _observed(app: App, desired: AppSpec, observation: Observation) -> Observed:
    memory = {
        str(row): InstanceMemory(row.crash_version, row.crashes, row.crash_container_id, row.not_before)
        for row in app.instances.all()
    }
    retiring = {row.container_id: row.deadline for row in app.retirements.all()}
    return observation.of(desired, memory=memory, retiring=retiring)


def _send_retire(app: App, step: Retire) -> None:
    """In the background: nobody waits for an old instance to finish. The row keeps others from trying as well."""
    deadline = timezone.now() + timedelta(seconds=DRAIN_SECONDS + step.grace_seconds + 15)
    Retirement.objects.update_or_create(container_id=step.container_id, defaults={"app": app, "deadline": deadline})
    send("convergence.retire", str(app.pk), app.slug, step.container_id, step.endpoint, step.grace_seconds, step.bound)


def _check(release: Release, held: Lease) -> None:
    """Called while waiting: stop when the release was cancelled, or when the lock is no longer ours."""
    held.check()
    status, gone = Release.objects.values_list("status", "app__destroyed_at").get(pk=release.pk)
    if gone is not None:
        raise BootFailed("The app was destroyed.", id="app_destroyed")
    if status not in UNFINISHED:
        raise BootFailed(f"v{release.version} was stopped: it is {status}.", id="release_stopped")


def _release_log(release: Release) -> BuildLog:
    """The log of the build that made it, so that the pusher sees the release too; one of its own otherwise."""
    build = Build.objects.filter(release=release, status__in=ACTIVE).first()
    return BuildLog(build.pk if build else release.pk, secrets_of(release.config))


def _run_release_command(app: App, release: Release, desired: AppSpec, out: BuildLog, check: Callable[[], None]) -> None:
    """Once per release, in the new image with the new config, before anything of it is started."""
    if not release.release_command or release.command_done_at is not None or release.image is None:
        return
    out.write(f"-----> Running the release command: {release.release_command}")
    applier().ensure_network(desired)
    for earlier in engine().list(labels_of(app, "release")):
        engine().remove(earlier.id)  # of a worker that died: two at once would be worse than none
    container = one_off_container(app, release, release.release_command, kind="release")
    try:
        end = applier().run_one_off(
            container,
            narrate=lambda line: out.write(f"       {line}"),
            deadline_seconds=RELEASE_COMMAND_SECONDS,
            check=check,
        )
    except TimeoutError as exc:
        raise BootFailed(
            f"The release command was still running after {RELEASE_COMMAND_SECONDS:g} s and was stopped.",
            hint="Make it shorter, or run it by hand: paas run",
            id="release_command_timeout",
        ) from exc
    if end.code != 0:
        why = "it ran out of memory" if end.oom_killed else exit_meaning(end.code)
        raise BootFailed(
            f"The release command exited with {end.code}: {why}.",
            hint="Its output is above. Correct it and push again; the release before this one goes on running.",
            id="release_command_failed",
        )
    releases.mark_command_done(release)


def _count_failures(desired: AppSpec, failure: InstanceFailed, memory: dict[str, InstanceMemory]) -> None:
    """Instances of the live release that would not come up: tried again later and later."""
    fingerprints = {spec.process: spec.fingerprint() for spec in desired.processes}
    for name in failure.instances:
        process, _, index = name.rpartition(".")
        version = f"{fingerprints.get(process, '')}/{desired.epoch_of(process, int(index))}"
        memory[name] = remember_crash(memory.get(name, InstanceMemory()), version=version, at=timezone.now())


def _write_down(app: App, desired: AppSpec, memory: Mapping[str, InstanceMemory]) -> None:
    """The instances as people see them. Rows of instances nobody wants any more go."""
    observation = observe(engine(), router(), home=home(), app_id=str(app.pk))
    found = {
        (each.process, each.index): each
        for each in sorted(observation.instances.get(str(app.pk), ()), key=lambda each: (each.is_running, each.release))
        if each.release == desired.release
    }
    before = {(row.process, row.index): row for row in app.instances.all()}
    told = {key: _told(row) for key, row in before.items()}
    wanted = {(spec.process, index) for spec in desired.processes for index in range(1, spec.quantity + 1)}
    now: dict[tuple[str, int], tuple[object, ...]] = {}
    for key in wanted:
        row = before.pop(key, None) or Instance(app=app, process=key[0], index=key[1])
        remembered = memory.get(f"{key[0]}.{key[1]}", InstanceMemory())
        each = found.get(key)
        container = each.container if each else None
        was = row.container_id, row.state
        row.release_version = desired.release
        row.container_id = container.id if container else ""
        row.address = each.endpoint if each else ""
        row.state, row.reason = _state(container, remembered)
        if (row.container_id, row.state) != was:
            row.since = (container.finished_at or container.created_at if container else None) or timezone.now()
        row.crash_version, row.crashes = remembered.version, remembered.crashes
        row.crash_container_id, row.not_before = remembered.container_id, remembered.not_before
        now[key] = _told(row)
        with transaction.atomic():
            row.save()
            if now[key] != told.get(key):
                was_known = key in told
                tell_instance(app, row, "update" if was_known else "create", previous=_moved(row, told.get(key)))
        if now[key] != told.get(key):
            words = f"{row.state}: {row.reason}" if row.reason else str(row.state)
            applog.say(app.pk, app.name, str(row), f"State changed to {words}", release=desired.release)
    for row in before.values():
        with transaction.atomic():
            tell_instance(app, row, "destroy")
            row.delete()
    if now != told:
        announce_change(app.pk)


def _moved(row: Instance, told: tuple[object, ...] | None) -> dict[str, object]:
    """What listeners are told it was before."""
    if told is None:
        return {}
    release, _container, state, _reason = told
    before = {"state": state, "release": {"version": release}}
    return before if row.release_version != release else {"state": state}


def _told(row: Instance) -> tuple[object, ...]:
    """What people see of it."""
    return row.release_version, row.container_id, row.state, row.reason


def _state(container: Container | None, memory: InstanceMemory) -> tuple[InstanceState, str]:
    if container is not None and container.state is State.RUNNING:
        return InstanceState.UP, ""
    again = (
        f"; crashed {memory.crashes} times, the next try is at {memory.not_before:%H:%M:%S} UTC"
        if memory.not_before
        else ""
    )
    if container is not None and container.exit_code is not None:
        why = (
            "ran out of memory"
            if container.oom_killed
            else f"exited with {container.exit_code}, {exit_meaning(container.exit_code)}"
        )
        return InstanceState.CRASHED, why + again
    return (InstanceState.CRASHED, f"did not come up{again}") if memory.not_before else (InstanceState.STARTING, "")


def _look_again(app: App, steps: Plan, memory: Mapping[str, InstanceMemory]) -> None:
    """A crashed instance is due before the next sweep may come."""
    due = [each.not_before for each in memory.values() if each.not_before]
    due += [steps.look_again_at] if steps.look_again_at else []
    now = timezone.now()
    later = [moment for moment in due if moment > now]
    if later:
        send("convergence.converge", str(app.pk), countdown=(min(later) - now).total_seconds() + 0.05)


def _stop_now(container_id: str) -> None:
    """Without draining, and with a short grace: nobody will miss what it was about to do."""
    with suppress(ContainerMissing):
        engine().stop(container_id, grace_seconds=LAST_GRACE_SECONDS)
        engine().remove(container_id)


def _take_down(app: App, held: Lease) -> None:
    """A destroyed app: its builds, instances, route, network, images, repository and rows, in this order."""
    active = Build.objects.filter(app=app, status__in=ACTIVE)
    active.update(cancel_requested_at=timezone.now())
    for build in active:
        signal(f"cancel:{build.pk}")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and active.filter(status=BuildStatus.BUILDING).exists():
        held.check()
        time.sleep(0.1)
    desired = dataclasses.replace(app_spec(app, None), deleted=True)
    observation = observe(engine(), router(), home=home(), app_id=str(app.pk))
    for container in observation.others:
        engine().remove(container.id)
    applier().apply(
        plan(desired, observation.of(desired), now=timezone.now()),
        narrate=lambda line: log.info("converged", step=line),
        retire=lambda step: _stop_now(step.container_id),
    )
    for image in Image.objects.filter(app=app):
        with suppress(ManifestUnknown):
            try:
                registry().delete_manifest(image.repository, image.digest)
            except RegistryError as exc:
                log.warning("image_not_deleted", app=app.name, digest=image.digest, reason=exc.message)
    shutil.rmtree(repository_path(app), ignore_errors=True)
    for log_id in [*app.builds.values_list("pk", flat=True), *app.releases.values_list("pk", flat=True)]:
        log_path(log_id).unlink(missing_ok=True)
    name = app.name
    announce_change(app.pk)
    applog.forget(app.pk)
    app.delete()
    log.info("app_destroyed", app=name)
