"""Keeps a session's row up to date: when it was last seen, and where."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from paas.accounts.services import touch_session
from paas.accounts.sessions import SessionStore
from paas.core.middleware import client_address


class SeenMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        session = request.session
        if isinstance(session, SessionStore) and session.row is not None and session.row.user_id is not None:
            touch_session(
                session.row,
                address=client_address(request.META),
                user_agent=request.headers.get("User-Agent", ""),
            )
        return response
