"""Which apps there are, and who may see them. No access looks like no app."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from django.conf import settings
from django.db.models import Q, QuerySet

from paas.accounts.models import User
from paas.apps.models import App, Collaborator, Role
from runtime.errors import Forbidden, NotFound


def apps_visible_to(user: User) -> QuerySet[App]:
    apps = App.objects.filter(destroyed_at__isnull=True)
    if user.is_admin:
        return apps
    shared = Collaborator.objects.filter(user=user).values("app")
    return apps.filter(Q(owner=user) | Q(pk__in=shared))


def role_in(app: App, user: User) -> Role | None:
    """None: this app does not exist for them."""
    if user.is_admin or app.owner_id == user.pk:
        return Role.OWNER
    role = app.collaborators.filter(user=user).values_list("role", flat=True).first()
    return None if role is None else Role(role)


def get_app(user: User, name: str, role: Role = Role.VIEWER) -> App:
    """Raises `NotFound`, also when it is somebody else's, and `Forbidden` when the user's role is a smaller one."""
    app = apps_visible_to(user).select_related("owner", "current_release").filter(name=name).first()
    if app is None:
        raise NotFound(
            f"No app named {name!r} that you may access.", hint="See yours with: paas apps", id="app_not_found"
        )
    if role > Role.VIEWER:
        check_role(app, user, role)
    return app


def check_role(app: App, user: User, role: Role) -> None:
    """Raises `Forbidden`. The app has to be one that the user sees."""
    has = role_in(app, user) or Role.VIEWER
    if has < role:
        raise Forbidden(
            f"You are {has.label.lower()} of {app.name}; this takes {role.label.lower()}.",
            hint=f"Ask {app.owner.email}, who owns it, for that role.",
        )


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
