"""Containers that run one command of a release, in the app's network, with its config: release commands, one-off runs."""

from __future__ import annotations

import dataclasses

from django.conf import settings

from paas.apps.models import App
from paas.convergence.spec import app_spec, environment
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
) -> ContainerSpec:
    """`command` is given to the image's launcher, or to a shell where there is none. What a terminal shows is no log."""
    assert release.image is not None
    own = {"PAAS_INSTANCE": f"{kind}.{number}"} if number else {}
    if has_terminal:
        own["TERM"] = "xterm-256color"
    process = ProcessSpec(
        process=kind,
        quantity=1,
        image=image_reference(release.image.repository, release.image.digest),
        command=("run", command),
        environment={**environment(app, release, 0), **own},
        release=release.version,
        memory_bytes=settings.ENV.app_memory_bytes,
    )
    labels = {INDEX: str(number)} if number else {}
    if has_terminal:
        labels[LOGS] = "no"
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
