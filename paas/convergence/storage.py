"""What takes up the disk, by app and kind. It walks folders: for a page of its own, not for every page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from paas.apps.models import App
from paas.apps.selectors import repository_path
from paas.builds.log import log_path
from runtime.registry.garbage import size_of


@dataclass(frozen=True, slots=True)
class AppStorage:
    app: str
    images: int
    images_bytes: int  # of layers that no other app has
    shared_bytes: int  # of layers that others have as well: stacks, equal dependencies
    repository_bytes: int
    log_bytes: int  # of builds and releases

    @property
    def own_bytes(self) -> int:
        return self.images_bytes + self.repository_bytes + self.log_bytes


def storage_by_app() -> list[AppStorage]:
    """The largest first."""
    apps = App.objects.filter(destroyed_at__isnull=True).prefetch_related("images", "builds")
    layers: dict[object, dict[str, int]] = {}
    owners: dict[str, int] = {}
    for app in apps:
        mine = layers[app.pk] = {
            str(layer["digest"]): int(layer.get("size", 0))
            for image in app.images.all()
            if image.is_in_registry
            for layer in image.layers
        }
        for digest in mine:
            owners[digest] = owners.get(digest, 0) + 1
    found = []
    for app in apps:
        mine = layers[app.pk]
        own = sum(size for digest, size in mine.items() if owners[digest] == 1)
        found.append(
            AppStorage(
                app=app.name,
                images=sum(image.is_in_registry for image in app.images.all()),
                images_bytes=own,
                shared_bytes=sum(mine.values()) - own,
                repository_bytes=size_of(repository_path(app)),
                log_bytes=sum(_file_size(log_path(build.pk)) for build in app.builds.all()),
            )
        )
    return sorted(found, key=lambda each: (-each.own_bytes, each.app))


def storage_by_kind() -> dict[str, int]:
    """Of the platform as a whole, by folder of its home."""
    home: Path = settings.ENV.home
    return {name: size_of(home / name) for name in ("registry", "cache", "repositories", "builds", "logs")}


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
