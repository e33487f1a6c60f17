"""git over HTTP, for a gunicorn of its own: a push holds a thread for as long as its build runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "paas.settings")
django.setup()

from django.db import close_old_connections, connection  # noqa: E402

from paas.accounts.models import ApiToken  # noqa: E402
from paas.accounts.services import active_token  # noqa: E402
from paas.core import audit  # noqa: E402
from paas.core.middleware import client_address, request_id_of  # noqa: E402
from paas.gitserver.access import open_repository  # noqa: E402
from runtime.git.api import Access, Service  # noqa: E402
from runtime.git.web import GitApp  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment


class PlatformAccess:
    """Tokens as passwords; any user name."""

    def authenticate(self, username: str, password: str, environ: WSGIEnvironment) -> ApiToken | None:  # noqa: ARG002
        return active_token(password, address=client_address(environ))

    def open(self, identity: ApiToken, app_name: str, service: Service) -> Access:
        return open_repository(identity.user, app_name, service, token=identity)


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
