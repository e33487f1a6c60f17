"""A client of the API, for each person; it holds every answer to the official schemas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from paas.accounts.models import Scope, User
from paas.accounts.services import create_token
from paas.apps.models import App
from tests.factories import make_user
from tests.unit.paas.api.conformance import check

ACCEPT = "application/vnd.heroku+json; version=3"


class ApiClient:
    """`api.get("/apps")` is the answer, its body in `.data`."""

    def __init__(self, user: User, *, scopes: tuple[str, ...] = (Scope.GLOBAL,), app: App | None = None) -> None:
        self.user = user
        self.token, self.secret = create_token(user, name="tests", by=user, scopes=scopes, app_id=app.pk if app else None)

    def request(
        self, method: str, path: str, body: Any = None, *, variant: str = "", headers: dict[str, str] | None = None
    ) -> Any:
        response: Any = Client(raise_request_exception=False).generic(
            method,
            path,
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode(),
            content_type="application/json",
            headers={
                "X-Paas-Door": "api",
                "Accept": ACCEPT + (f".{variant}" if variant else ""),
                "Authorization": f"Bearer {self.secret}",
                **(headers or {}),
            },
        )
        if response.streaming:
            return response
        assert isinstance(response, HttpResponse)
        accept = response.wsgi_request.headers["Accept"]  # type: ignore[attr-defined]
        if method != "HEAD":
            check(method, path, accept, response.status_code, response.content)
        if response.content and response.headers["Content-Type"].startswith("application/json"):
            response.data = json.loads(response.content)  # type: ignore[attr-defined]
        return response

    def get(self, path: str, **options: Any) -> Any:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.request("POST", path, body, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.request("PUT", path, body, **options)

    def patch(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.request("PATCH", path, body, **options)

    def delete(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.request("DELETE", path, body, **options)


@pytest.fixture
def alice() -> User:
    return make_user("alice")


@pytest.fixture
def api(alice: User) -> ApiClient:
    """Alice's, with a token for everything."""
    return ApiClient(alice)
