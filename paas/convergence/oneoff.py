"""Containers that run one command of a release, in the app's network, with its config: release commands, one-off runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from django.conf import settings

from paas.apps.models import App
from paas.convergence.spec import app_spec, environment
from paas.formation.selectors import DEFAULT_CPU_SHARES
from paas.releases.models import Release
from paas.wiring import applier, image_reference
from runtime.engine.api import ContainerSpec
from runtime.reconcile.spec import INDEX, LOGS, ProcessSpec


def one_off_container(
    app: App,
    release: Release,
    command: str,
    *,
    kind: str,
    number: int = 0,
    is_attached: bool = False,
    has_terminal: bool = False,
    own_environment: Mapping[str, str] | None = None,
    limits: tuple[int, int] | None = None,
    window: tuple[int, int] | None = None,
) -> ContainerSpec:
    """`command` is given to the image's launcher, or to a shell where there is none. What a terminal shows is no log.
    `limits`: bytes of memory and CPU shares, the platform's when left out. `window`: rows and columns of the terminal."""
    assert release.image is not None
    own = {"TERM": "xterm-256color"} if has_terminal else {}
    own |= own_environment or {}
    if number:
        own["PAAS_INSTANCE"] = f"{kind}.{number}"
    memory_bytes, cpu_shares = limits or (settings.ENV.app_memory_bytes, DEFAULT_CPU_SHARES)
    labels = {INDEX: str(number)} if number else {}
    if has_terminal:
        labels[LOGS] = "no"
    if window is not None:
        # Engines before 23 take no size for a terminal that has not begun, and afterwards the program may have asked.
        command = f"stty rows {window[0]} cols {window[1]} 2>/dev/null; {command}"
    process = ProcessSpec(
        process=kind,
        quantity=1,
        image=image_reference(release.image.repository, release.image.digest),
        command=("run", command),
        environment={**environment(app, release, 0), **own},
        release=release.version,
        memory_bytes=memory_bytes,
        cpu_shares=cpu_shares,
    )
    container = applier().one_off_spec(
        app_spec(app, release),
        process,
        kind=kind,
        tty=has_terminal,
        open_stdin=is_attached,
        extra_labels=labels,
    )
    if not release.image.uses_launcher:
        container = dataclasses.replace(container, entrypoint=("/bin/sh",), command=("-c", command))
    return container
