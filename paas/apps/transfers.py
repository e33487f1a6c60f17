"""Offer an app to somebody, who then takes it or does not."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from paas.accounts.models import User
from paas.apps.models import App, AppTransfer, TransferState
from paas.apps.services import check_active, hand_over
from paas.core import audit
from runtime.errors import Conflict, Forbidden


def transfers_of(user: User) -> QuerySet[AppTransfer]:
    """That they have offered, or that were offered to them."""
    rows = AppTransfer.objects.select_related("app", "owner", "recipient").filter(app__destroyed_at__isnull=True)
    return rows.filter(Q(owner=user) | Q(recipient=user))


@transaction.atomic
def offer_app(app: App, to: User, *, by: User) -> AppTransfer:
    """Callers have made sure that this is for `by` to do. Raises `Conflict`."""
    if app.owner_id == to.pk:
        raise Conflict(f"{to.email} owns {app.name} already.", id="already_owner")
    check_active(to)
    try:
        with transaction.atomic():
            transfer = AppTransfer.objects.create(app=app, owner=app.owner, recipient=to)
    except IntegrityError as exc:
        raise Conflict(
            f"{app.name} has been offered to somebody already.", hint="Take that offer back first.", id="transfer_pending"
        ) from exc
    _record("app.transfer_offer", transfer, by=by)
    return transfer


@transaction.atomic
def accept_transfer(transfer: AppTransfer, *, by: User) -> None:
    """By the recipient, who owns the app from now on; the owner before stays as a developer. Raises `Forbidden`, and
    `Conflict` when it is no longer pending."""
    app = App.objects.select_for_update(of=("self",)).select_related("owner").get(pk=transfer.app_id)
    _end(transfer, TransferState.ACCEPTED, by=by)
    hand_over(app, transfer.recipient, by=by)


@transaction.atomic
def decline_transfer(transfer: AppTransfer, *, by: User) -> None:
    """By the recipient. Raises `Forbidden` or `Conflict`."""
    _end(transfer, TransferState.DECLINED, by=by)
    _record("app.transfer_decline", transfer, by=by)


@transaction.atomic
def withdraw_transfer(transfer: AppTransfer, *, by: User) -> None:
    """By who made the offer. Raises `Forbidden`, and `Conflict` when it is no longer pending."""
    if by.pk != transfer.owner_id:
        raise Forbidden("Only who offered the app can take that back.", hint="You can decline it.")
    if not AppTransfer.objects.filter(pk=transfer.pk, state=TransferState.PENDING).delete()[0]:
        raise _over(transfer)
    _record("app.transfer_withdraw", transfer, by=by)


def _end(transfer: AppTransfer, state: TransferState, *, by: User) -> None:
    if by.pk != transfer.recipient_id:
        raise Forbidden("Only the one whom the app was offered to can say that.", hint="You can take the offer back.")
    transfer.state = state
    pending = AppTransfer.objects.filter(pk=transfer.pk, state=TransferState.PENDING)
    if not pending.update(state=state):
        raise _over(transfer)


def _over(transfer: AppTransfer) -> Conflict:
    return Conflict(f"This offer of {transfer.app.name} is over.", id="transfer_over")


def _record(action: str, transfer: AppTransfer, *, by: User) -> None:
    app = transfer.app
    audit.record(
        action, by=by, app_id=app.id, app_name=app.name, owner=transfer.owner.email, email=transfer.recipient.email
    )
