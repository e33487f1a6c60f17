"""A full platform: apps that run in the engine of memory, some with a long history. Import it after Django's setup."""

from __future__ import annotations

import itertools
import random
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import fakeredis
from django.conf import settings
from django.utils import timezone

from paas import wiring
from paas.accounts.models import User
from paas.apps.models import App
from paas.builds.log import log_path
from paas.builds.models import Build, BuildStatus
from paas.celery import celery_app
from paas.convergence import services as convergence
from paas.core import redis
from paas.core.models import AuditEvent
from paas.formation.services import scale
from paas.metrics.latency import BOUNDS_MS
from paas.metrics.models import InstanceSample, MachineSample, Series, TrafficSample
from paas.metrics.services import STEPS
from paas.releases.models import Image, Release
from runtime.engine.memory import Behaviour, MemoryEngine
from runtime.reconcile.apply import Applier
from runtime.router.memory import MemoryRouter
from tests.factories import make_app, make_release, make_user

BIG = 3  # apps with the long history
HOUR = 3600


@dataclass(frozen=True, slots=True)
class World:
    user: User
    values: Mapping[str, str]  # what stands in addresses: the name of an app, the number of a build …
    sizes: Mapping[str, int]


@contextmanager
def drivers() -> Iterator[MemoryEngine]:
    """Engine, router and Redis of memory; nothing is sent to a queue."""
    engine, router = MemoryEngine(), MemoryRouter()
    applier = Applier(engine, router, home=str(settings.ENV.home), accepts=engine.accepts, answers=engine.answers)
    server = fakeredis.FakeRedis(decode_responses=True)
    with (
        wiring.replaced(engine=engine, router=router, applier=applier),
        mock.patch.object(redis, "client", return_value=server),
        mock.patch.object(celery_app, "send_task"),
    ):
        yield engine


def fill(engine: MemoryEngine, *, apps: int, history: int) -> World:
    random.seed(1)
    admin = make_user("admin", is_admin=True)
    people = [make_user(f"person-{number}") for number in range(20)]
    for number in range(apps):
        app = make_app(f"app-{number:03}", owner=admin if number < BIG else random.choice(people))
        release = make_release(app, live=False)  # of web alone: what has no port would be watched for seconds
        scale(app, {"web": 2}, by=app.owner)
        run(engine, release)
    every = list(App.objects.order_by("name"))
    for app in every[:BIG]:
        add_history(app, history, by=admin)
        run(engine, app.releases.latest("version"))
    add_audit_events(every, 20 * history, by=admin)
    add_samples(every)
    big = every[0]
    return World(
        user=admin,
        values={
            "name": big.name,
            "number": str(big.builds.latest("number").number),
            "version": str(big.releases.latest("version").version),
            "user_id": str(people[0].pk),
        },
        sizes={
            "apps": len(every),
            "instances": len(engine.list()),
            "releases": Release.objects.count(),
            "builds": Build.objects.count(),
            "audit events": AuditEvent.objects.count(),
        },
    )


def run(engine: MemoryEngine, release: Release) -> None:
    assert release.image is not None
    engine.add_image(wiring.image_reference(release.image.repository, release.image.digest), Behaviour())
    convergence.converge(str(release.app_id))


def add_history(app: App, length: int, *, by: User) -> None:
    """Releases and builds after the first one; the last release waits to be run."""
    first = app.releases.get()
    config = {f"SETTING_{number}": uuid.uuid4().hex for number in range(40)}
    now = timezone.now()
    images, releases, builds = [], [], []
    for version in range(2, length + 1):
        commit = uuid.uuid4().hex
        image = Image(
            app=app,
            repository=app.repository,
            digest=f"sha256:{commit}{commit}",
            size_bytes=48_000_000,
            process_types=first.process_types,
            stack=app.stack,
            commit=commit,
            commit_subject=f"Change number {version}",
        )
        release = Release(
            app=app,
            version=version,
            kind="deploy" if version % 3 else "config",
            image=image,
            config=config,
            process_types=first.process_types,
            description=f"Deploy {commit[:8]}",
            status="pending" if version == length else "succeeded",
            created_by=by,
            door="git",
            started_at=now,
            finished_at=now,
        )
        images.append(image)
        releases.append(release)
        builds.append(
            Build(
                app=app,
                number=version,
                status=BuildStatus.SUCCEEDED,
                created_by=by,
                ref="refs/heads/main",
                old="0" * 40,
                new=commit,
                commit_subject=image.commit_subject,
                image=image,
                release=release,
                started_at=now,
                finished_at=now,
            )
        )
    Image.objects.bulk_create(images)
    Release.objects.bulk_create(releases)
    Build.objects.bulk_create(builds)
    log = log_path(builds[-1].pk)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(f"       line {number} of a build with a lot to say\n" for number in range(5000)))


def add_audit_events(apps: Sequence[App], count: int, *, by: User) -> None:
    AuditEvent.objects.bulk_create(
        AuditEvent(
            actor=by,
            actor_email=by.email,
            door="web",
            action="config.change",
            app_id=app.pk,
            app_name=app.name,
            before={"A": "1"},
            after={"A": "2"},
            text=f"config.change {app.name} {by.email}",
        )
        for app in itertools.islice(itertools.cycle(apps), count)
    )


def add_samples(apps: Sequence[App]) -> None:
    """The last hour of every app; all that is kept of the first app and of the machine."""
    now = int(time.time())
    for app in apps:
        for step in STEPS if app == apps[0] else STEPS[:1]:
            kept = step.kept_seconds if app == apps[0] else HOUR
            times = range((now - kept) // step.seconds * step.seconds, now, step.seconds)
            for name in ("web.1", "web.2"):
                series, _ = Series.objects.get_or_create(app=app, name=name)
                InstanceSample.objects.bulk_create(
                    InstanceSample(
                        series=series,
                        step=step.seconds,
                        at=at,
                        cpu_millicores=20,
                        memory_bytes=60 << 20,
                        memory_peak_bytes=61 << 20,
                        received_rate=1000,
                        sent_rate=9000,
                    )
                    for at in times
                )
            series, _ = Series.objects.get_or_create(app=app, name="")
            TrafficSample.objects.bulk_create(
                TrafficSample(
                    series=series,
                    step=step.seconds,
                    at=at,
                    requests=[0, 90, 5, 4, 1],
                    buckets=[5] * (len(BOUNDS_MS) + 1),
                    sent_bytes=100_000,
                )
                for at in times
            )
    MachineSample.objects.bulk_create(
        MachineSample(
            step=step.seconds,
            at=at,
            cpu_millicores=500,
            cores=2,
            load_hundredths=90,
            memory_used_bytes=3 << 30,
            memory_total_bytes=8 << 30,
            disk_used_bytes=30 << 30,
            disk_total_bytes=80 << 30,
        )
        for step in STEPS
        for at in range((now - step.kept_seconds) // step.seconds * step.seconds, now, step.seconds)
    )
