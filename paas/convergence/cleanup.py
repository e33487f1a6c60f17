"""Free the disk of what nobody will run again: expired images, unused caches, what the engine still has of them.

In this order, as each step only removes what the one before has given up: rows, manifests, blobs, the engine's copies.
One that is interrupted has removed nothing that is needed, and the next one goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import structlog
from django.conf import settings

from paas.accounts.models import User
from paas.apps.models import App
from paas.builds.pushed import forget_leftovers, pushed_repositories
from paas.core import audit
from paas.core.models import AuditEvent
from paas.releases.exclusion import collecting
from paas.releases.models import Image
from paas.releases.retention import Expired, expired, give_up_images
from paas.wiring import builder, engine, registry, registry_host
from runtime.errors import Conflict, EngineError
from runtime.registry.garbage import collect_garbage, untagged

log = structlog.get_logger()

CACHE_SECONDS = 30 * 86400  # dependency layers that no build has used for so long go
WAIT_SECONDS = 600.0
ACTION = "host.cleanup"


@dataclass(frozen=True, slots=True)
class Cleanup:
    images: int = 0
    cache_images: int = 0
    engine_images: int = 0
    freed_bytes: int = 0  # in the bundled registry; another one is its owner's
    seconds: float = 0.0


def expired_everywhere() -> list[Expired]:
    """What a cleanup would take first."""
    return [each for app in App.objects.filter(destroyed_at__isnull=True) for each in expired(app)]


def clean_up(*, by: User | None, wait_seconds: float = WAIT_SECONDS, check: Callable[[], None] = lambda: None) -> Cleanup:
    """Raises `Conflict` when builds go on for longer than we wait, `RegistryError` or `EngineError`."""
    started = time.monotonic()
    with _alone(wait_seconds) as lock:
        for app in App.objects.filter(destroyed_at__isnull=True):
            check()
            give_up_images(app)
        images = 0
        for image in Image.objects.filter(collected_at__isnull=False, is_in_registry=True):
            check()
            registry().delete_manifest(image.repository, image.digest)
            Image.objects.filter(pk=image.pk).update(is_in_registry=False)
            images += 1
        if not settings.ENV.external_registry:
            images += _drop_pushed(check)
        cache_images = builder().prune(CACHE_SECONDS)
        check()
        freed = 0
        if not settings.ENV.external_registry:
            folder = settings.ENV.home / "registry"
            freed = collect_garbage(folder / "config.yml", folder / "data", lock=lock)
    done = Cleanup(images, cache_images, _drop_from_engine(check), freed, round(time.monotonic() - started, 1))
    audit.record(ACTION, by=by, **asdict(done))
    log.info("cleaned_up", **asdict(done))
    return done


def clear_caches(*, wait_seconds: float = WAIT_SECONDS) -> int:
    """Forget every cached dependency layer. How many there were. Raises `Conflict`, as above."""
    with _alone(wait_seconds):
        return builder().prune(0)


@contextmanager
def _alone(wait_seconds: float) -> Iterator[int]:
    with collecting(wait_seconds) as lock:
        if lock is None:
            raise Conflict(
                "Builds are running, or somebody's Docker may push, and nothing can be cleared away meanwhile.",
                hint="Try again in a few minutes.",
                id="builds_running",
            )
        yield lock


def last_cleanup() -> AuditEvent | None:
    """When it was, and in its detail what it freed."""
    return AuditEvent.objects.filter(action=ACTION).first()


def _drop_pushed(check: Callable[[], None]) -> int:
    """What people pushed and have pushed over since, and what is left of apps that are gone. What was released of it is
    in the app's own repository as well."""
    forget_leftovers()
    dropped = 0
    for repository in pushed_repositories():
        for digest in untagged(settings.ENV.home / "registry" / "data", repository):
            check()
            dropped += registry().delete_manifest(repository, digest)
    return dropped


def _drop_from_engine(check: Callable[[], None]) -> int:
    """Images of ours that the registry has no more, unless a container is made of one."""
    prefix = f"{registry_host()}/"
    used = {container.image for container in engine().list({})}
    dropped = 0
    for image in engine().images(prefix):
        check()
        repository, _, digest = image.reference.removeprefix(prefix).partition("@")
        if image.reference in used or registry().head_manifest(repository, digest) is not None:
            continue
        try:
            engine().remove_image(image.reference)
            dropped += 1
        except EngineError as exc:
            log.info("engine_image_kept", image=image.reference, reason=exc.message)
    return dropped
