"""Create and destroy apps; ask for convergence."""

from __future__ import annotations

import re

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from paas.accounts.models import User
from paas.apps.models import App
from paas.apps.selectors import pool_size
from paas.core import audit
from paas.core.queue import send
from paas.core.redis import announce_change
from runtime.errors import Conflict, InvalidInput

NAME = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")
RESERVED = frozenset({"api", "git", "dashboard", "registry", "www", "localhost"})


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
    """Raises `InvalidInput` or `Conflict`. The repository is made here as well, so that it can be pushed to at once."""
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
                app = App.objects.create(name=name, owner=by, network_index=index)
                audit.record("app.create", by=by, app_id=app.id, app_name=app.name)
                return app
        except IntegrityError as exc:
            if App.objects.filter(name=name).exists():
                raise Conflict(
                    f"The name {name!r} is taken.", hint="Choose another name for the app.", id="name_taken"
                ) from exc
    raise Conflict("Several apps were created at the same moment.", hint="Try again.")


@transaction.atomic
def destroy_app(app: App, *, by: User) -> None:
    """Everything of it goes: instances at once, then images, repository and rows. There is no way back."""
    App.objects.filter(pk=app.pk).update(destroyed_at=timezone.now(), generation=F("generation") + 1)
    audit.record("app.destroy", by=by, app_id=app.id, app_name=app.name)
    request_convergence(app)


@transaction.atomic
def restart_app(app: App, *, by: User) -> None:
    App.objects.filter(pk=app.pk).update(restart_epoch=F("restart_epoch") + 1, generation=F("generation") + 1)
    audit.record("app.restart", by=by, app_id=app.id, app_name=app.name)
    request_convergence(app)


@transaction.atomic
def set_maintenance(app: App, on: bool, *, by: User) -> None:
    """Saying it twice changes nothing."""
    moved = App.objects.filter(pk=app.pk, maintenance=not on).update(maintenance=on, generation=F("generation") + 1)
    if moved:
        audit.record("app.maintenance", by=by, app_id=app.id, app_name=app.name, on=on)
        request_convergence(app)


def request_convergence(app: App) -> None:
    """Ask, by name and after the commit, for somebody to look at this app now. The sweep looks anyway."""
    app_id = str(app.pk)
    transaction.on_commit(lambda: send("convergence.converge", app_id))
    announce_change(app_id)


__all__ = [
    "check_name", "create_app", "destroy_app", "request_convergence", "restart_app",
    "set_maintenance",
]  # fmt: skip
