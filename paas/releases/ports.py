"""Public ports belong to one app at a time: those of its current release and of the one it wishes for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection

from paas.accounts.models import User
from paas.apps.models import App
from paas.apps.selectors import apps_visible_to
from paas.releases.models import PortBinding
from paas.releases.selectors import current_release, wished_release
from runtime.errors import Conflict

ANY_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to
_LOCK = 0x70616173  # "paas"

Key = tuple[str, int, str]


def reserve_ports(app: App, *, by: User | None) -> None:
    """Within the transaction that makes, finishes or fails a release, with the app locked: write down which ports the
    app has from now on. Raises `Conflict` when another app has one of them."""
    wanted: dict[Key, Mapping[str, Any]] = {}
    for release in (current_release(app), wished_release(app)):
        for port in release.ports if release else ():
            if port.get("public_port"):
                wanted[str(port["public_address"]), int(port["public_port"]), str(port["protocol"])] = port
    rows = {(row.public_address, row.public_port, row.protocol): row for row in app.port_bindings.all()}
    if new := wanted.keys() - rows.keys():
        _check_free(app, new, by)
    PortBinding.objects.filter(pk__in=[row.pk for key, row in rows.items() if key not in wanted]).delete()
    for key, port in wanted.items():
        row = rows.get(key) or PortBinding(app=app, public_address=key[0], public_port=key[1], protocol=key[2])
        if key not in rows or (row.process, row.port) != (port["process"], port["port"]):
            row.process, row.port = port["process"], port["port"]
            row.save()


def _check_free(app: App, keys: set[Key], by: User | None) -> None:
    if connection.vendor == "postgresql":  # SQLite has one writer; here two could look at the same moment
        with connection.cursor() as cursor:
            cursor.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
    others = PortBinding.objects.exclude(app=app).select_related("app")
    for row in others.filter(public_port__in={port for _, port, _ in keys}):
        for key in keys:
            if overlap(key, (row.public_address, row.public_port, row.protocol)):
                visible = by is not None and apps_visible_to(by).filter(pk=row.app_id).exists()
                whose = f"the app {row.app.name}" if visible else "another app"
                raise Conflict(
                    f"Port {key[1]}/{key[2]} on {key[0]} belongs to {whose}.",
                    hint="Choose another public port"
                    + (f", or remove it there first: paas ports -a {row.app.name}" if visible else "."),
                    id="port_of_another_app",
                )


def overlap(one: Key, other: Key) -> bool:
    """Whether two bindings would meet: HTTP is spoken over TCP, and "any address" holds each of them."""
    addresses = {one[0], other[0]}
    return (
        one[1] == other[1]
        and (one[2] == "udp") == (other[2] == "udp")
        and (len(addresses) == 1 or not addresses.isdisjoint(ANY_ADDRESSES))
    )
