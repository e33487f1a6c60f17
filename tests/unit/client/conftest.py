"""`paas` against the platform's own API, in this process: every request goes through all of Django."""

from __future__ import annotations

import io
import json
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from django.core.handlers.wsgi import WSGIHandler
from paas_client.api import Api
from paas_client.main import main
from paas_client.session import Session
from paas_client.settings import Platform

from paas.accounts.models import User
from paas.accounts.services import create_token
from tests.factories import make_app, make_user

URL = "https://api.apps.example"


class InProcess(httpx.BaseTransport):
    """As the router hands requests over."""

    def __init__(self) -> None:
        self._wsgi = httpx.WSGITransport(app=WSGIHandler())
        self.requests: list[httpx.Request] = []
        self.meanwhile: Callable[[], object] = lambda: None  # what the rest of the platform does between two requests

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.meanwhile()
        request.headers["X-Paas-Door"] = "api"
        return self._wsgi.handle_request(request)


class RootsDoor:
    """As root's own on the machine, without its sockets."""

    def __init__(self, admin: User, transport: InProcess) -> None:
        self._admin, self._transport = admin, transport
        self.platform = Platform("apps.example", URL, email=admin.email, git_host="git.apps.example")

    def api(self, email: str | None = None) -> Api:
        user = self._admin if email is None else User.objects.get(email=email)
        _, secret = create_token(user, name="bin/paas", by=self._admin)
        return Api(URL, token=secret, transport=self._transport)

    def git_hosts(self) -> set[str]:
        return {"git.apps.example"}

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context()


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Paas = Callable[..., Said]


@pytest.fixture
def transport() -> InProcess:
    return InProcess()


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("PAAS_APP", "PAAS_URL", "PAAS_TOKEN", "PAAS_CA_FILE", "PAAS_PLATFORM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def admin() -> User:
    return make_user("admin", is_admin=True)


@pytest.fixture
def app():
    return make_app(owner=make_user("alice"))


def runner(capsys: pytest.CaptureFixture[str], session: Callable[[], Session]) -> Paas:
    def run(*arguments: str, code: int = 0, text: str | bytes = "") -> Said:
        capsys.readouterr()
        given = io.TextIOWrapper(io.BytesIO(text.encode() if isinstance(text, str) else text))
        with patch.object(sys, "stdin", given):
            ended = main(list(arguments), session=session())
        said = capsys.readouterr()
        assert ended == code, f"{ended}: {said.out}{said.err}"
        return Said(ended, said.out, said.err)

    return run


@pytest.fixture
def paas(admin: User, transport: InProcess, capsys: pytest.CaptureFixture[str]) -> Paas:
    """By root on the machine."""
    return runner(capsys, lambda: Session(RootsDoor(admin, transport)))


@pytest.fixture
def laptop(transport: InProcess, capsys: pytest.CaptureFixture[str]) -> Paas:
    """By somebody elsewhere, who has to log in first."""
    return runner(capsys, lambda: Session(transport=lambda _: transport))
