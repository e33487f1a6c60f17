"""Root's own way to the API: over the platform's sockets, with a token of the first admin that nobody had to ask for.

Nothing here loads Django unless a token has to be made, which is twice a day.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from datetime import timedelta
from functools import cached_property
from typing import Any

import httpx
from paas_client import settings, transport
from paas_client.api import Api
from paas_client.errors import PlatformProblem
from paas_client.settings import Platform

from paas.cli.machine import platform_code
from paas.env import Env

TOKEN_SECONDS = 12 * 3600
MARGIN_SECONDS = 300  # a command may take a while


class LocalTransport(httpx.BaseTransport):
    """What the router would do, without it: streams to the process for streams, everything else to the web process."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._transports: dict[str, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        name = "streams" if request.url.path.startswith("/streams/") else "web"
        request.headers["X-Paas-Door"] = "api"
        request.headers["X-Forwarded-For"] = "127.0.0.1"
        request.headers["X-Forwarded-Proto"] = request.url.scheme
        request.url = request.url.copy_with(scheme="http")
        return self._for(name).handle_request(request)

    def _for(self, name: str) -> httpx.HTTPTransport:
        found = self._transports.get(name)
        if found is None:
            socket = str(self._env.run_dir / f"{name}.sock")
            found = self._transports[name] = httpx.HTTPTransport(uds=socket, verify=False)  # no TLS there
        return found

    def close(self) -> None:
        for each in self._transports.values():
            each.close()


class LocalApi(Api):
    """Says what to do when the platform is down: there is one machine it can be on."""

    def send(self, *arguments: Any, **named: Any) -> httpx.Response:
        try:
            return super().send(*arguments, **named)
        except PlatformProblem as exc:
            if exc.id not in ("connection_refused", "no_answer"):
                raise
            raise PlatformProblem(
                "The platform is not up.",
                hint="Start it with: bin/up --detach\nWithout it these work: paas host, host:status, secrets:rotate,"
                " users:password, users:two-factor-off.",
                id="platform_down",
            ) from exc


class LocalDoor:
    """For whoever owns the platform's folder, which is root."""

    def __init__(self, env: Env) -> None:
        self._env = env

    @cached_property
    def platform(self) -> Platform:
        return Platform(name=self._env.domain, url=self._env.api_url, git_host=self._git_host)

    @property
    def _git_host(self) -> str:
        return self._env.address("git").partition("://")[2]

    def api(self, email: str | None = None) -> Api:
        return LocalApi(
            self.platform.url,
            token=self._kept_token() if email is None else "",
            transport=LocalTransport(self._env),
            renew=lambda: self._make_token(email),
        )

    def _kept_token(self) -> str:
        """ "" when there is none that will last."""
        try:
            kept = json.loads((self._env.run_dir / "cli.json").read_text())
            return str(kept["token"]) if kept["expires_at"] > time.time() + MARGIN_SECONDS else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _make_token(self, email: str | None) -> str:
        with platform_code():
            from paas.accounts.selectors import first_admin, get_user
            from paas.accounts.services import create_token

            admin = first_admin()
            user = admin if email is None else get_user(email)
            seconds = TOKEN_SECONDS if email is None else MARGIN_SECONDS
            _, secret = create_token(user, name="bin/paas", by=admin, lifetime=timedelta(seconds=seconds))
        if email is None:
            kept = {"token": secret, "expires_at": time.time() + seconds}
            settings.write_private(self._env.run_dir / "cli.json", json.dumps(kept))
        return secret

    def git_hosts(self) -> set[str]:
        https = self._env.address("git", "https").partition("://")[2]
        own = {f"localhost:{self._env.api_port}"} if self._env.api_port else set()
        return {self._git_host, https, f"git.{self._env.domain}"} | own

    def trust(self) -> ssl.SSLContext:
        """The platform's own CA, and what the operator gave instead of its certificate, besides those of the system."""
        context = transport.trust("")
        for file in (self._env.ca_file, self._env.tls_certificate):
            if file is not None and file.exists():
                context.load_verify_locations(file)
        return context


def is_ours(env: Env) -> bool:
    """Whether this person may use the platform's sockets."""
    try:
        return os.geteuid() in (0, env.home.stat().st_uid)
    except OSError:
        return os.geteuid() == 0
