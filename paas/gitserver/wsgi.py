"""git over HTTP, for a gunicorn of its own: a push holds a thread for as long as its build runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "paas.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.db import close_old_connections, connection  # noqa: E402

from paas.accounts.models import ApiToken, Scope  # noqa: E402
from paas.accounts.services import active_token  # noqa: E402
from paas.apps.models import App, Role  # noqa: E402
from paas.apps.selectors import get_app, repository_path  # noqa: E402
from paas.apps.services import create_app  # noqa: E402
from paas.core import audit  # noqa: E402
from paas.core.middleware import client_address, request_id_of  # noqa: E402
from paas.gitserver.handler import DeployHandler  # noqa: E402
from runtime.errors import Conflict, Forbidden, NotFound  # noqa: E402
from runtime.git.api import Access, GitLimits  # noqa: E402
from runtime.git.repository import create_repository  # noqa: E402
from runtime.git.web import GitApp, Service  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment


class PlatformAccess:
    """Tokens as passwords; any user name. A push to a name nobody has creates the app."""

    def authenticate(self, username: str, password: str, environ: WSGIEnvironment) -> ApiToken | None:  # noqa: ARG002
        return active_token(password, address=client_address(environ))

    def open(self, identity: ApiToken, app_name: str, service: Service) -> Access:
        pushing = service == "git-receive-pack"
        if not identity.allows(Scope.GIT):
            raise Forbidden(
                f"The token {identity.name!r} is not good for git.",
                hint="Sign in with one that has the scope git or write: paas tokens:create --scope git",
                id="token_scope",
            )
        app = self._app(identity, app_name, pushing=pushing)
        repository = repository_path(app)
        create_repository(repository, app.deploy_branch)
        return Access(
            repository=repository,
            handler=DeployHandler(app, identity.user) if pushing else None,
            limits=GitLimits(max_pack_bytes=settings.ENV.max_push_bytes),
        )

    def _app(self, token: ApiToken, name: str, *, pushing: bool) -> App:
        user = token.user
        try:
            app = get_app(user, name, Role.DEVELOPER if pushing else Role.VIEWER)
        except NotFound:
            if not pushing or token.app_id is not None:
                raise
        else:
            if token.app_id not in (None, app.pk):
                raise NotFound(f"The token {token.name!r} is not good for {name}.", hint="It was made for another app.")
            return app
        try:
            return create_app(name=name, by=user)
        except Conflict as exc:
            # Somebody else has it: say what a stranger may know.
            raise NotFound(
                f"No app named {name!r} that you may access.", hint="Choose another name for a new app."
            ) from exc


_git = GitApp(PlatformAccess(), realm="paas: a token as the password")


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Raw WSGI fires none of Django's request signals, so connections are looked after here."""
    close_old_connections()
    try:
        if environ.get("PATH_INFO") == "/-/health":
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
            return [b"ok\n"]
        with audit.through("git", request_id_of(environ), client_address(environ)):
            return _git(environ, start_response)
    finally:
        connection.close()
