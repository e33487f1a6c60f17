"""`heroku login`, `paas login`: a program asks to be signed in, and is sent to a page of the dashboard."""

from __future__ import annotations

import json
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import path

from paas.accounts.services.browser_login import begin_login
from paas.api.errors import Refusal, no_such_endpoint
from paas.core.middleware import client_address


def begin(request: HttpRequest) -> HttpResponse:
    """No token is needed, and no version: whoever asks gets what they can show to a person."""
    if request.method != "POST":
        raise no_such_endpoint()
    try:
        body = json.loads(request.body)
        description = body.get("description") or ""
    except (ValueError, AttributeError, RecursionError):
        raise Refusal(400, "bad_request", "The body is not valid JSON.", hint="Send one JSON object.") from None
    row, secret = begin_login(str(description), address=client_address(request.META))
    return JsonResponse(
        {"browser_url": f"/auth/browser/{row.code}", "cli_url": f"/streams/logins/{row.pk}", "token": secret}
    )


def to_page(request: HttpRequest, code: str) -> HttpResponse:
    """The dashboard has the session."""
    scheme = "https" if request.is_secure() and settings.ENV.https_port else "http"
    return HttpResponseRedirect(f"{settings.ENV.address('dashboard', scheme)}/login/programs/{quote(code)}")


urlpatterns = [
    path("auth", begin, name="begin-login"),
    path("auth/browser/<str:code>", to_page, name="login-page"),
]
