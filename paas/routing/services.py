"""Add and remove domains and public ports. A port is part of the app's releases, so a change of one makes a release; a
domain is the app's, and a change of one asks for convergence."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from paas.accounts.models import User
from paas.apps.events import identity
from paas.apps.models import App
from paas.apps.selectors import apps_visible_to, hosts
from paas.apps.services import request_convergence
from paas.core import audit
from paas.core.events import Action, Include, moment, tell
from paas.core.queue import send
from paas.releases.models import Release, ReleaseKind
from paas.releases.selectors import wished_release
from paas.releases.services import create_change
from paas.routing.models import DnsState, Domain
from paas.routing.rules import (
    MAX_DOMAINS,
    MAX_PORTS,
    checked_domain,
    checked_port,
    checked_process,
    checked_protocol,
    checked_public_port,
    port_range,
)
from paas.routing.selectors import ANY_ADDRESS, free_public_ports, get_domain
from paas.wiring import names, router
from runtime.errors import Conflict, InvalidInput, NotFound
from runtime.router.api import PortProtocol
from runtime.router.document import normal_host
from runtime.router.names import NamesUnavailable

ATTEMPTS = 5  # two at once may choose the same free port


def add_port(
    app: App, *, process: str = "web", port: int, protocol: str = "tcp", public_port: int | None = None, by: User
) -> tuple[int, Release | None]:
    """Lead a public port, or a free one of the platform's range, to a port of a process type. The public port, and the
    release that has it. Raises `InvalidInput`, and `Conflict` when an app or another process of the machine has it."""
    kind = checked_protocol(protocol)
    checked_process(app, wished_release(app), process)
    checked_port(port)
    if public_port is not None:
        checked_public_port(public_port, by=by)
        _check_host(kind, public_port)
        return public_port, _add(app, process, port, kind, public_port, by=by)
    low, high = port_range()
    attempts = 0
    for candidate in free_public_ports(kind):
        if router().listener(kind, candidate):
            continue
        try:
            return candidate, _add(app, process, port, kind, candidate, by=by)
        except Conflict as exc:
            attempts += 1
            if exc.id != "port_of_another_app" or attempts == ATTEMPTS:
                raise
    raise Conflict(
        f"No {kind} port from {low} to {high} is free.",
        hint="Remove one that is not needed any more, or ask an admin for a larger PAAS_PORT_RANGE.",
        id="no_port_left",
    )


def _check_host(protocol: PortProtocol, public_port: int) -> None:
    """Raises `Conflict` and names the process of the machine that has it."""
    holder = router().listener(protocol, public_port)
    if holder:
        raise Conflict(
            f"Port {public_port}/{protocol} of this machine is taken by {holder}.",
            hint="Choose another public port, or stop that process.",
            id="port_taken",
        )


@transaction.atomic
def _add(app: App, process: str, port: int, protocol: PortProtocol, public_port: int, *, by: User) -> Release | None:
    rows = _rows(app)
    if any(_is(row, protocol, public_port) for row in rows):
        raise Conflict(
            f"{app.name} has the public port {public_port}/{protocol} already.",
            hint="Change it, or choose another public port.",
            id="port_bound",
        )
    if len(rows) >= MAX_PORTS:
        raise Conflict(f"{app.name} has {MAX_PORTS} public ports, which is the limit.", id="too_many_ports")
    row = {
        "process": process,
        "port": port,
        "protocol": protocol.value,
        "public_address": ANY_ADDRESS,
        "public_port": public_port,
    }
    words = f"Open port {public_port}/{protocol} to {process}:{port}"
    return _save(app, [*rows, row], "ports.add", words, by=by, before=None, after=row)


@transaction.atomic
def change_port(
    app: App, protocol: PortProtocol, public_port: int, *, process: str, port: int, by: User
) -> Release | None:
    """Lead a public port elsewhere. None when it leads there already. Raises `NotFound` and `InvalidInput`."""
    checked_process(app, wished_release(app), process)
    checked_port(port)
    rows = _rows(app)
    before = _find(app, rows, protocol, public_port)
    after = {**before, "process": process, "port": port}
    if after == before:
        return None
    words = f"Lead port {public_port}/{protocol} to {process}:{port}"
    changed = [after if row is before else row for row in rows]
    return _save(app, changed, "ports.change", words, by=by, before=before, after=after)


@transaction.atomic
def remove_port(app: App, protocol: PortProtocol, public_port: int, *, by: User) -> Release | None:
    """Raises `NotFound`."""
    rows = _rows(app)
    gone = _find(app, rows, protocol, public_port)
    words = f"Close port {public_port}/{protocol}"
    kept = [row for row in rows if row is not gone]
    return _save(app, kept, "ports.remove", words, by=by, before=gone, after=None)


def _rows(app: App) -> list[dict[str, Any]]:
    """Within a transaction."""
    App.objects.select_for_update().get(pk=app.pk)
    release = wished_release(app)
    return list(release.ports) if release else []


def _is(row: dict[str, Any], protocol: PortProtocol, public_port: int) -> bool:
    return (row["protocol"], row["public_port"]) == (protocol.value, public_port)


def _find(app: App, rows: list[dict[str, Any]], protocol: PortProtocol, public_port: int) -> dict[str, Any]:
    for row in rows:
        if _is(row, protocol, public_port):
            return row
    raise NotFound(
        f"{app.name} has no public port {public_port}/{protocol}.",
        hint=f"See them with: paas ports -a {app.name}",
        id="port_not_found",
    )


def _told(row: dict[str, Any] | None) -> dict[str, str] | None:
    """For the audit log."""
    return None if row is None else {f"{row['public_port']}/{row['protocol']}": f"{row['process']}:{row['port']}"}


def _save(
    app: App,
    rows: list[dict[str, Any]],
    action: str,
    description: str,
    *,
    by: User,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> Release | None:
    """All rows as they are to be; `before` and `after` are the one that differs."""
    release = create_change(app, by=by, kind=ReleaseKind.PORTS, description=description, ports=rows)
    version = release.version if release else None
    audit.record(
        action,
        by=by,
        app_id=app.id,
        app_name=app.name,
        version=version,
        before=_told(before),
        after=_told(after),
    )
    if release is not None:
        _tell_port(app, before, after, release, by=by)
    return release


def _tell_port(
    app: App, before: dict[str, Any] | None, after: dict[str, Any] | None, release: Release, *, by: User
) -> None:
    action: Action = "create" if before is None else "destroy" if after is None else "update"
    data = {
        "app": identity(app),
        "release": {"id": str(release.pk), "version": release.version},
        **(after or before or {}),
    }
    moved = {key: before[key] for key in before if before[key] != after[key]} if before and after else {}
    tell(Include.PORT, action, data, app_id=app.pk, app_name=app.name, by=by, previous=moved)


def add_domain(app: App, text: str, *, by: User) -> Domain:
    """Saying it twice changes nothing. Raises `InvalidInput`, and `Conflict` when another app has the name, or one above
    or below it by a wildcard."""
    name = checked_domain(text)
    existing = app.domains.filter(name=name).first()
    if existing is not None:
        return existing
    try:
        with transaction.atomic():
            App.objects.select_for_update().get(pk=app.pk)
            if app.domains.count() >= MAX_DOMAINS:
                raise Conflict(f"{app.name} has {MAX_DOMAINS} domains, which is the limit.", id="too_many_domains")
            _check_domain_free(app, name, by=by)
            domain = Domain.objects.create(app=app, name=name)
            _changed(app, "domains.add", by=by, after={"domain": name})
            _tell_domain(domain, "create", by=by)
    except IntegrityError as exc:
        raise _domain_taken(name, None, by) from exc
    return domain


@transaction.atomic
def remove_domain(app: App, text: str, *, by: User) -> None:
    """Raises `NotFound`."""
    try:
        name = normal_host(text)
    except InvalidInput:
        name = text
    domain = get_domain(app, name)
    _tell_domain(domain, "destroy", by=by)
    domain.delete()
    _changed(app, "domains.remove", by=by, before={"domain": domain.name})


def _tell_domain(domain: Domain, action: Action, *, by: User) -> None:
    data = {
        "app": identity(domain.app),
        "cname": hosts(domain.app)[0],
        "created_at": moment(domain.created_at),
        "hostname": domain.name,
        "id": str(domain.pk),
        "kind": "custom",
        "updated_at": moment(domain.updated_at),
    }
    tell(Include.DOMAIN, action, data, app_id=domain.app_id, app_name=domain.app.name, by=by)


def _check_domain_free(app: App, name: str, *, by: User) -> None:
    """Whoever has `*.example.com` decides about the names below it."""
    others = Domain.objects.exclude(app=app).select_related("app")
    above = name.removeprefix("*.").split(".")
    wildcards = [f"*.{'.'.join(above[n:])}" for n in range(1, len(above))]
    clash = others.filter(name__in=[name, *wildcards]).first()
    if clash is None and name.startswith("*."):
        clash = others.filter(name__endswith=name[1:]).first()
    if clash is not None:
        raise _domain_taken(name, clash, by)


def _domain_taken(name: str, clash: Domain | None, by: User) -> Conflict:
    is_visible = clash is not None and apps_visible_to(by).filter(pk=clash.app_id).exists()
    whose = f"the app {clash.app.name}" if clash and is_visible else "another app"
    what = "it" if clash is None or clash.name == name or not is_visible else clash.name
    return Conflict(
        f"{name} is not free: {whose} has {what}.",
        hint="Remove it there first, or choose another name.",
        id="domain_taken",
    )


def _changed(app: App, action: str, *, by: User, **moved: dict[str, str]) -> None:
    App.objects.filter(pk=app.pk).update(generation=F("generation") + 1)
    audit.record(action, by=by, app_id=app.id, app_name=app.name, **moved)
    request_convergence(app)
    request_dns_check(app)


def request_dns_check(app: App) -> None:
    """A name server may take seconds: nobody waits for it."""
    app_id = str(app.pk)
    transaction.on_commit(lambda: send("routing.check_domains", app_id))


def check_domains(app: App) -> None:
    """Ask the domain name system where the app's domains lead."""
    domains = list(app.domains.all())
    if not domains:
        return
    ours = our_addresses(app)
    for domain in domains:
        try:
            found = list(names().addresses(domain.name.replace("*.", "any-name-below.", 1)))
        except NamesUnavailable:
            state, found = DnsState.UNKNOWN, []
        else:
            state = DnsState.HERE if ours & set(found) else DnsState.ELSEWHERE if found else DnsState.MISSING
        Domain.objects.filter(pk=domain.pk).update(dns_state=state, dns_addresses=found, dns_checked_at=timezone.now())


def our_addresses(app: App) -> set[str]:
    """Those of the machine, and those that the platform's domain leads to: there may be something in front of it."""
    ours = set(names().own())
    try:
        ours |= set(names().addresses(hosts(app)[0]))
    except NamesUnavailable:
        pass
    return ours
