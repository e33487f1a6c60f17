"""Start builds, run them, cancel them, take up those whose worker died. The job, not the push, finishes the push."""

from __future__ import annotations

import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Max
from django.utils import timezone

from paas.accounts.models import User
from paas.apps.models import App
from paas.apps.selectors import named_buildpacks, repository_path, url
from paas.builds.events import tell_build
from paas.builds.images import adopt, find_pushed
from paas.builds.log import BuildLog, log_path
from paas.builds.models import ACTIVE, Build, BuildStatus
from paas.builds.selectors import refusal
from paas.builds.sources import blob_of, opened_source
from paas.core import audit
from paas.core.queue import send
from paas.core.redis import Waiter, announce_change, signal
from paas.releases import services as releases
from paas.releases.exclusion import pushing
from paas.releases.models import UNFINISHED, Image, Release, ReleaseStatus
from paas.releases.selectors import wished_release
from paas.releases.tags import set_tag
from paas.wiring import builder, engine
from runtime.builder.api import BuildLimits, BuildRequest, BuildResult
from runtime.errors import BuildCancelled, BuildFailed, Conflict, Failure, InvalidInput, UserError
from runtime.git import repository as git
from runtime.git.api import Push, RefUpdate
from runtime.git.text import plain, short_commit
from runtime.logs.mask import secrets_of
from runtime.reconcile.spec import APP, APP_ID, HOME, KIND

log = structlog.get_logger()

CLAIM_SECONDS = 20  # with the sweep every 30 s, a build whose worker died goes on within a minute
MAX_ATTEMPTS = 3
CLAIM_LOST = "claim_lost"
MAX_REASON = 4000
MAX_URL = 4000
CHECKSUM = re.compile(r"(?:[Ss][Hh][Aa]256:)?[0-9A-Fa-f]{64}")
# The queue hands out more: a build that waits for its release to boot takes no machine time from the others.
_building = threading.BoundedSemaphore(2)
WORKER = socket.gethostname()[:30]


def start_push_build(app: App, push: Push, *, by: User, received_seconds: float) -> Build:
    """The pack waits in quarantine; from here on the job owns it. Waiting builds of the app are superseded."""
    commit = git.commit_message(push.repository, push.quarantine, push.update.new)
    return _start(
        app,
        {"commit": push.update.new, "author": commit.author},
        by=by,
        ref=push.update.ref,
        old=push.update.old,
        new=push.update.new,
        quarantine=str(push.quarantine or ""),
        shallow=list(push.shallow),
        commit_subject=commit.subject[:200],
        seconds={"received": round(received_seconds, 3)},
    )


def start_archive_build(
    app: App,
    *,
    url: str,
    by: User,
    version: str = "",
    description: str = "",
    checksum: str = "",
    buildpacks: Sequence[str] = (),
) -> Build:
    """Of an archive that was uploaded to us, or that is to be fetched from elsewhere; everything else is as with a push,
    but for the branch, which stays where it is. Raises `InvalidInput` or `NotFound`."""
    blob = blob_of(url)
    if blob is None and (not url.startswith(("https://", "http://")) or len(url) > MAX_URL):
        raise InvalidInput(
            "The source of a build is an archive at an https URL.",
            hint="Say where it is, or upload it: POST /sources gives the address for that.",
            id="invalid_source",
        )
    if checksum and not CHECKSUM.fullmatch(checksum):
        raise InvalidInput(
            f"{checksum[:80]!r} is no checksum of an archive.", hint="Write it as SHA256: and 64 hex digits.",
            id="invalid_checksum",
        )  # fmt: skip
    version = plain(version)[:64]
    return _start(
        app,
        {"commit": version},
        by=by,
        new=version,
        commit_subject=plain(description)[:200],
        source_blob=blob,
        source_url=url,
        checksum=checksum,
        buildpacks=named_buildpacks(buildpacks),
    )


def start_image_build(app: App, images: Mapping[str, str], *, by: User) -> Build:
    """Nothing is built: it is the release of images that were pushed, by process type the id that docker has for each.
    Raises `NotFound` or `InvalidInput`."""
    found = {process: find_pushed(app, process, image_id) for process, image_id in sorted(images.items())}
    names = ", ".join(f"{process} {digest.removeprefix('sha256:')[:12]}" for process, digest in found.items())
    return _start(app, {"images": found}, by=by, pushed_images=found, commit_subject=f"images {names}"[:200])


def wait_until_released(build: Build, seconds: float) -> None:
    """For who asked for it and can say at once what was wrong. Returns when there is a release, or the time is over.
    Raises what the build failed with."""
    waiter = Waiter(f"build:{build.pk}")
    deadline = time.monotonic() + seconds
    while build.release_id is None and not build.is_finished and time.monotonic() < deadline:
        waiter.wait(min(1.0, seconds))
        build.refresh_from_db()
    if build.is_finished and build.status != BuildStatus.SUCCEEDED:
        raise UserError(build.reason, hint=build.hint, id=build.error_id or "build_failed")


def _start(app: App, detail: Mapping[str, Any], *, by: User, **fields: Any) -> Build:
    """In the queue it goes, and takes the place of those that wait there."""
    with transaction.atomic():
        App.objects.select_for_update().get(pk=app.pk)
        waiting = list(app.builds.filter(status=BuildStatus.PENDING))
        number = (app.builds.aggregate(last=Max("number"))["last"] or 0) + 1
        build = Build.objects.create(app=app, number=number, created_by=by, **fields)
        audit.record("build.create", by=by, app_id=app.id, app_name=app.name, number=number, **detail)
        tell_build(build, "create")
    BuildLog(build.pk).close()
    for old in waiting:
        _end_waiting(old, BuildStatus.SUPERSEDED, f"Build {number} with a newer {_what(build)} took its place.")
    announce_change(app.pk)
    send("builds.run_build", str(build.pk))
    log.info("build_created", app=app.name, build=number, commit=build.new)
    return build


def _what(build: Build) -> str:
    return "push" if build.is_push else "image" if build.pushed_images else "archive"


def cancel_build(build: Build, *, by: User) -> None:
    """A waiting one ends at once, a running one when its container is dead. Raises `Conflict` when it is over."""
    if build.is_finished:
        raise Conflict(f"Build {build.number} is over: it {build.status}.", id="build_finished")
    audit.record("build.cancel", by=by, app_id=build.app_id, app_name=build.app.name, number=build.number)
    Build.objects.filter(pk=build.pk).update(cancel_requested_at=timezone.now())
    if not _end_waiting(build, BuildStatus.CANCELLED, f"Cancelled by {by.email}."):
        signal(f"cancel:{build.pk}")
        announce_change(build.app_id)


@transaction.atomic
def clear_build_cache(app: App, *, by: User) -> None:
    """The app's next build makes everything anew, and so do those after it until one has succeeded."""
    App.objects.filter(pk=app.pk).update(cache_cleared_at=timezone.now())
    audit.record("app.cache_clear", by=by, app_id=app.id, app_name=app.name)


def run_build(build_id: str) -> None:
    """Returns at once when somebody else has it, or when another build of the app is running (that one wakes us)."""
    build = _claim(build_id)
    if build is None:
        return
    with (
        structlog.contextvars.bound_contextvars(app=build.app.name, build=build.number),
        audit.resumed("build.create", app_id=build.app_id, number=build.number),
    ):
        claim = _Claim(build)
        try:
            _run(build, claim)
        finally:
            claim.release()
            _start_next(build.app)


def take_up_lost_builds() -> int:
    """For the sweep: builds whose worker died, and waiting ones whose message was lost."""
    now = timezone.now()
    lost = Build.objects.filter(status=BuildStatus.BUILDING, claimed_until__lt=now)
    stale = Build.objects.filter(status=BuildStatus.PENDING, created_at__lt=now - timedelta(seconds=20))
    count = 0
    for build in [*lost, *stale]:
        if build.status == BuildStatus.PENDING and build.app.builds.filter(status=BuildStatus.BUILDING).exists():
            continue
        log.warning("build_taken_up", app=build.app.name, build=build.number, status=build.status)
        send("builds.run_build", str(build.pk))
        count += 1
    return count


def push_of(build: Build) -> Push:
    return Push(
        repository=repository_path(build.app),
        quarantine=Path(build.quarantine) if build.quarantine else None,
        update=RefUpdate(build.ref, build.old, build.new),
        shallow=tuple(build.shallow),
    )


class _Claim:
    """Renews the claim while we work, and tells when it, or the build, is no longer ours."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.started = self._renewed = time.monotonic()
        self.deadline = self.started + settings.ENV.build_timeout_seconds
        self.lost = self.cancelled = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name=f"claim {build.pk}")
        self._thread.start()

    def _renew(self) -> None:
        cancel = Waiter(f"cancel:{self.build.pk}")
        renew_at = time.monotonic() + CLAIM_SECONDS / 3
        try:
            while not self._done.is_set():
                if cancel.wait(1) or time.monotonic() >= renew_at:
                    renew_at = time.monotonic() + CLAIM_SECONDS / 3
                    self._look()
        finally:
            connection.close()

    def _look(self) -> None:
        began = time.monotonic()
        try:
            mine = Build.objects.filter(pk=self.build.pk, status=BuildStatus.BUILDING, claimed_by=self.build.claimed_by)
            if mine.update(claimed_until=timezone.now() + timedelta(seconds=CLAIM_SECONDS)):
                self._renewed = began
            else:
                self.lost = True
            self.cancelled = Build.objects.filter(pk=self.build.pk, cancel_requested_at__isnull=False).exists()
        except DatabaseError as exc:
            log.warning("claim_not_renewed", reason=str(exc))  # the next look may come in time

    def check(self) -> None:
        """Raises `BuildCancelled`, or `BuildFailed` after the deadline."""
        if self.cancelled:
            raise BuildCancelled("The build was cancelled.", hint="Push again to start another one.")
        if self.lost or time.monotonic() - self._renewed > CLAIM_SECONDS:
            raise BuildCancelled("Another worker has taken this build over.", id=CLAIM_LOST)
        if time.monotonic() > self.deadline:
            raise BuildFailed(
                f"The build took longer than {settings.ENV.build_timeout_seconds} seconds.",
                hint="Make it shorter, or raise PAAS_BUILD_TIMEOUT on the host.",
                id="build_timeout",
            )

    def release(self) -> None:
        self._done.set()


class _Console:
    """What the builder says goes to the log in the form people know from Heroku."""

    def __init__(self, out: BuildLog, claim: _Claim) -> None:
        self._out, self._claim = out, claim

    def step(self, text: str) -> None:
        self._out.write(f"-----> {text}")

    def line(self, text: str) -> None:
        self._out.write(f"       {text}")

    def check(self) -> None:
        self._claim.check()


def _claim(build_id: str | UUID) -> Build | None:
    now = timezone.now()
    claim: dict[str, Any] = {
        "claimed_by": f"{WORKER}:{os.getpid()}:{secrets.token_hex(8)}",
        "claimed_until": now + timedelta(seconds=CLAIM_SECONDS),
    }
    try:
        with transaction.atomic():
            fresh = Build.objects.filter(pk=build_id, status=BuildStatus.PENDING).update(
                status=BuildStatus.BUILDING, started_at=now, **claim
            )
            taken = fresh or Build.objects.filter(pk=build_id, status=BuildStatus.BUILDING, claimed_until__lt=now).update(
                **claim
            )
    except IntegrityError:
        return None  # another build of this app is running; it wakes us when it ends
    if not taken:
        return None
    build = Build.objects.select_related("app", "app__owner", "created_by", "release", "image").get(pk=build_id)
    build.attempts += 1
    build.save(update_fields=["attempts"])
    announce_change(build.app_id)
    return build


def _start_next(app: App) -> None:
    waiting = app.builds.filter(status=BuildStatus.PENDING).order_by("number").first()
    if waiting:
        send("builds.run_build", str(waiting.pk))


def _run(build: Build, claim: _Claim) -> None:
    base = wished_release(build.app)
    config: dict[str, str] = dict(base.config) if base else {}
    out = BuildLog(build.pk, secrets_of(config))
    console = _Console(out, claim)
    try:
        if build.attempts > 1:
            out.write("-----> The worker of this build stopped; another one goes on with it")
            _remove_containers(build)
        if build.attempts > MAX_ATTEMPTS:
            raise BuildFailed(
                f"Its worker died {MAX_ATTEMPTS} times.",
                hint="Look into the platform's log for the reason, then push again.",
                id="worker_died",
            )
        _check_still_wanted(build)
        if build.image is None:
            with (
                nullcontext() if build.pushed_images else _turn(claim),
                pushing(claim.check, on_wait=lambda: console.step("Waiting for old images to be cleared away")),
            ):
                _make_image(build, config, console)
        if build.release is None:
            _make_release(build)
        _wait_for_release(build, claim)
        if build.is_push:
            git.finish_push(push_of(build), allow_force=True)
        _succeed(build, claim, out)
    except BuildCancelled as exc:
        if exc.id != CLAIM_LOST:
            _fail(build, out, exc, BuildStatus.CANCELLED)
    except UserError as exc:
        _fail(build, out, exc, BuildStatus.FAILED)
    except Failure as exc:
        log.exception("build_broke", error=exc.id)
        _fail(build, out, exc, BuildStatus.FAILED)
    except Exception:
        log.exception("build_broke")
        unexpected = Failure(
            "The platform made a mistake while building.",
            hint=f"It is logged under build {build.pk}. Tell the operator; pushing again may help.",
            id="internal_error",
        )
        _fail(build, out, unexpected, BuildStatus.FAILED)
    finally:
        out.close()


@contextmanager
def _turn(claim: _Claim) -> Iterator[None]:
    while not _building.acquire(timeout=0.5):
        claim.check()
    try:
        yield
    finally:
        _building.release()


def _remove_containers(build: Build) -> None:
    """Those of the worker that died: they would go on, with half of the machine."""
    for container in engine().list({HOME: str(settings.ENV.home), APP_ID: str(build.app_id)}):
        if container.labels.get(KIND) == "build":
            engine().remove(container.id)


def _check_still_wanted(build: Build) -> None:
    """Refuse early what the end would refuse: the branch has moved on, or the app is gone."""
    build.app.refresh_from_db()
    if build.app.destroyed_at is not None:
        raise Conflict(f"The app {build.app.name} was destroyed.", id="app_destroyed")
    if build.is_push:
        git.check_push(push_of(build), allow_force=True)


def _make_image(build: Build, config: dict[str, str], console: _Console) -> None:
    started = time.monotonic()
    result = adopt(build, console) if build.pushed_images else _built(build, config, console)
    console.check()
    build.seconds |= {"built": round(time.monotonic() - started, 3)}
    build.image = _record_image(build, result)
    build.save(update_fields=["image", "seconds", "new", "tree_id", "source_time", "updated_at"])


def _built(build: Build, config: dict[str, str], console: _Console) -> BuildResult:
    with opened_source(build, console) as source:
        build.new, build.tree_id, build.source_time = source.commit, source.tree_id, source.time
        request = BuildRequest(
            app=build.app.name,
            repository=build.app.repository,
            source=source,
            environment=config,
            tags=[f"git-{build.new[:12]}"] if build.is_push else [f"build-{build.number}"],
            labels={APP: build.app.name, APP_ID: str(build.app_id), HOME: str(settings.ENV.home)},
            build_id=str(build.pk),
            limits=BuildLimits(
                memory_bytes=settings.ENV.build_memory_bytes, deadline_seconds=settings.ENV.build_timeout_seconds
            ),
            stack=build.app.stack,
            buildpacks=build.buildpacks or named_buildpacks(build.app.buildpacks),
            fresh=_is_first_since_clearing(build.app),
        )
        return builder().build(request, console)


def _is_first_since_clearing(app: App) -> bool:
    since = app.cache_cleared_at
    return since is not None and not app.builds.filter(status=BuildStatus.SUCCEEDED, started_at__gt=since).exists()


@transaction.atomic
def _record_image(build: Build, result: BuildResult) -> Image:
    image, _ = Image.objects.update_or_create(
        app=build.app,
        digest=result.digest,
        defaults={
            "repository": result.repository,
            "size_bytes": result.size,
            "layers": [
                {"kind": layer.kind, "digest": layer.digest, "size": layer.size, "reused": layer.reused}
                for layer in result.layers
            ],
            "process_types": dict(result.process_types),
            "release_command": result.release_command,
            "health_checks": {process: dict(check) for process, check in result.health_checks.items()},
            "exposed_port": result.exposed_port,
            "uses_launcher": result.launcher,
            "has_health_check": result.has_image_health_check,
            "stack": result.stack,
            "buildpacks": list(result.buildpacks),
            "commit": build.new,
            "commit_subject": build.commit_subject,
            # It may have been collected before, and is back now.
            "collected_at": None,
            "is_in_registry": True,
        },
    )
    if build.is_push:  # what somebody calls an archive proves nothing
        set_tag(build.app, f"git-{build.new[:12]}", image)
    return image


@transaction.atomic
def _make_release(build: Build) -> None:
    """One transaction: a release without its build could not be told what became of it."""
    assert build.image is not None
    what = short_commit(build.new) or ("" if build.pushed_images else "an archive")
    description = " ".join(filter(None, ("Deploy", what, build.commit_subject)))
    build.release = releases.create_deploy(build.app, build.image, by=build.created_by, description=description[:300])
    build.save(update_fields=["release", "updated_at"])
    transaction.on_commit(lambda: signal(f"build:{build.pk}"))


def _wait_for_release(build: Build, claim: _Claim) -> None:
    """Until convergence has made it live. Raises what it failed with."""
    assert build.release is not None
    waiter = Waiter(f"release:{build.release.pk}")
    started = time.monotonic()
    while True:
        release = Release.objects.get(pk=build.release.pk)
        if release.status == ReleaseStatus.SUPERSEDED and (successor := _successor(build, release)):
            build.release = successor
            build.save(update_fields=["release", "updated_at"])
            waiter = Waiter(f"release:{successor.pk}")
            continue
        if release.status not in UNFINISHED:
            break
        try:
            claim.check()
        except BuildFailed as exc:
            if exc.id != CLAIM_LOST and not releases.fail_release(release, exc):
                continue  # it has ended meanwhile: that counts
            raise
        waiter.wait(1)
    build.release = release
    build.seconds |= {"released": round(time.monotonic() - started, 3)}
    if release.status == ReleaseStatus.SUCCEEDED:
        return
    if release.status == ReleaseStatus.SUPERSEDED:
        raise Conflict(f"v{release.version} was superseded: {release.reason}", id="superseded")
    raise UserError(release.reason, hint=release.hint, id=release.error_id)


def _successor(build: Build, release: Release) -> Release | None:
    """A config change that came meanwhile took the place of our release, and carries our image."""
    later = build.app.releases.filter(version__gt=release.version, image=build.image)
    return later.order_by("version").first()


def _succeed(build: Build, claim: _Claim, out: BuildLog) -> None:
    assert build.release is not None
    seconds = build.seconds
    live = time.monotonic() - claim.started + seconds.get("received", 0)
    seconds["live"] = round(live, 3)
    if App.objects.filter(pk=build.app_id, stopped_at__isnull=False).exists():
        out.write(f"-----> v{build.release.version} is ready, and {build.app.name} is stopped.")
        out.write(f"       Start it with: paas ps:start -a {build.app.name}")
    else:
        out.write(f"-----> v{build.release.version} is live at {url(build.app)}")
    received = f"received {seconds['received']:.2f} s, " if "received" in seconds else ""
    out.write(
        f"       {received}built {seconds.get('built', 0):.2f} s, "
        f"released {seconds.get('released', 0):.2f} s, live after {live:.2f} s"
    )
    if _finish(build, BuildStatus.SUCCEEDED, None):
        out.end(True, "")
    log.info("build_succeeded", release=build.release.version, **{f"{k}_s": v for k, v in seconds.items()})


def _fail(build: Build, out: BuildLog, failure: Failure, status: BuildStatus) -> None:
    failure.message, failure.hint = _for_a_row(out, failure.message), _for_a_row(out, failure.hint)
    for text in (failure.message, failure.hint):
        for line in text.splitlines():
            out.write(f" !     {line}")
    push = push_of(build)
    if build.is_push and build.release is not None and build.release.status == ReleaseStatus.SUCCEEDED:
        out.write(f" !     v{build.release.version} is live, but the branch could not be moved.")
    if not _finish(build, status, failure):
        log.warning("build_taken_away", error=failure.id)
        return
    if build.is_push:
        with suppress(Failure, OSError):
            git.abandon_push(push)
    out.end(False, refusal(build))
    log.info("build_ended", status=status.value, error=failure.id)


def _for_a_row(out: BuildLog, text: str) -> str:
    """Masked, as it may quote what an app printed; without what Postgres refuses."""
    return out.mask(text).replace("\0", "")[:MAX_REASON]


def _finish(build: Build, status: BuildStatus, failure: Failure | None) -> bool:
    """False when it is no longer ours to finish."""
    build.status, build.finished_at = status, timezone.now()
    if failure is not None:
        build.error_id, build.reason, build.hint = failure.id, failure.message, failure.hint
    build.quarantine = ""
    names = ("status", "finished_at", "error_id", "reason", "hint", "quarantine", "seconds")
    ours = Build.objects.filter(pk=build.pk, status=BuildStatus.BUILDING, claimed_by=build.claimed_by)
    with transaction.atomic():
        finished = bool(ours.update(**{name: getattr(build, name) for name in names}))
        if finished:
            tell_build(build, "update", previous={"status": "pending"})
    announce_change(build.app_id)
    signal(f"build:{build.pk}")
    return finished


def _end_waiting(build: Build, status: BuildStatus, reason: str) -> bool:
    """End a build that nobody has begun. False when somebody has."""
    push = push_of(build)
    with transaction.atomic():
        ended = Build.objects.filter(pk=build.pk, status=BuildStatus.PENDING).update(
            status=status, reason=reason, finished_at=timezone.now(), quarantine=""
        )
        if not ended:
            return False
        build.refresh_from_db()
        tell_build(build, "update", previous={"status": "pending"})
    if build.is_push:
        git.abandon_push(push)
    out = BuildLog(build.pk)
    out.write(f" !     {reason}")
    out.end(False, refusal(build))
    out.close()
    announce_change(build.app_id)
    signal(f"build:{build.pk}")
    return True


def forget_builds(app: App, *, keep: int = 50, before: datetime | None = None) -> None:
    """Drop all but the newest builds, logs included."""
    old = app.builds.exclude(status__in=ACTIVE).order_by("-number")[keep:]
    for build in old:
        if before is None or build.created_at < before:
            log_path(build.pk).unlink(missing_ok=True)
            build.delete()
