"""git over HTTP, for a gunicorn of its own: a push holds a thread for as long as its build runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "paas.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.db import close_old_connections, connection  # noqa: E402

from paas.accounts.models import User  # noqa: E402
from paas.accounts.services import user_of_token  # noqa: E402
from paas.apps.models import App  # noqa: E402
from paas.apps.selectors import get_app, repository_path  # noqa: E402
from paas.apps.services import create_app  # noqa: E402
from paas.core import audit  # noqa: E402
from paas.gitserver.handler import DeployHandler  # noqa: E402
from runtime.errors import Conflict, NotFound  # noqa: E402
from runtime.git.api import Access, GitLimits  # noqa: E402
from runtime.git.repository import create_repository  # noqa: E402
from runtime.git.web import GitApp, Service  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment


class PlatformAccess:
    """Tokens as passwords; any user name. A push to a name nobody has creates the app."""

    def authenticate(self, username: str, password: str, environ: WSGIEnvironment) -> User | None:  # noqa: ARG002
        return user_of_token(password)

    def open(self, identity: User, app_name: str, service: Service) -> Access:
        app = self._app(identity, app_name, pushing=service == "git-receive-pack")
        repository = repository_path(app)
        create_repository(repository, app.deploy_branch)
        return Access(
            repository=repository,
            handler=DeployHandler(app, identity) if service == "git-receive-pack" else None,
            limits=GitLimits(max_pack_bytes=settings.ENV.max_push_bytes),
        )

    def _app(self, user: User, name: str, *, pushing: bool) -> App:
        try:
            return get_app(user, name)
        except NotFound:
            if not pushing:
                raise
        try:
            with audit.through("git"):
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
        return _git(environ, start_response)
    finally:
        connection.close()
