"""Which apps there are, and who may see them. No access looks like no app."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet

from paas.accounts.models import User
from paas.accounts.services.tokens import hash_token
from paas.apps.models import App, Collaborator, Invitation, MaintenancePage, Role
from paas.core.models import AuditEvent
from runtime.buildpacks.names import buildpack_name, known_names
from runtime.errors import Forbidden, InvalidInput, NotFound

UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


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


def get_app(user: User, identity: str, role: Role = Role.VIEWER) -> App:
    """By name or id. Raises `NotFound`, also when it is somebody else's, and `Forbidden` when the user's role is a
    smaller one."""
    apps = apps_visible_to(user).select_related("owner", "current_release")
    app = apps.filter(pk=identity).first() if is_id(identity) else apps.filter(name=identity).first()
    if app is None:
        raise NotFound(
            f"No app named {identity!r} that you may access.", hint="See yours with: paas apps", id="app_not_found"
        )
    if role > Role.VIEWER:
        check_role(app, user, role)
    return app


def removal_of(user: User, app_id: UUID) -> App | None:
    """The app of that id while it is being removed, for whoever may remove it; nobody else sees it any more."""
    app = App.objects.select_related("owner", "current_release").filter(pk=app_id, destroyed_at__isnull=False).first()
    return app if app is not None and (role_in(app, user) or 0) >= Role.OWNER else None


def is_id(identity: str) -> bool:
    """A UUID as the API writes it; longer than any name of an app."""
    return UUID_TEXT.fullmatch(identity) is not None


def check_role(app: App, user: User, role: Role) -> None:
    """Raises `Forbidden`. The app has to be one that the user sees."""
    has = role_in(app, user) or Role.VIEWER
    if has < role:
        raise Forbidden(
            f"You are {has.label.lower()} of {app.name}; this takes {role.label.lower()}.",
            hint=f"Ask {app.owner.email}, who owns it, for that role.",
        )


def roles_of(user: User, apps: Iterable[App]) -> dict[UUID, Role]:
    """What the user is in each of these apps, which all are visible to them: for lists."""
    shared = dict(Collaborator.objects.filter(user=user).values_list("app", "role"))
    return {
        app.pk: Role.OWNER if user.is_admin or app.owner_id == user.pk else Role(shared.get(app.pk, Role.VIEWER))
        for app in apps
    }


def get_collaborator(app: App, email: str) -> Collaborator:
    """Raises `NotFound`."""
    row = (
        app.collaborators.select_related("user", "app")
        .filter(user__email__iexact=email.replace("\0", "").strip())
        .first()
    )
    if row is None:
        raise NotFound(
            f"{email.strip()} is no collaborator of {app.name}.",
            hint=f"See all with: paas access -a {app.name}",
            id="not_a_collaborator",
        )
    return row


def get_invitation(secret: str) -> Invitation:
    """By the secret of its link. Raises `NotFound` when it is unknown, used or too old, without saying which."""
    rows = Invitation.objects.select_related("app", "invited_by").filter(digest=hash_token(secret))
    invitation = rows.first()
    if invitation is None or invitation.is_expired or not invitation.invited_by.is_active:
        raise invitation_gone()
    return invitation


def app_invitation(app: App, invitation_id: UUID) -> Invitation:
    """Raises `NotFound`."""
    return _invitation(app.invitations.all(), invitation_id)


def platform_invitations() -> QuerySet[Invitation]:
    return Invitation.objects.select_related("app", "invited_by")


def platform_invitation(invitation_id: UUID) -> Invitation:
    """Any of them, for admins. Raises `NotFound`."""
    return _invitation(platform_invitations(), invitation_id)


def _invitation(among: QuerySet[Invitation], invitation_id: UUID) -> Invitation:
    invitation = among.filter(pk=invitation_id).first()
    if invitation is None:
        raise NotFound("There is no such invitation.", hint="It may have been accepted, or revoked.")
    return invitation


def invitation_gone() -> NotFound:
    return NotFound(
        "This invitation can't be used.",
        hint="It works once and for a week. Ask whoever sent it for another one.",
        id="invitation_not_found",
    )


def may_still_invite(invitation: Invitation) -> bool:
    """Whoever invited somebody to an app may have lost that right since, and the app may be gone."""
    app = invitation.app
    return app is not None and app.destroyed_at is None and (role_in(app, invitation.invited_by) or 0) >= Role.OWNER


def audit_events(user: User) -> QuerySet[AuditEvent]:
    """Admins see everything; others what happened to the apps they own, and what they did themselves."""
    if user.is_admin:
        return AuditEvent.objects.all()
    owned = App.objects.filter(
        Q(owner=user) | Q(pk__in=Collaborator.objects.filter(user=user, role=Role.OWNER).values("app"))
    )
    return AuditEvent.objects.filter(Q(app_id__in=owned.values("pk")) | Q(actor=user))


def find_audit_events(
    events: QuerySet[AuditEvent],
    *,
    app: str = "",
    actor: str = "",
    action: str = "",
    since: str = "",
    until: str = "",
    text: str = "",
) -> QuerySet[AuditEvent]:
    """Those that fit everything given. An action may be the first part of one: `release`. A day as `until` is meant
    whole. Raises `InvalidInput` for a time that is none."""
    if app:  # under whatever name it happened
        events = events.filter(Q(app_name=app) | Q(app_id__in=App.objects.filter(name=app).values("pk")))
    if actor:
        events = events.filter(actor_email__icontains=actor.strip())
    if action:
        events = events.filter(Q(action=action) | Q(action__startswith=f"{action}."))
    if since:
        events = events.filter(at__gte=_moment(since))
    if until:
        events = events.filter(at__lt=_moment(until, after_the_day=True))
    for word in text.lower().replace("\0", "").split():
        events = events.filter(text__contains=word)
    return events


def _moment(text: str, *, after_the_day: bool = False) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as exc:
        raise InvalidInput(
            f"{text!r} is no time.", hint="Write a day or a time: 2026-11-25, 2026-11-25T14:30 (UTC).", id="invalid_time"
        ) from exc
    if after_the_day and len(text.strip()) == len("2026-11-25"):
        moment += timedelta(days=1)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def named_buildpacks(given: Iterable[str]) -> tuple[str, ...]:
    """Our names of them, in their order. Raises `InvalidInput`."""
    names = []
    for text in given:
        name = buildpack_name(text)
        if name is None:
            raise InvalidInput(
                f"{text[:200]!r} is no buildpack that this platform has.",
                hint=f"There are: {known_names()}.",
                id="unknown_buildpack",
            )
        names.append(name)
    if len(set(names)) != len(names):
        raise InvalidInput("A buildpack is named twice.", hint="Name each once.", id="invalid_buildpacks")
    if "dockerfile" in names and len(names) > 1:
        raise InvalidInput("A Dockerfile stands alone.", hint="Name no other beside it.", id="invalid_buildpacks")
    return tuple(names)


def maintenance_page(app: App) -> str:
    """HTML of the app's own page; "" when visitors see ours."""
    return MaintenancePage.objects.filter(app=app).values_list("html", flat=True).first() or ""


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


def git_ssh_url(name: str) -> str:
    """The git remote over SSH; "" when that is off."""
    return f"{settings.ENV.ssh_url}/{name}.git" if settings.ENV.ssh_url else ""


def git_url(name: str) -> str:
    """The git remote of an app of that name."""
    return f"{settings.ENV.address('git')}/{name}.git"
