"""Scale process types, limit what each instance may take, say how its health is told, restart some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F

from paas.accounts.models import User
from paas.apps.events import identity
from paas.apps.models import App
from paas.apps.services import request_convergence, restart_app
from paas.core import audit
from paas.core.events import Include, moment, tell
from paas.formation.checks import check_memory, check_shares, checked_health
from paas.formation.models import ProcessScale
from paas.formation.selectors import DEFAULT_CPU_SHARES, Process, formation
from paas.formation.sizes import memory_text
from paas.releases.models import Release, ReleaseKind
from paas.releases.selectors import wished_release
from paas.releases.services import create_change
from paas.wiring import machine_memory
from runtime.errors import InvalidInput

MAX_QUANTITY = 10
MAX_IN_ALL = 25  # old and new ones side by side have to fit into the app's network, beside one-off runs


@transaction.atomic
def scale(app: App, quantities: Mapping[str, int], *, by: User) -> bool:
    """`{"web": 2}`. True when something changed. Raises `InvalidInput` for an unknown type or a silly number."""
    types = {process.process: process for process in formation(app)}
    present = {name: process.quantity for name, process in types.items()}
    changed: list[tuple[ProcessScale, int]] = []  # and what it was
    for process, quantity in quantities.items():
        if process not in types:
            raise unknown_process(app, process, sorted(types))
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
            changed.append((row, row.quantity))
            row.quantity = quantity
            row.save(update_fields=["quantity", "updated_at"])
    if changed:
        before = {row.process: old for row, old in changed}
        after = {row.process: row.quantity for row, _ in changed}
        App.objects.filter(pk=app.pk).update(generation=F("generation") + 1)
        audit.record("formation.scale", by=by, app_id=app.id, app_name=app.name, before=before, after=after)
        for row, old in changed:
            _tell_scale(app, row, types[row.process].command, old, by=by)
        request_convergence(app)
    return bool(changed)


def _tell_scale(app: App, row: ProcessScale, command: str, before: int, *, by: User) -> None:
    data = {
        "app": identity(app),
        "command": command,
        "created_at": moment(row.created_at),
        "id": str(row.pk),
        "quantity": row.quantity,
        "type": row.process,
        "updated_at": moment(row.updated_at),
    }
    previous = {"quantity": before}
    tell(Include.FORMATION, "update", data, app_id=app.pk, app_name=app.name, by=by, previous=previous)


def restart(app: App, *, by: User, target: str = "") -> None:
    """All instances, those of a process type, or one, each replaced by a new one before it goes. Raises `InvalidInput`
    for what the app doesn't have, `Conflict` when it is stopped."""
    if target:
        processes = {process.process: process.quantity for process in formation(app)}
        process, _, index = target.rpartition(".")
        names = {*processes, *(f"{name}.{n}" for name, number in processes.items() for n in range(1, number + 1))}
        if target not in names:
            known = sorted(processes)
            if process in processes and index.isdigit():
                raise InvalidInput(
                    f"{app.name} has no instance {target}: {process} is scaled to {processes[process]}.",
                    hint=f"See them with: paas ps -a {app.name}",
                    id="unknown_instance",
                )
            raise unknown_process(app, target, known)
    restart_app(app, by=by, target=target)


@transaction.atomic
def set_limits(app: App, changes: Mapping[str, Mapping[str, int | None]], *, by: User, why: str = "") -> Release | None:
    """`{"web": {"memory_bytes": 1 << 30, "cpu_shares": None}}`: None is the default again, 0 bytes no limit, and what is
    not named stays. One release; None when nothing changes. Raises `InvalidInput`."""
    before = {process.process: process for process in formation(app)}
    wished = wished_release(app)
    limits = {process: dict(limit) for process, limit in (wished.limits if wished else {}).items()}
    for process, change in changes.items():
        if process not in before:
            raise unknown_process(app, process, sorted(before))
        memory, shares = change.get("memory_bytes"), change.get("cpu_shares")
        if memory is not None:
            check_memory(process, memory, machine_bytes=machine_memory())
        if shares is not None:
            check_shares(process, shares)
        limit = limits.setdefault(process, {})
        for name, value in change.items():
            if value is None:
                limit.pop(name, None)
            else:
                limit[name] = value
        if not limit:
            del limits[process]
    description = "; ".join(filter(None, (_limit_change(before[each], limits.get(each, {})) for each in sorted(changes))))
    return create_change(
        app, by=by, kind=ReleaseKind.LIMITS, description=description or "Change limits", limits=limits, why=why
    )


def _limit_change(before: Process, limit: Mapping[str, int]) -> str:
    memory = limit.get("memory_bytes", settings.ENV.app_memory_bytes)
    shares = limit.get("cpu_shares", DEFAULT_CPU_SHARES)
    parts = []
    if memory != before.memory_bytes:
        parts.append(f"memory {memory_text(memory)}")
    if shares != before.cpu_shares:
        parts.append(f"CPU shares {shares}")
    return f"Limit {before.process}: {', '.join(parts)}" if parts else ""


@transaction.atomic
def set_health(app: App, process: str, check: Mapping[str, Any] | None, *, by: User, why: str = "") -> Release | None:
    """How the health of a new instance is told; None for what the code asks for. One release; None when nothing
    changes. Raises `InvalidInput`."""
    known = {each.process for each in formation(app)}
    if process not in known:
        raise unknown_process(app, process, sorted(known))
    release = wished_release(app)
    assert release is not None
    assert release.image is not None
    overrides = dict(release.health_overrides)
    if check is None:
        overrides.pop(process, None)
        description = f"Health of {process}: as the code asks for"
    else:
        overrides[process] = checked_health(
            process, check, serves=process == "web", image_has_check=release.image.has_health_check
        )
        description = f"Health of {process}: {health_text(overrides[process])}"
    return create_change(
        app, by=by, kind=ReleaseKind.HEALTH, description=description, health_overrides=overrides, why=why
    )


def health_text(check: Mapping[str, Any]) -> str:
    """`HTTP /up within 60 s`."""
    port = f" on port {check['port']}" if check.get("port") else ""
    within = f" within {float(check.get('start_seconds', 60)):g} s"
    match check.get("kind"):
        case "http":
            return f"HTTP {check.get('path') or '/'}{port}{within}"
        case "tcp":
            return f"a connection{port or ' to its port'}{within}"
        case "image":
            return f"the image's own check{within}"
        case _:
            return f"up for {float(check.get('uptime_seconds', 2)):g} s"


def unknown_process(app: App, process: str, known: list[str]) -> InvalidInput:
    return InvalidInput(
        f"{app.name} has no process type {process!r}.",
        hint=f"It has: {', '.join(known) or 'none yet; push some code first'}.",
        id="unknown_process_type",
    )
