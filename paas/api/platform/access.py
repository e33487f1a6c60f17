"""Who may do what with an app: roles, invitations to it, its transfer."""

from __future__ import annotations

from uuid import UUID

from ninja import Router
from pydantic import Field

from paas.accounts.selectors import get_user
from paas.api.auth import ApiRequest, find_app
from paas.api.ranges import page, page_of
from paas.api.schemas import Answer, Body, Time
from paas.apps import services
from paas.apps.models import App, Invitation, Role
from paas.apps.selectors import app_invitation, get_collaborator
from paas.core.ids import uuid_of
from paas.hooks.services.mails import invitation_url, invite_by_mail
from runtime.errors import Conflict, InvalidInput

router = Router(tags=["People"])
ROLES = ", ".join(role.name.lower() for role in Role)


class AccessAnswer(Answer):
    email: str
    role: str
    since: Time


class GivenRole(Body):
    role: str = Field(description=f"One of {ROLES}.")


class Transfer(Body):
    to: str = Field(description="E-mail of a collaborator.")


class NewInvitation(Body):
    email: str
    role: str = "developer"


class InvitationAnswer(Answer):
    id: UUID
    email: str
    app: str | None
    role: str | None
    is_admin: bool
    invited_by: str
    expires_at: Time
    url: str | None = Field(description="The link, only in the answer that makes it.")


def checked_role(name: str) -> Role:
    """Raises `InvalidInput`."""
    try:
        return Role[name.upper()]
    except KeyError:
        raise InvalidInput(f"{name[:40]!r} is no role.", hint=f"There are: {ROLES}.", id="unknown_role") from None


def invitation_answer(invitation: Invitation, secret: str = "") -> InvitationAnswer:
    return InvitationAnswer(
        id=invitation.pk,
        email=invitation.email,
        app=invitation.app.name if invitation.app else None,
        role=Role(invitation.role).name.lower() if invitation.role else None,
        is_admin=invitation.is_admin,
        invited_by=invitation.invited_by.email,
        expires_at=invitation.expires_at,
        url=invitation_url(secret) if secret else None,
    )


def _access(app: App) -> list[AccessAnswer]:
    owner = AccessAnswer(email=app.owner.email, role="owner", since=app.created_at)
    rows = app.collaborators.select_related("user")
    return [
        owner,
        *(AccessAnswer(email=row.user.email, role=Role(row.role).name.lower(), since=row.created_at) for row in rows),
    ]


def _of(app: App, email: str) -> AccessAnswer:
    """Raises `NotFound`."""
    row = get_collaborator(app, email)
    return AccessAnswer(email=row.user.email, role=Role(row.role).name.lower(), since=row.created_at)


@router.get("/apps/{identity}/access", response=list[AccessAnswer])
def list_access(request: ApiRequest, identity: str) -> list[AccessAnswer]:
    return page_of(request, _access(find_app(request, identity)), email=lambda each: each.email)


@router.put("/apps/{identity}/access/{email}", response=AccessAnswer)
def put_access(request: ApiRequest, identity: str, email: str, body: GivenRole) -> AccessAnswer:
    """Give somebody a role, or another one."""
    app = find_app(request, identity, Role.OWNER)
    role, user = checked_role(body.role), get_user(email)
    if app.owner_id == user.pk:
        raise Conflict(f"{user.email} owns {app.name}.", hint="Transfer it to somebody else first.", id="already_owner")
    if app.collaborators.filter(user=user).exists():
        services.change_role(get_collaborator(app, email), role, by=request.user)
    else:
        services.add_collaborator(app, user, role, by=request.user)
    return _of(app, email)


@router.delete("/apps/{identity}/access/{email}", response=AccessAnswer)
def delete_access(request: ApiRequest, identity: str, email: str) -> AccessAnswer:
    """Take a role away. Whoever has one may give it back."""
    leaves = email.strip().lower() == request.user.email.lower()
    app = find_app(request, identity, Role.VIEWER if leaves else Role.OWNER)
    shown = _of(app, email)
    services.remove_collaborator(get_collaborator(app, email), by=request.user)
    return shown


@router.post("/apps/{identity}/transfer", response=list[AccessAnswer])
def transfer(request: ApiRequest, identity: str, body: Transfer) -> list[AccessAnswer]:
    """Give it to a collaborator; the owner before stays as a developer. Answers with who has access now."""
    app = find_app(request, identity, Role.OWNER)
    services.transfer_app(app, get_user(body.to), by=request.user)
    return _access(App.objects.select_related("owner").get(pk=app.pk))


@router.get("/apps/{identity}/invitations", response=list[InvitationAnswer])
def list_invitations(request: ApiRequest, identity: str) -> list[InvitationAnswer]:
    app = find_app(request, identity, Role.OWNER)
    rows = app.invitations.select_related("app", "invited_by")
    return [invitation_answer(each) for each in page(request, rows)]


@router.post("/apps/{identity}/invitations", response={201: InvitationAnswer})
def create_invitation(request: ApiRequest, identity: str, body: NewInvitation) -> InvitationAnswer:
    """A link with which somebody new becomes a user with a role in this app, once, within a week."""
    app = find_app(request, identity, Role.OWNER)
    role = checked_role(body.role)
    invitation, secret, _ = invite_by_mail(email=body.email, by=request.user, app=app, role=role)
    return invitation_answer(invitation, secret)


@router.delete("/apps/{identity}/invitations/{invitation}", response=InvitationAnswer)
def delete_invitation(request: ApiRequest, identity: str, invitation: str) -> InvitationAnswer:
    found = app_invitation(find_app(request, identity, Role.OWNER), uuid_of(invitation))
    shown = invitation_answer(found)
    services.revoke_invitation(found, by=request.user)
    return shown
