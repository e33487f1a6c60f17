"""Images that people make themselves: `docker push registry.DOMAIN/APP/PROCESS`, and then a release of it.

The registry asks nobody but us: whoever comes gets a token here for what their role in an app allows, or none.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from django.conf import settings

from paas.accounts.models import ApiToken, Scope, User
from paas.apps.models import App, Role
from paas.apps.selectors import get_app, is_id
from paas.core.files import write
from paas.releases.exclusion import allow_push, pushing
from runtime.errors import Conflict, Failure, Forbidden, NotFound
from runtime.registry.names import INTERNAL
from runtime.registry.tokens import LIFETIME_SECONDS, Access

log = structlog.get_logger()

REPOSITORY = re.compile(r"(?P<app>[a-z0-9]+(?:-+[a-z0-9]+)*)/(?P<process>[a-z0-9]+(?:[_-]+[a-z0-9]+)*)")
PULL, PUSH = "pull", "push"


class RegistryBusy(Conflict):
    id = "registry_busy"


@dataclass(frozen=True, slots=True)
class Grant:
    """What is allowed of what was asked for, and why not more."""

    access: Access
    refusal: Failure | None = None


def grants(asked: Sequence[Access], *, by: User, token: ApiToken | None = None) -> list[Grant]:
    """Each on its own: a client that borrows layers asks for several repositories at once. `token`: what they signed in
    with, if it was one."""
    return [_grant(each, by, token) for each in asked]


def app_of(repository: str, *, by: User, role: Role, token: ApiToken | None = None) -> App:
    """Raises `NotFound`, also for what exists and is none of theirs, and `Forbidden`."""
    match = REPOSITORY.fullmatch(repository)
    if match is None or match["app"] in INTERNAL or is_id(match["app"]):
        raise NotFound(
            f"{repository[:100]!r} is no place for an image.",
            hint="Name it APP/PROCESS, such as shop/web.",
            id="app_not_found",
        )
    app = get_app(by, match["app"], role)
    if token is not None and token.app_id not in (None, app.pk):
        raise NotFound(f"There is no app {match['app']!r} that you may see.", id="app_not_found")
    needed = Scope.READ if role == Role.VIEWER else Scope.WRITE
    if token is not None and not token.allows(needed):
        raise Forbidden(
            f"The token {token.name!r} has not the scope {needed}, which this takes.",
            hint=f"Make one that has: paas tokens:create --scope {needed}",
            id="token_scope",
        )
    return app


def _grant(asked: Access, by: User, token: ApiToken | None) -> Grant:
    allowed: list[str] = []
    refusal: Failure | None = None
    if asked.kind == "repository":
        for action, role in ((PULL, Role.VIEWER), (PUSH, Role.DEVELOPER)):
            if action not in asked.actions:
                continue
            try:
                app = app_of(asked.name, by=by, role=role, token=token)
                _take_over(app)
                if action == PUSH and not allow_push(LIFETIME_SECONDS):
                    raise _busy()
            except Failure as exc:
                refusal = exc
                break
            allowed.append(action)
    return Grant(Access(asked.kind, asked.name, tuple(allowed)), refusal)


# What is left of apps that are gone


def _take_over(app: App) -> None:
    """A name may have been another app's before: what that one has left is gone before anybody gets at it."""
    marker = _owners() / app.name
    try:
        if marker.read_text() == app.id.hex:
            return
    except FileNotFoundError:
        pass
    with pushing(_hold_off):
        marker.parent.mkdir(mode=0o700, exist_ok=True)
        _forget(app.name)
        write(marker, app.id.hex, mode=0o600)


def _hold_off() -> None:
    raise _busy()


def _busy() -> RegistryBusy:
    return RegistryBusy("Old images are being cleared away.", hint="Try again in a minute.")


def forget_leftovers() -> int:
    """For the cleanup, which is alone: repositories of apps that are gone, or are called otherwise by now. How many."""
    gone = 0
    living = {name: pk.hex for name, pk in App.objects.filter(destroyed_at__isnull=True).values_list("name", "pk")}
    for marker in list(_markers()):
        if living.get(marker.name) != marker.read_text():
            _forget(marker.name)
            marker.unlink()
            gone += 1
    return gone


def pushed_repositories() -> list[str]:
    """All that have been pushed to, `shop/web`."""
    return [
        f"{marker.name}/{folder.name}" for marker in _markers() for folder in sorted((_data() / marker.name).glob("*/"))
    ]


def _forget(name: str) -> None:
    folder = _data() / name
    if folder.is_dir():
        log.info("pushed_images_forgotten", name=name)
        shutil.rmtree(folder)


def _markers() -> Iterator[Path]:
    return iter(sorted(_owners().glob("[a-z0-9]*")))


def _owners() -> Path:
    """By an app's name the id of the app that has it in the bundled registry."""
    return Path(settings.ENV.home) / "registry" / "owners"


def _data() -> Path:
    return Path(settings.ENV.home) / "registry" / "data" / "docker" / "registry" / "v2" / "repositories"
