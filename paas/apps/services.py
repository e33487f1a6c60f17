"""Create and destroy apps, share them with people; ask for convergence."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Max, Q
from django.utils import timezone

from paas.accounts.models import User
from paas.accounts.services import create_user, hash_token
from paas.accounts.services.users import checked_email
from paas.apps.events import tell_app
from paas.apps.models import STACKS, App, Collaborator, Invitation, MaintenancePage, Restart, Role, TransferState
from paas.apps.selectors import (
    get_invitation,
    invitation_gone,
    maintenance_page,
    may_still_invite,
    named_buildpacks,
    pool_size,
    repository_path,
)
from paas.core import audit
from paas.core.events import person
from paas.core.queue import send
from paas.core.redis import announce_change
from runtime.errors import Conflict, Forbidden, InvalidInput
from runtime.git.repository import set_head
from runtime.registry.names import INTERNAL
from runtime.router.document import MAX_PAGE_BYTES

NAME = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")
BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,99}")
INVITATION_LIFETIME = timedelta(days=7)
RESERVED = frozenset({"api", "git", "dashboard", "registry", "www", "localhost"}) | INTERNAL


def check_name(name: str) -> None:
    """A DNS label of up to 30 characters that is not one of ours. Raises `InvalidInput`."""
    if not NAME.fullmatch(name) or "--" in name:
        raise InvalidInput(
            f"{name!r} can't be an app's name.",
            hint="Use up to 30 lower-case letters, digits and single dashes; begin with a letter, end with none.",
            id="invalid_name",
        )
    if name in RESERVED:
        raise InvalidInput(f"The name {name!r} is the platform's own.", hint="Choose another one.", id="reserved_name")


def create_app(*, name: str, by: User) -> App:
    """Raises `InvalidInput`, `Conflict`, or `Forbidden` for somebody from whom an admin has taken the right."""
    if not by.may_create_apps:
        raise Forbidden(
            "You may not create apps here.", hint="Ask an admin of the platform for the right, or for an app.",
            id="may_not_create_apps",
        )  # fmt: skip
    check_name(name)
    for _ in range(5):  # two at once may choose the same network
        try:
            with transaction.atomic():
                taken = set(App.objects.values_list("network_index", flat=True))
                index = next(n for n in range(len(taken) + 1) if n not in taken)
                if index >= pool_size(settings.ENV.network_pool):
                    raise Conflict(
                        f"All networks in {settings.ENV.network_pool} are in use.",
                        hint="Destroy an app, or set PAAS_NETWORK_POOL to a larger range.",
                        id="no_network_left",
                    )
                app = App.objects.create(name=name, slug=name, owner=by, network_index=index)
                audit.record("app.create", by=by, app_id=app.id, app_name=app.name, after={"owner": by.email})
                tell_app(app, "create", by=by)
                return app
        except IntegrityError as exc:
            if App.objects.filter(Q(name=name) | Q(slug=name)).exists():
                raise _name_taken(name) from exc
    raise Conflict("Several apps were created at the same moment.", hint="Try again.")


@transaction.atomic
def rename_app(app: App, name: str, *, by: User) -> bool:
    """Its address and its remote change with it; the instances are replaced, as they are told both. False when that is
    its name already. Raises `InvalidInput` or `Conflict`."""
    check_name(name)
    app = App.objects.select_for_update(of=("self",)).select_related("owner").get(pk=app.pk)
    before = app.name
    if before == name:
        return False
    if App.objects.filter(Q(name=name) | Q(slug=name)).exclude(pk=app.pk).exists():
        raise _name_taken(name)
    App.objects.filter(pk=app.pk).update(name=name, generation=F("generation") + 1, updated_at=timezone.now())
    app.name = name
    audit.record("app.rename", by=by, app_id=app.id, app_name=name, before={"name": before}, after={"name": name})
    tell_app(app, "update", by=by, previous={"name": before})
    request_convergence(app)
    return True


def _name_taken(name: str) -> Conflict:
    return Conflict(f"The name {name!r} is taken.", hint="Choose another name for the app.", id="name_taken")


@transaction.atomic
def destroy_app(app: App, *, by: User) -> None:
    """Everything of it goes: instances at once, then images, repository and rows. There is no way back."""
    App.objects.filter(pk=app.pk).update(destroyed_at=timezone.now(), generation=F("generation") + 1)
    audit.record("app.destroy", by=by, app_id=app.id, app_name=app.name, before={"owner": app.owner.email})
    tell_app(app, "destroy", by=by)
    request_convergence(app)


@transaction.atomic
def restart_app(app: App, *, by: User, target: str = "") -> None:
    """Replace every instance, or those of a process type, or one (`web.1`), which callers have made sure to exist.
    Raises `Conflict` when the app is stopped."""
    app = App.objects.select_for_update().get(pk=app.pk)
    if app.stopped_at:
        raise Conflict(f"{app.name} is stopped.", hint=f"Start it with: paas ps:start -a {app.name}", id="app_stopped")
    highest = app.restarts.aggregate(highest=Max("epoch"))["highest"] or 0
    epoch = max(app.restart_epoch, highest) + 1
    if target:
        Restart.objects.update_or_create(app=app, target=target, defaults={"epoch": epoch})
    else:
        app.restarts.all().delete()
        app.restart_epoch = epoch
    app.generation = F("generation") + 1
    app.save(update_fields=["restart_epoch", "generation", "updated_at"])
    audit.record("app.restart", by=by, app_id=app.id, app_name=app.name, target=target or "all")
    request_convergence(app)


@transaction.atomic
def set_deploy_branch(app: App, branch: str, *, by: User) -> None:
    """Pushes to it are deployed, those to others refused. Raises `InvalidInput`. Saying it twice changes nothing."""
    if not BRANCH.fullmatch(branch) or ".." in branch or "//" in branch or branch.endswith((".", "/", ".lock")):
        raise InvalidInput(
            f"{branch!r} can't be the name of a branch.", hint="Use letters, digits, dashes, dots and slashes: main.",
            id="invalid_branch",
        )  # fmt: skip
    before = app.deploy_branch
    if before == branch:
        return
    App.objects.filter(pk=app.pk).update(deploy_branch=branch)
    app.deploy_branch = branch
    audit.record(
        "app.deploy_branch", by=by, app_id=app.id, app_name=app.name, before={"branch": before}, after={"branch": branch}
    )
    path = repository_path(app)
    if path.exists():  # made by the first push
        transaction.on_commit(lambda: set_head(path, branch))


@transaction.atomic
def set_buildpacks(app: App, given: Sequence[str], *, by: User) -> None:
    """For the next build and those after it; none: what app.json or the source says. Raises `InvalidInput`. Saying the
    same twice changes nothing."""
    named_buildpacks(given)
    app = App.objects.select_for_update().get(pk=app.pk)
    before, after = app.buildpacks, [text.strip() for text in given]
    if before == after:
        return
    app.buildpacks = after
    app.save(update_fields=["buildpacks", "updated_at"])
    audit.record(
        "app.buildpacks",
        by=by,
        app_id=app.id,
        app_name=app.name,
        before={"buildpacks": before},
        after={"buildpacks": after},
    )


@transaction.atomic
def set_stack(app: App, stack: str, *, by: User) -> None:
    """What its next images are made on. Saying it twice changes nothing. Raises `InvalidInput`."""
    if stack not in STACKS:
        raise InvalidInput(
            f"There is no stack {stack[:40]!r}.", hint=f"Choose among: {', '.join(STACKS)}.", id="unknown_stack"
        )
    before = app.stack
    if before != stack:
        App.objects.filter(pk=app.pk).update(stack=stack, updated_at=timezone.now())
        app.stack = stack
        audit.record(
            "app.stack", by=by, app_id=app.id, app_name=app.name, before={"stack": before}, after={"stack": stack}
        )
        tell_app(app, "update", by=by, previous={"build_stack": {"name": before}})


@transaction.atomic
def stop_app(app: App, *, by: User) -> bool:
    """Nothing of it runs any more, also after deploys, until it is started. False when it is stopped already."""
    moved = App.objects.filter(pk=app.pk, stopped_at=None).update(
        stopped_at=timezone.now(), generation=F("generation") + 1
    )
    if moved:
        audit.record("app.stop", by=by, app_id=app.id, app_name=app.name)
        request_convergence(app)
    return bool(moved)


@transaction.atomic
def start_app(app: App, *, by: User) -> bool:
    """As before it was stopped. False when it is not stopped."""
    moved = App.objects.filter(pk=app.pk, stopped_at__isnull=False).update(
        stopped_at=None, generation=F("generation") + 1
    )
    if moved:
        audit.record("app.start", by=by, app_id=app.id, app_name=app.name)
        request_convergence(app)
    return bool(moved)


@transaction.atomic
def set_maintenance(app: App, on: bool, *, by: User) -> None:
    """Saying it twice changes nothing."""
    moved = App.objects.filter(pk=app.pk, maintenance=not on).update(maintenance=on, generation=F("generation") + 1)
    if moved:
        audit.record(
            "app.maintenance",
            by=by,
            app_id=app.id,
            app_name=app.name,
            before={"maintenance": not on},
            after={"maintenance": on},
        )
        app.maintenance = on
        tell_app(app, "update", by=by, previous={"maintenance": not on})
        request_convergence(app)


@transaction.atomic
def set_maintenance_page(app: App, html: str, *, by: User) -> bool:
    """The app's own page for visitors during maintenance; "" for ours. False when it is that already. Raises
    `InvalidInput`."""
    html = html.strip()
    check_page(html)
    before = maintenance_page(app)
    if html == before:
        return False
    if html:
        MaintenancePage.objects.update_or_create(app=app, defaults={"html": html})
    else:
        MaintenancePage.objects.filter(app=app).delete()
    App.objects.filter(pk=app.pk).update(generation=F("generation") + 1)
    audit.record(
        "app.maintenance_page",
        by=by,
        app_id=app.id,
        app_name=app.name,
        before={"page": _page_words(before)},
        after={"page": _page_words(html)},
    )
    request_convergence(app)
    return True


def _page_words(html: str) -> str:
    return f"their own, {len(html.encode()):,} bytes" if html else "the platform's"


def check_page(html: str) -> None:
    """Raises `InvalidInput` for what no browser could show, or what the router would not keep."""
    if "\0" in html:
        raise InvalidInput(
            "The maintenance page is not a text file.", hint="Give one HTML file, in UTF-8.", id="invalid_page"
        )
    size = len(html.encode(errors="replace"))
    if size > MAX_PAGE_BYTES:
        raise InvalidInput(
            f"The maintenance page has {size:,} bytes; it can have {MAX_PAGE_BYTES:,}.",
            hint="Put styles and small pictures into the one file, and keep large pictures somewhere else.",
            id="page_too_large",
        )
    if html and "<" not in html:
        raise InvalidInput("The maintenance page holds no HTML.", hint="Give one complete HTML page.", id="invalid_page")


def request_convergence(app: App) -> None:
    """Ask, by name and after the commit, for somebody to look at this app now. The sweep looks anyway."""
    app_id = str(app.pk)
    transaction.on_commit(lambda: send("convergence.converge", app_id))
    announce_change(app_id)


# People


@transaction.atomic
def add_collaborator(app: App, user: User, role: Role, *, by: User) -> Collaborator:
    """Raises `Conflict` for somebody who has a role already, and for one who is deactivated."""
    if app.owner_id == user.pk or app.collaborators.filter(user=user).exists():
        raise Conflict(
            f"{user.email} has a role in {app.name} already.", hint="Change it instead.", id="already_collaborator"
        )
    check_active(user)
    row = Collaborator.objects.create(app=app, user=user, role=role)
    _record_access(app, "access.add", user.email, by, after=role)
    return row


@transaction.atomic
def change_role(collaborator: Collaborator, role: Role, *, by: User) -> None:
    before = Role(collaborator.role)
    if before == role:
        return
    collaborator.role = role
    collaborator.save(update_fields=["role", "updated_at"])
    _record_access(collaborator.app, "access.change", collaborator.user.email, by, before=before, after=role)


@transaction.atomic
def remove_collaborator(collaborator: Collaborator, *, by: User) -> None:
    """Also how people leave an app: then `by` is the collaborator. Their tokens for this app alone go, too."""
    collaborator.user.tokens.filter(app=collaborator.app).delete()
    collaborator.delete()
    action = "access.leave" if by.pk == collaborator.user_id else "access.remove"
    _record_access(collaborator.app, action, collaborator.user.email, by, before=Role(collaborator.role))


@transaction.atomic
def transfer_app(app: App, to: User, *, by: User) -> None:
    """To a collaborator; an admin may choose anybody. The owner before stays as a developer. Raises `Conflict`."""
    app = App.objects.select_for_update(of=("self",)).select_related("owner").get(pk=app.pk)
    if app.owner_id == to.pk:
        raise Conflict(f"{to.email} owns {app.name} already.", id="already_owner")
    if not by.is_admin and not app.collaborators.filter(user=to).exists():
        raise Conflict(
            f"{to.email} is no collaborator of {app.name}.",
            hint="Add them first, so that you can see whom you hand it to.",
            id="not_a_collaborator",
        )
    hand_over(app, to, by=by)


def hand_over(app: App, to: User, *, by: User) -> None:
    """Within a transaction that holds the app. Offers of the owner before are void. Raises `Conflict`."""
    check_active(to)
    before = app.owner
    app.collaborators.filter(user=to).delete()
    Collaborator.objects.create(app=app, user=before, role=Role.DEVELOPER)
    App.objects.filter(pk=app.pk).update(owner=to)
    app.transfers.filter(state=TransferState.PENDING).update(state=TransferState.DECLINED, updated_at=timezone.now())
    audit.record(
        "app.transfer", by=by, app_id=app.id, app_name=app.name, before={"owner": before.email}, after={"owner": to.email}
    )
    app.owner = to
    tell_app(app, "update", by=by, previous={"owner": person(before)})


@transaction.atomic
def invite(
    *, email: str, by: User, app: App | None = None, role: Role | None = None, is_admin: bool = False
) -> tuple[Invitation, str]:
    """For somebody new: the row and the secret of the link, which is shown once. An earlier one for the same is void.
    Raises `InvalidInput`, or `Conflict` for somebody who is a user already."""
    email = checked_email(email)
    if User.objects.filter(email__iexact=email).exists():
        raise Conflict(f"{email} is a user already.", hint="No invitation is needed.", id="name_taken")
    Invitation.objects.filter(email=email, app=app).delete()
    secret = secrets.token_urlsafe(24)
    row = Invitation.objects.create(
        email=email,
        digest=hash_token(secret),
        app=app,
        role=(role or Role.VIEWER) if app else None,
        is_admin=is_admin and app is None,
        invited_by=by,
        expires_at=timezone.now() + INVITATION_LIFETIME,
    )
    _record_invitation(row, "invitation.create", by, after=_described(row))
    return row, secret


@transaction.atomic
def revoke_invitation(invitation: Invitation, *, by: User) -> None:
    _record_invitation(invitation, "invitation.revoke", by, before=_described(invitation))
    invitation.delete()


@transaction.atomic
def accept_invitation(secret: str, *, name: str, password: str) -> User:
    """A new user, who has the role that the invitation says. The link is used up. Raises `NotFound` for one that is
    unknown, used or too old, and `InvalidInput` for a weak password."""
    invitation = get_invitation(secret)
    if not Invitation.objects.filter(pk=invitation.pk).delete()[0]:
        raise invitation_gone()
    user = create_user(
        email=invitation.email,
        password=password,
        name=name,
        is_admin=invitation.is_admin and invitation.invited_by.is_admin,
        by=invitation.invited_by,
    )
    _record_invitation(invitation, "invitation.accept", user, before=_described(invitation))
    if invitation.app is not None and may_still_invite(invitation):
        add_collaborator(invitation.app, user, Role(invitation.role or Role.VIEWER), by=invitation.invited_by)
    return user


def forget_invitations() -> None:
    """Those that ran out."""
    Invitation.objects.filter(expires_at__lte=timezone.now()).delete()


def check_active(user: User) -> None:
    """Raises `Conflict`."""
    if not user.is_active:
        raise Conflict(f"{user.email} is deactivated.", hint="An admin can activate them again.", id="user_inactive")


def _record_access(
    app: App, action: str, email: str, by: User, *, before: Role | None = None, after: Role | None = None
) -> None:
    audit.record(
        action,
        by=by,
        app_id=app.id,
        app_name=app.name,
        before=None if before is None else {"role": before.label},
        after=None if after is None else {"role": after.label},
        email=email,
    )


def _record_invitation(
    invitation: Invitation,
    action: str,
    by: User,
    *,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    app = invitation.app
    audit.record(
        action,
        by=by,
        app_id=app.id if app else None,
        app_name=app.name if app else "",
        before=before,
        after=after,
        email=invitation.email,
    )


def _described(invitation: Invitation) -> dict[str, object]:
    return {
        "role": Role(invitation.role).label if invitation.role else None,
        "is_admin": invitation.is_admin,
        "expires_at": invitation.expires_at.isoformat(),
    }


__all__ = [
    "accept_invitation", "add_collaborator", "change_role", "check_name", "create_app", "destroy_app",
    "forget_invitations", "invite", "remove_collaborator", "rename_app", "request_convergence", "restart_app",
    "revoke_invitation", "set_buildpacks", "set_deploy_branch", "set_maintenance", "set_stack", "transfer_app",
]  # fmt: skip
