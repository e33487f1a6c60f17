"""One-off runs: a command in a container of the current release, in the app's network, with its config."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings

from paas.accounts.models import User
from paas.apps.models import App
from paas.apps.selectors import subnet
from paas.convergence.selectors import labels_of
from paas.convergence.spec import environment
from paas.core import audit
from paas.releases.selectors import current_release
from paas.wiring import engine, image_reference
from runtime.engine.api import Attached, ContainerSpec, Limits
from runtime.errors import Conflict
from runtime.reconcile.spec import APP, APP_ID, HOME, RELEASE


@dataclass(frozen=True, slots=True)
class Session:
    container_id: str
    attached: Attached

    def wait(self) -> int:
        return engine().wait(self.container_id).code


@contextmanager
def one_off(app: App, command: str, *, by: User, terminal: bool) -> Iterator[Session]:
    """Started and attached to; gone at the end, however that comes. Raises `Conflict` before the first deploy."""
    release = current_release(app)
    if release is None or release.image is None:
        raise Conflict(f"{app.name} has nothing to run yet.", hint="Push some code first.", id="nothing_deployed")
    audit.record("run.create", by=by, app_id=app.id, app_name=app.name, release=release.version)
    engine().ensure_network(
        app.network, subnet=subnet(app), labels={HOME: str(settings.ENV.home), APP: app.name, APP_ID: str(app.pk)}
    )
    reference = image_reference(release.image.repository, release.image.digest)
    engine().pull(reference)
    uses_launcher = release.image.uses_launcher
    container_id = engine().create(
        ContainerSpec(
            name=f"paas-{app.name}-run-{secrets.token_hex(4)}",
            image=reference,
            command=("run", command) if uses_launcher else ("-c", command),
            entrypoint=None if uses_launcher else ("/bin/sh",),
            environment={**environment(app, release, 0), **({"TERM": "xterm-256color"} if terminal else {})},
            labels={**labels_of(app, "run"), APP: app.name, RELEASE: str(release.version)},
            network=app.network,
            limits=Limits(memory_bytes=settings.ENV.app_memory_bytes),
            hostname="run",
            tty=terminal,
            open_stdin=True,
        )
    )
    try:
        with engine().attach(container_id) as attached:
            engine().start(container_id)
            yield Session(container_id, attached)
    finally:
        engine().remove(container_id)
