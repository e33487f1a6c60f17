"""Rows to values: what should be true of an app, as `runtime.reconcile` takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paas.apps.models import App
from paas.apps.selectors import maintenance_page, subnet, url
from paas.formation.selectors import Process, formation
from paas.releases.models import Release
from paas.routing.selectors import hosts, public_address
from paas.wiring import image_reference
from runtime.reconcile.spec import AppSpec, BoundPort, CheckKind, HealthCheck, ProcessSpec
from runtime.router.api import PortProtocol

DEFAULT_PORT = 8080
WORKER_UPTIME_SECONDS = 2.0


def app_spec(app: App, release: Release | None) -> AppSpec:
    runs = release if app.stopped_at is None else None
    processes = [process_spec(app, runs, process) for process in formation(app, runs)] if runs else []
    return AppSpec(
        app=app.slug,
        app_id=str(app.pk),
        release=release.version if release else 0,
        processes=tuple(process for process in processes if process.quantity),
        hosts=tuple(hosts(app)),
        maintenance=app.maintenance,
        maintenance_page=maintenance_page(app) if app.maintenance else "",
        stopped=app.stopped_at is not None,
        network=app.network,
        subnet=subnet(app),
        restart_epoch=app.restart_epoch,
        restarts={row.target: row.epoch for row in app.restarts.all()},
    )


def process_spec(app: App, release: Release, process: Process) -> ProcessSpec:
    assert release.image is not None
    is_web = process.process == "web"
    port = (release.image.exposed_port or DEFAULT_PORT) if is_web else 0
    bound = bound_ports(release, process.process)
    return ProcessSpec(
        process=process.process,
        quantity=process.quantity,
        image=image_reference(release.image.repository, release.image.digest),
        command=command_of(release, process),
        environment={**environment(app, release, port), **told_ports(app, bound)},
        release=release.version,
        port=port,
        bound=bound,
        memory_bytes=process.memory_bytes,
        cpu_shares=process.cpu_shares,
        health=health_check(release, process.process, port, bound),
    )


def command_of(release: Release, process: Process) -> tuple[str, ...]:
    """What the image's entry point is given. Without a Procfile a Dockerfile's own command stands."""
    assert release.image is not None
    if release.image.uses_launcher:
        return ("start", process.process)
    return ("/bin/sh", "-c", f"exec {process.command}") if process.command else ()


def environment(app: App, release: Release, port: int) -> Mapping[str, str]:
    """The config, and what the platform tells every instance."""
    assert release.image is not None
    told = {
        "PAAS_APP": app.name,
        "PAAS_RELEASE": f"v{release.version}",
        "PAAS_COMMIT": release.image.commit,
        "PAAS_URL": url(app),
    }
    if port:
        told["PORT"] = str(port)
    return {**release.config, **told}


def bound_ports(release: Release, process: str) -> tuple[BoundPort, ...]:
    return tuple(
        BoundPort(PortProtocol(row["protocol"]), row["port"], row["public_address"], row["public_port"])
        for row in release.ports
        if row["process"] == process and row["protocol"] in {"tcp", "udp"}
    )


def told_ports(app: App, bound: Sequence[BoundPort]) -> Mapping[str, str]:
    """`PAAS_TCP_9000=hello.apps.example.com:20001` for the port 9000 of the app: where its visitors find it. Of several
    the lowest."""
    lowest = sorted(bound, key=lambda each: each.public_port, reverse=True)
    return {f"PAAS_{each.protocol.upper()}_{each.port}": public_address(app, each.public_port) for each in lowest}


@dataclass(frozen=True, slots=True)
class EffectiveHealth:
    """The check that counts for a process type, as a release would keep it, and where it comes from."""

    values: Mapping[str, Any]
    source: str  # "people", "code", "image", "default"


def effective_health(release: Release, process: str) -> EffectiveHealth:
    if process in release.health_overrides:
        return EffectiveHealth(release.health_overrides[process], "people")
    if process in release.health_checks:
        return EffectiveHealth(release.health_checks[process], "code")
    check = health_check(release, process, DEFAULT_PORT if process == "web" else 0, bound_ports(release, process))
    values = {
        "kind": check.kind.value,
        "timeout_seconds": check.timeout_seconds,
        "start_seconds": check.start_seconds,
        **({"uptime_seconds": check.uptime_seconds} if check.kind is CheckKind.UPTIME else {}),
        **({"port": check.port} if check.port and process != "web" else {}),
    }
    return EffectiveHealth(values, "image" if check.kind is CheckKind.IMAGE else "default")


def health_check(release: Release, process: str, port: int, bound: Sequence[BoundPort] = ()) -> HealthCheck:
    """What people set, else app.json, else the image's own HEALTHCHECK, else: the port answers, or a worker stays up."""
    assert release.image is not None
    given = release.health.get(process)
    if given:
        return HealthCheck(
            kind=CheckKind(given["kind"]),
            path=str(given.get("path", "")),
            port=int(given.get("port") or port),
            uptime_seconds=float(given.get("uptime_seconds", WORKER_UPTIME_SECONDS)),
            timeout_seconds=float(given.get("timeout_seconds", 5)),
            start_seconds=float(given.get("start_seconds", 60)),
        )
    if release.image.has_health_check and process == "web":
        return HealthCheck(CheckKind.IMAGE, port=port)
    if port:
        return HealthCheck(CheckKind.TCP, port=port)
    tcp = [each.port for each in bound if each.protocol is PortProtocol.TCP]
    if tcp:
        return HealthCheck(CheckKind.TCP, port=tcp[0])
    return HealthCheck(CheckKind.UPTIME, uptime_seconds=WORKER_UPTIME_SECONDS)
