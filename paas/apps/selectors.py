"""Which apps there are, and who may see them. No access looks like no app."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from django.conf import settings
from django.db.models import QuerySet

from paas.accounts.models import User
from paas.apps.models import App
from runtime.errors import NotFound


def apps_visible_to(user: User) -> QuerySet[App]:
    apps = App.objects.filter(destroyed_at__isnull=True)
    return apps if user.is_admin else apps.filter(owner=user)


def get_app(user: User, name: str) -> App:
    """By name or id. Raises `NotFound`, also when it is somebody else's."""
    app = apps_visible_to(user).select_related("owner", "current_release").filter(name=name).first()
    if app is None:
        raise NotFound(
            f"No app named {name!r} that you may access.", hint="See yours with: paas apps", id="app_not_found"
        )
    return app


def repository_path(app: App) -> Path:
    return settings.ENV.home / "repositories" / f"{app.id.hex}.git"


def subnet(app: App) -> str:
    """The app's own network: 64 addresses out of the pool."""
    return str(nth_subnet(settings.ENV.network_pool, app.network_index))


def nth_subnet(pool: str, index: int) -> ipaddress.IPv4Network:
    network = ipaddress.IPv4Network(pool)
    first = int(network.network_address) + index * 64
    return ipaddress.IPv4Network((first, 26))


def pool_size(pool: str) -> int:
    return ipaddress.IPv4Network(pool).num_addresses // 64


def hosts(app: App) -> list[str]:
    return [f"{app.name}.{settings.ENV.domain}"]


def url(app: App) -> str:
    return str(settings.ENV.address(app.name))


def git_url(name: str) -> str:
    """The git remote of an app of that name."""
    return f"{settings.ENV.address('git')}/{name}.git"
