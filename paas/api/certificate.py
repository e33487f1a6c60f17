"""The root certificate of the platform's own authority: a client has to trust it before it can show who it is."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

from paas.api.errors import missing


def root_certificate(_request: HttpRequest) -> HttpResponse:
    """For everybody, and in no version."""
    try:
        content = settings.ENV.ca_file.read_bytes()
    except FileNotFoundError:
        raise missing("certificate") from None
    return HttpResponse(content, content_type="application/x-pem-file")


urlpatterns = [path("ca.pem", root_certificate)]
