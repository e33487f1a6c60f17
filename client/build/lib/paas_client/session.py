"""What a command holds in its hands: the platform it talks to, and how."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from functools import cached_property
from typing import Protocol
from urllib.parse import urlsplit

import click
import httpx

from paas_client import settings, tls
from paas_client.api import Api
from paas_client.errors import UserProblem
from paas_client.git import app_of_remotes
from paas_client.settings import Platform, Settings
from paas_client.transport import Transport, trust

MakeTransport = Callable[[str], httpx.BaseTransport]


class Door(Protocol):
    """A way to a platform. There is that of somebody who logged in, and on the machine itself that of root."""

    @property
    def platform(self) -> Platform: ...

    def api(self, email: str | None = None) -> Api:
        """As the person who logged in, or as somebody else, which only root may."""

    def git_hosts(self) -> set[str]:
        """Where git remotes of this platform lead."""

    def trust(self) -> ssl.SSLContext:
        """For connections beside the API."""


class RemoteDoor:
    """By the environment, or by what `paas login` wrote."""

    def __init__(self, name: str = "", transport: MakeTransport = Transport) -> None:
        self._name = name
        self._transport = transport

    @cached_property
    def settings(self) -> Settings:
        return settings.load()

    @cached_property
    def platform(self) -> Platform:
        environ = os.environ
        if self._name or environ.get("PAAS_PLATFORM"):
            known = self.settings.find(self._name or environ["PAAS_PLATFORM"])
        elif url := environ.get("PAAS_URL"):
            return self._given(settings.api_url(url))
        else:
            known = self.settings.platforms.get(self.settings.default, Platform("", ""))
        if not known.url:
            raise UserProblem(
                "You are not logged in to any platform.", hint="paas login https://api.example.com", id="not_logged_in"
            )
        return known

    def _given(self, url: str) -> Platform:
        """A login at the same address helps with what the environment does not say."""
        known = next((each for each in self.settings.platforms.values() if each.url == url), Platform("", url))
        return Platform(
            name=urlsplit(url).netloc,
            url=url,
            token=os.environ.get("PAAS_TOKEN") or known.token,
            email=known.email if not os.environ.get("PAAS_TOKEN") else "",
            ca_file=os.environ.get("PAAS_CA_FILE") or known.ca_file,
            git_host=known.git_host,
        )

    def api(self, email: str | None = None) -> Api:
        if email is not None:
            raise UserProblem(
                "--email is for root on the machine, who may act for others: bin/paas there.", id="not_on_the_machine"
            )
        platform = self.platform
        ca_file = os.environ.get("PAAS_CA_FILE") or platform.ca_file
        token = os.environ.get("PAAS_TOKEN") or platform.token
        if not token:
            raise UserProblem(f"You are not logged in at {platform.url}.", hint=self._login, id="not_logged_in")
        return Api(platform.url, token=token, transport=self._transport(ca_file), login_hint=self._login)

    @property
    def _login(self) -> str:
        return f"Log in with: paas login {self.platform.url}"

    def git_hosts(self) -> set[str]:
        parts = urlsplit(self.platform.url)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
        domain = host.removeprefix("api.")
        known = {self.platform.git_host} if self.platform.git_host else set()
        return {f"{host}{port}", host, f"git.{domain}{port}", f"git.{domain}"} | known

    def trust(self) -> ssl.SSLContext:
        return trust(os.environ.get("PAAS_CA_FILE") or self.platform.ca_file)


class Session:
    """One run of the command line."""

    def __init__(
        self,
        local: Door | None = None,
        transport: MakeTransport = Transport,
        unchecked: Callable[[], httpx.BaseTransport] = tls.unchecked,
    ) -> None:
        self._local = local
        self.transport = transport  # to a platform whose CA is in this file
        self.unchecked = unchecked  # to one whose CA nobody knows yet
        self.platform_name = ""

    @cached_property
    def door(self) -> Door:
        """Root's own, unless another platform is asked for."""
        wants_other = self.platform_name or os.environ.get("PAAS_URL") or os.environ.get("PAAS_PLATFORM")
        return RemoteDoor(self.platform_name, self.transport) if wants_other or self._local is None else self._local

    @cached_property
    def api(self) -> Api:
        return self.door.api()

    def api_of(self, email: str | None) -> Api:
        return self.api if email is None else self.door.api(email)

    def app(self, given: str | None) -> str:
        """`-a`, else the variable (click read it), else the git remote. Raises `UserProblem`."""
        if given:
            return given
        found = app_of_remotes(self.door.git_hosts())
        if found is None:
            raise UserProblem(
                "Which app?",
                hint="Say it with -a APP, by the variable PAAS_APP, or in a folder with a git remote: paas git:remote",
                id="no_app",
            )
        return found


def current() -> Session:
    found = click.get_current_context().find_object(Session)
    assert found is not None  # the edge puts it there
    return found
