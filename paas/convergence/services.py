"""`converge(app)` is the only verb that changes what runs. Idempotent, level-triggered, one at a time per app."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from celery import current_app as queue
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from paas.apps.models import App
from paas.apps.selectors import repository_path
from paas.builds import services as builds
from paas.builds.log import BuildLog, log_path, masked, secrets_of
from paas.builds.models import ACTIVE, Build
from paas.convergence.models import Instance, InstanceState, Retirement
from paas.convergence.selectors import labels_of
from paas.convergence.spec import app_spec, environment
from paas.core.redis import Lease, client, lease, signal
from paas.releases import services as releases
from paas.releases.models import UNFINISHED, Release, ReleaseStatus
from paas.releases.selectors import current_release, wished_release
from paas.wiring import engine, image_reference, registry, router
from runtime.engine.api import Container, ContainerSpec, Limits
from runtime.errors import BootFailed, Failure, PlatformError, RegistryError, RouterError
from runtime.reconcile import spec as labels
from runtime.reconcile.apply import Applier, Outcome
from runtime.reconcile.observe import InstanceMemory, Observation, Observed, observe
from runtime.reconcile.plan import Plan, plan

log = structlog.get_logger()

RETIRE_SECONDS = 30  # for requests in flight
RELEASE_COMMAND_SECONDS = 900
RELEASE_DEADLINE = timedelta(minutes=20)
MAX_LOOKS = 5


def converge(app_id: str) -> None:
    """Bring one app to where its rows say. When somebody is at it already, they look again when they are done."""
    again = f"paas:again:{app_id}"
    client().set(again, 1, ex=600)
    while client().exists(again):
        with lease(f"app:{app_id}") as held:
            if held is None:
                return
            while client().getdel(again):
                with structlog.contextvars.bound_contextvars(app=app_id):
                    _look(app_id, held)


def home() -> str:
    return str(settings.ENV.home)


def is_ours(container_labels: Mapping[str, str]) -> bool:
    return container_labels.get(labels.HOME) == home()


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
        App.objects.filter(pk=app.pk).update(observed_generation=generation)
        app.refresh_from_db()
        if app.generation == generation and wished_release(app) == current_release(app):
            return


def _keep(app: App, release: Release | None, held: Lease) -> None:
    """What is live stays as it should be: crashed instances come back, surplus ones go, routes are right."""
    outcome = _apply(app, release, held, narrate=lambda line: log.info("converged", step=line))
    if outcome.failures:
        log.warning("instances_failed", app=app.name, reasons=[failure.message for failure in outcome.failures])


def _roll_out(app: App, release: Release, held: Lease) -> None:
    """An unfinished release becomes the current one, or fails and everything stays as it was."""
    if not releases.start_release(release):
        return
    out = _release_log(release)
    try:
        if release.started_at and timezone.now() - release.started_at > RELEASE_DEADLINE:
            raise BootFailed(
                f"v{release.version} was not live after {int(RELEASE_DEADLINE.total_seconds() / 60)} minutes.",
                hint="See the instances' logs, then push again.",
                id="release_timeout",
            )
        out.write(f"-----> Releasing v{release.version}")
        _run_release_command(app, release, out, held)
        _apply(app, release, held, narrate=lambda line: out.write(f"       {line}"))
        releases.finish_release(release)
        log.info("release_succeeded", app=app.name, release=release.version)
    except BootFailed as exc:
        for line in exc.log_lines if hasattr(exc, "log_lines") else ():
            out.write(f"       | {line}")
        releases.fail_release(release, exc)
        log.info("release_failed", app=app.name, release=release.version, error=exc.id)
    except PlatformError as exc:
        log.exception("release_broke", app=app.name, release=release.version)
        if not _may_pass(exc):
            releases.fail_release(release, exc)
        raise
    finally:
        out.close()
        signal(f"release:{release.pk}")


def _may_pass(exc: PlatformError) -> bool:
    from runtime.errors import Retryable

    return isinstance(exc, Retryable)


def _check(release: Release, held: Lease) -> None:
    """Called while waiting: stop when the release was cancelled, or when the lock is no longer ours."""
    held.check()
    status = Release.objects.values_list("status", flat=True).get(pk=release.pk)
    if status not in UNFINISHED:
        raise BootFailed(f"v{release.version} was stopped: it is {status}.", id="release_stopped")
