"""A request to api.DOMAIN, from its first byte to its last: none of the pages' middleware sees it."""

from __future__ import annotations

import hashlib
import uuid
from typing import cast

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, get_resolver, set_urlconf

from paas.api.auth import ApiRequest
from paas.api.errors import answer_to, no_such_endpoint
from paas.api.idempotency import once
from paas.core import audit
from paas.core.middleware import client_address, request_id_of

URLS = "paas.api.urls"


def answer(request: HttpRequest) -> HttpResponseBase:
    asked = cast("ApiRequest", request)
    asked.answer_headers, asked.next_range = {}, ""
    request_id = _uuid_of(request_id_of(request.META))
    request.META["paas.request_id"] = request_id
    method = request.method
    if method == "HEAD":
        request.method = "GET"
    with audit.through("api", request_id, client_address(request.META)):
        response = _respond(asked)
    headers = {
        "Request-Id": request_id,
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization, Accept",
        **asked.answer_headers,
    }
    for name, value in headers.items():
        response.headers.setdefault(name, value)
    if isinstance(response, HttpResponse):
        _finish(asked, response)
        if method == "HEAD":
            response.content = b""
    return response


def _uuid_of(request_id: str) -> str:
    """The router's id is 32 hexadecimal digits: the same number, as clients expect to read it."""
    try:
        return str(uuid.UUID(request_id))
    except ValueError:
        return str(uuid.uuid4())


def _respond(request: ApiRequest) -> HttpResponseBase:
    if request.method in {"POST", "PUT", "PATCH"} and not request.META.get("CONTENT_LENGTH", "").strip("0"):
        request._body = b"{}"  # noqa: SLF001  # no body: an object without members
    set_urlconf(URLS)
    try:
        if "\0" in request.path or "\0" in request.META.get("QUERY_STRING", ""):
            raise no_such_endpoint()
        match = get_resolver(URLS).resolve(request.path_info)
        request.resolver_match = match
        response = once(request, lambda: match.func(request, *match.args, **match.kwargs))
        # A known path and another method: to clients of the Platform API that is an unknown endpoint.
        return answer_to(request, no_such_endpoint()) if response.status_code == 405 else response
    except Resolver404:
        return answer_to(request, no_such_endpoint())
    except Exception as exc:  # noqa: BLE001  # the edge
        return answer_to(request, exc)
    finally:
        set_urlconf(None)


def _finish(request: ApiRequest, response: HttpResponse) -> None:
    if response.status_code == 200 and request.next_range:
        response.status_code = 206
        response.headers["Next-Range"] = request.next_range
    if response.status_code == 401:
        response.headers.setdefault("WWW-Authenticate", "Bearer")
    response.headers["Content-Length"] = str(len(response.content))
    if response.status_code >= 400 or not response.content:
        return
    tag = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    response.headers.setdefault("ETag", tag)
    given = [each.strip().removeprefix("W/") for each in request.headers.get("If-None-Match", "").split(",")]
    if request.method == "GET" and (response.headers["ETag"] in given or given == ["*"]):
        response.status_code, response.content = 304, b""
        del response.headers["Content-Type"], response.headers["Content-Length"]
