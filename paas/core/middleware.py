"""Doors, request ids, the client's address, cookies over HTTPS, the content security policy, compression."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils.module_loading import import_string

from paas.core import audit

GetResponse = Callable[[HttpRequest], HttpResponse]
WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{8,64}")


def client_address(environ: Mapping[str, Any]) -> str:
    """Of a WSGI request. Only the router reaches our Unix socket, where a peer has no address of its own, and it puts
    exactly one address into X-Forwarded-For, whatever the client sent. From anybody else the header means nothing."""
    given = str(environ.get("REMOTE_ADDR") or environ.get("HTTP_X_FORWARDED_FOR", ""))
    try:
        return str(ip_address(given.strip()))
    except ValueError:
        return ""


def request_id_of(environ: Mapping[str, Any]) -> str:
    """The router's X-Request-Id, or one of our own."""
    given = str(environ.get("HTTP_X_REQUEST_ID", ""))
    return given if WELL_FORMED.fullmatch(given) else uuid.uuid4().hex


class RequestIdMiddleware:
    """Takes the router's X-Request-Id (or makes one), binds it to the log and the audit trail, and sends it back."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = request_id_of(request.META)
        request.META["paas.request_id"] = request_id
        with audit.through("dashboard", request_id, client_address(request.META)):
            response = self.get_response(request)
        response.headers.setdefault("X-Request-Id", request_id)
        return response


class DoorMiddleware:
    """A request for another of our host names than the dashboard's goes to that name's own code, past all middleware of
    the pages. nginx says which name it was, and overwrites what a client sent."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        view = settings.DOORS.get(request.headers.get("X-Paas-Door", ""))
        response: HttpResponse = import_string(view)(request) if view else self.get_response(request)
        return response


class SecureCookiesMiddleware:
    """Cookies set over HTTPS stay there. Not a setting, as a platform may answer on both."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.is_secure():
            for cookie in response.cookies.values():
                cookie["secure"] = True
        return response


class ContentSecurityPolicyMiddleware:
    """No inline script, no foreign origin."""

    POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", self.POLICY)
        return response


class CompressionMiddleware(GZipMiddleware):
    """Pages, styles and scripts; fonts are compressed already. Django pads each answer by a random length, so that its
    size tells nothing about a secret in it."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if response.headers.get("Content-Type", "").startswith(("font/", "application/gzip", "application/octet-stream")):
            return response
        return super().process_response(request, response)
