"""Mails to one person, with a link that only they may have: an invitation, a new password."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import transaction
from django.utils import timezone

from paas.accounts.models import User
from paas.accounts.services.users import set_password
from paas.apps.models import App, Invitation, Role
from paas.apps.services import invite
from paas.core.queue import send
from paas.hooks.services.notices import mail, mail_is_on
from runtime.errors import NotFound

# Tied to the present password: a link ends with it. settings.PASSWORD_RESET_TIMEOUT says when it does otherwise.
_tokens = PasswordResetTokenGenerator()


@transaction.atomic
def invite_by_mail(
    *, email: str, by: User, app: App | None = None, role: Role | None = None, is_admin: bool = False
) -> tuple[Invitation, str, bool]:
    """The invitation, the secret of its link, and whether a mail with it is on its way. Raises what `invite` does."""
    invitation, secret = invite(email=email, by=by, app=app, role=role, is_admin=is_admin)
    if not mail_is_on():
        return invitation, secret, False
    what = f"the app {app.name}" if app else f"the platform at {settings.ENV.domain}"
    text = (
        f"{by.email} invites you to {what}. This link makes you a user, once, within a week:\n\n"
        f"{invitation_url(secret)}\n\nIf you don't know what this is about, do nothing."
    )
    mail(invitation.email, f"An invitation to {what}", text, "", key=f"invitation:{invitation.pk}")
    return invitation, secret, True


def invitation_url(secret: str) -> str:
    return f"{settings.ENV.address('dashboard')}/invitations/{secret}"


def ask_for_password(email: str) -> None:
    """Whether there is such a user is found out by the worker: to whoever asks, both take the same time."""
    if mail_is_on():
        send("hooks.mail_password", email)


def mail_password(email: str) -> None:
    """A link to set another password, for somebody who may sign in."""
    user = User.objects.filter(email__iexact=email, is_active=True).first()
    if user is None:
        return
    link = f"{settings.ENV.address('dashboard')}/password/{user.pk}/{_tokens.make_token(user)}"
    text = (
        f"Somebody, probably you, asks for another password of {user.email} at {settings.ENV.domain}.\n"
        f"This link sets one, once, within an hour:\n\n{link}\n\n"
        "If it was not you, do nothing: your password stays as it is."
    )
    with transaction.atomic():
        mail(user.email, "Your password", text, "", key=f"password:{user.pk}:{timezone.now():%Y%m%d%H%M%S}")


def user_of_link(user_id: UUID, token: str) -> User:
    """Raises `NotFound` for a link that was used, is too old, or was never right."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None or not _tokens.check_token(user, token):
        raise NotFound(
            "This link can't be used.", hint="It works once and for an hour. Ask for another one.", id="link_not_found"
        )
    return user


def set_password_by_link(user_id: UUID, token: str, password: str) -> User:
    """Ends all sessions. Raises `NotFound`, and `InvalidInput` for a weak one."""
    user = user_of_link(user_id, token)
    set_password(user, password, by=user)
    return user
