"""Who may do what with an app: seen by all of them, changed by owners."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from django.conf import settings
from ninja import Router
from pydantic import Field

from paas.accounts.models import User
from paas.accounts.selectors import find_user
from paas.api.auth import ApiRequest, find_app
from paas.api.errors import Refusal, missing
from paas.api.ranges import page_of
from paas.api.schemas import Answer, Body, NamedRef, Time, app_ref, made_up_id
from paas.apps.models import App, Collaborator, Role
from paas.apps.services import add_collaborator, change_role, invite, remove_collaborator
from paas.core.ids import uuid_of

router = Router(tags=["People"])

# What each role may do, in Heroku's words; what it may do beyond, in ours: `paas access`.
PERMISSIONS = {
    Role.VIEWER: ("view",),
    Role.OPERATOR: ("operate", "view"),
    Role.DEVELOPER: ("deploy", "operate", "view"),
    Role.OWNER: ("deploy", "manage", "operate", "view"),
}
ABOUT = {
    "view": "See everything but the values of config vars.",
    "operate": "Config, ports, domains, scale, restarts, rollbacks.",
    "deploy": "Push code and run commands.",
    "manage": "People, transfer, destruction.",
}
RoleName = Literal["viewer", "operator", "developer", "owner"]
Permission = Literal["view", "operate", "deploy", "manage"]


class PermissionAnswer(Answer):
    description: str
    name: str


class PersonAnswer(Answer):
    email: str
    federated: bool
    id: UUID


class CollaboratorAnswer(Answer):
    app: NamedRef
    created_at: Time
    id: UUID
    permissions: list[PermissionAnswer]
    role: str
    updated_at: Time
    user: PersonAnswer


class RoleBody(Body):
    role: RoleName | None = Field(None, description="Ours; developer when neither is given.")
    permissions: list[Permission] | None = Field(None, description="Heroku's: the smallest role that has all of them.")

    def wanted(self, default: Role) -> Role:
        if self.role is not None:
            return Role[self.role.upper()]
        if self.permissions:
            return next(role for role, has in PERMISSIONS.items() if set(self.permissions) <= set(has))
        return default


class NewCollaborator(RoleBody):
    user: str = Field(description="E-mail of a user here, their id, or e-mail of somebody new, who gets an invitation.")
    silent: bool = False


@router.get("/apps/{identity}/collaborators", response=list[CollaboratorAnswer])
def list_collaborators(request: ApiRequest, identity: str) -> list[CollaboratorAnswer]:
    """The owner is one of them."""
    app = find_app(request, identity)
    rows = [_owner_answer(app), *(_answer(row) for row in app.collaborators.select_related("user", "app"))]
    return page_of(request, rows, id=lambda row: row.id, email=lambda row: row.user.email, ordered_by="email")


@router.post("/apps/{identity}/collaborators", response={201: CollaboratorAnswer})
def create_collaborator(request: ApiRequest, identity: str, body: NewCollaborator) -> CollaboratorAnswer:
    app = find_app(request, identity, Role.OWNER)
    role = body.wanted(Role.DEVELOPER)
    user = User.objects.filter(pk=uuid_of(body.user)).first() or find_user(body.user)
    if user is not None:
        return _answer(add_collaborator(app, user, role, by=request.user))
    return _invited(request, app, body.user, role)


@router.get("/apps/{identity}/collaborators/{who}", response=CollaboratorAnswer)
def collaborator_info(request: ApiRequest, identity: str, who: str) -> CollaboratorAnswer:
    app = find_app(request, identity)
    if who.lower() in {app.owner.email.lower(), str(_owner_answer(app).id), str(app.owner_id)}:
        return _owner_answer(app)
    return _answer(_find(app, who))


@router.patch("/apps/{identity}/collaborators/{who}", response=CollaboratorAnswer)
def update_collaborator(request: ApiRequest, identity: str, who: str, body: RoleBody) -> CollaboratorAnswer:
    row = _find(find_app(request, identity, Role.OWNER), who)
    change_role(row, body.wanted(Role(row.role)), by=request.user)
    return _answer(row)


@router.delete("/apps/{identity}/collaborators/{who}", response=CollaboratorAnswer)
def delete_collaborator(request: ApiRequest, identity: str, who: str) -> CollaboratorAnswer:
    """An owner's right; and everybody may leave."""
    row = _find(find_app(request, identity), who)
    if row.user_id != request.user.pk:
        find_app(request, identity, Role.OWNER)
    shown = _answer(row)
    remove_collaborator(row, by=request.user)
    return shown


def _find(app: App, who: str) -> Collaborator:
    """By e-mail, by the user's id, or by its own."""
    rows = app.collaborators.select_related("user", "app")
    identity = uuid_of(who)
    row = rows.filter(user__email__iexact=who).first() or rows.filter(pk=identity).first()
    row = row or rows.filter(user_id=identity).first()
    if row is None:
        raise missing("collaborator")
    return row


def _invited(request: ApiRequest, app: App, email: str, role: Role) -> CollaboratorAnswer:
    """Nobody has this address yet. The link is shown once, in a header that Heroku's command line prints."""
    if "@" not in email:
        raise Refusal(404, "not_found", f"There is no user {email[:100]!r}.", resource="user", code="user_not_found")
    invitation, secret = invite(email=email, by=request.user, app=app, role=role)
    link = f"{settings.ENV.address('dashboard', settings.ENV.scheme)}/invitations/{secret}"
    request.answer_headers["Warning-Message"] = (
        f"{invitation.email} is new here. Send them this link, which works once and for a week: {link}"
    )
    person = PersonAnswer(email=invitation.email, federated=False, id=made_up_id("user", invitation.email))
    times = {"created_at": invitation.created_at, "updated_at": invitation.updated_at}
    return _made(app, person, role, id=invitation.pk, **times)


def _answer(row: Collaborator) -> CollaboratorAnswer:
    person = PersonAnswer(email=row.user.email, federated=False, id=row.user.pk)
    times = {"created_at": row.created_at, "updated_at": row.updated_at}
    return _made(row.app, person, Role(row.role), id=row.pk, **times)


def _owner_answer(app: App) -> CollaboratorAnswer:
    person = PersonAnswer(email=app.owner.email, federated=False, id=app.owner.pk)
    times = {"created_at": app.created_at, "updated_at": app.created_at}
    made = _made(app, person, Role.OWNER, id=made_up_id("owner", str(app.pk)), **times)
    return made.model_copy(update={"role": "owner"})


def _made(
    app: App, person: PersonAnswer, role: Role, *, id: UUID, created_at: datetime, updated_at: datetime
) -> CollaboratorAnswer:
    return CollaboratorAnswer(
        app=app_ref(app),
        created_at=created_at,
        id=id,
        permissions=[PermissionAnswer(name=name, description=ABOUT[name]) for name in PERMISSIONS[role]],
        role="admin" if role == Role.OWNER else "collaborator",
        updated_at=updated_at,
        user=person,
    )
