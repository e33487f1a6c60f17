"""Scale process types."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.models import F

from paas.accounts.models import User
from paas.apps.models import App
from paas.apps.services import request_convergence
from paas.core import audit
from paas.formation.models import ProcessScale
from paas.formation.selectors import formation
from runtime.errors import InvalidInput

MAX_QUANTITY = 10
MAX_IN_ALL = 25  # old and new ones side by side have to fit into the app's network, beside one-off runs


@transaction.atomic
def scale(app: App, quantities: Mapping[str, int], *, by: User) -> bool:
    """`{"web": 2}`. True when something changed. Raises `InvalidInput` for an unknown type or a silly number."""
    present = {process.process: process.quantity for process in formation(app)}
    known = set(present)
    changed = {}
    for process, quantity in quantities.items():
        if process not in known:
            raise InvalidInput(
                f"{app.name} has no process type {process!r}.",
                hint=f"It has: {', '.join(sorted(known)) or 'none yet; push some code first'}.",
                id="unknown_process_type",
            )
        if not 0 <= quantity <= MAX_QUANTITY:
            raise InvalidInput(
                f"{process}={quantity} is not possible here.", hint=f"Choose 0 to {MAX_QUANTITY}.", id="invalid_quantity"
            )
        present[process] = quantity
        if sum(present.values()) > MAX_IN_ALL:
            raise InvalidInput(
                f"{sum(present.values())} instances of {app.name} are too many.",
                hint=f"All process types together can have {MAX_IN_ALL}.",
                id="invalid_quantity",
            )
        row, _ = ProcessScale.objects.get_or_create(app=app, process=process)
        if row.quantity != quantity:
            changed[process] = [row.quantity, quantity]
            row.quantity = quantity
            row.save(update_fields=["quantity", "updated_at"])
    if changed:
        before = {process: old for process, (old, _) in changed.items()}
        after = {process: new for process, (_, new) in changed.items()}
        App.objects.filter(pk=app.pk).update(generation=F("generation") + 1)
        audit.record("formation.scale", by=by, app_id=app.id, app_name=app.name, before=before, after=after)
        request_convergence(app)
    return bool(changed)
