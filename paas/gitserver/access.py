"""Who may fetch from and push to which repository: one answer, whichever way git comes in."""

from __future__ import annotations

from django.conf import settings

from paas.accounts.models import ApiToken, Scope, User
from paas.apps.models import App, Role
from paas.apps.selectors import get_app, repository_path
from paas.apps.services import create_app
from paas.gitserver.handler import DeployHandler
from runtime.errors import Conflict, Forbidden, NotFound
from runtime.git.api import Access, GitLimits, Service
from runtime.git.repository import create_repository


def open_repository(user: User, app_name: str, service: Service, *, token: ApiToken | None = None) -> Access:
    """A push to a name nobody has creates the app. Raises `NotFound`, `Forbidden` or `InvalidInput`.

    `token`: what the user came with, if it was one, as it may be good for less than they are."""
    pushing = service == "git-receive-pack"
    if token is not None and not token.allows(Scope.GIT):
        raise Forbidden(
            f"The token {token.name!r} is not good for git.",
            hint="Sign in with one that has the scope git or write: paas tokens:create --scope git",
            id="token_scope",
        )
    app = _find_or_create(user, app_name, pushing=pushing, token=token)
    repository = repository_path(app)
    create_repository(repository, app.deploy_branch)
    return Access(
        repository=repository,
        handler=DeployHandler(app, user) if pushing else None,
        limits=GitLimits(max_pack_bytes=settings.ENV.max_push_bytes),
    )


def _find_or_create(user: User, name: str, *, pushing: bool, token: ApiToken | None) -> App:
    only = token.app_id if token is not None else None
    try:
        app = get_app(user, name, Role.DEVELOPER if pushing else Role.VIEWER)
    except NotFound:
        if not pushing or only is not None:
            raise
    else:
        if token is not None and only not in (None, app.pk):
            raise NotFound(f"The token {token.name!r} is not good for {name}.", hint="It was made for another app.")
        return app
    try:
        return create_app(name=name, by=user)
    except Conflict as exc:
        # Somebody else has it: say what a stranger may know.
        raise NotFound(f"No app named {name!r} that you may access.", hint="Choose another name for a new app.") from exc
