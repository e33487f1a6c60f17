"""Public ports belong to one app at a time: those of its current release and of the one it wishes for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import connection

from paas.accounts.models import User
from paas.apps.models import App
from paas.apps.selectors import apps_visible_to
from paas.releases.models import PortBinding, Release
from runtime.errors import Conflict

ANY_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to
_LOCK = 0x70616173  # "paas"

Key = tuple[str, int, str]


def reserve_ports(app: App, releases: Iterable[Release], *, by: User | None) -> None:
    """Within the transaction that makes, finishes or fails a release, with the app locked: the ports of these releases
    are the app's from now on, and no others. Of two that use the same port, the later one says for what. Raises
    `Conflict` when another app has one of them."""
    wanted = {key_of(port): port for release in releases for port in release.ports if port.get("public_port")}
    rows = {(row.public_address, row.public_port, row.protocol): row for row in app.port_bindings.all()}
    check_free(app, [port for key, port in wanted.items() if key not in rows], by=by)
    PortBinding.objects.filter(pk__in=[row.pk for key, row in rows.items() if key not in wanted]).delete()
    for key, port in wanted.items():
        row = rows.get(key) or PortBinding(app=app, public_address=key[0], public_port=key[1], protocol=key[2])
        if key not in rows or (row.process, row.port) != (port["process"], port["port"]):
            row.process, row.port = port["process"], port["port"]
            row.save()


def check_free(app: App, ports: Iterable[Mapping[str, Any]], *, by: User | None) -> None:
    """Raises `Conflict` when another app has one of these, naming it to those who may see it."""
    keys = {key_of(port) for port in ports if port.get("public_port")}
    if not keys:
        return
    if connection.vendor == "postgresql" and connection.in_atomic_block:
        with connection.cursor() as cursor:  # SQLite has one writer; here two could look at the same moment
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


def key_of(port: Mapping[str, Any]) -> Key:
    return str(port["public_address"]), int(port["public_port"]), str(port["protocol"])


def overlap(one: Key, other: Key) -> bool:
    """Whether two bindings would meet: HTTP is spoken over TCP, and "any address" holds each of them."""
    addresses = {one[0], other[0]}
    return (
        one[1] == other[1]
        and (one[2] == "udp") == (other[2] == "udp")
        and (len(addresses) == 1 or not addresses.isdisjoint(ANY_ADDRESSES))
    )
