"""What the API says of itself, to programs and to people. Open to everybody: nothing in it is about this platform."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Router

from paas.api import openapi, reference
from paas.api.auth import ApiRequest

router = Router(auth=None)


@router.get("/openapi.json", include_in_schema=False)
def openapi_document(request: ApiRequest) -> HttpResponse:  # the same for all
    return HttpResponse(openapi.text(), content_type="application/json")


@router.get("/docs", include_in_schema=False)
def reference_page(request: ApiRequest) -> HttpResponse:
    return HttpResponse(reference.page(), headers={"Content-Security-Policy": reference.POLICY})


@router.get("/docs/style.css", include_in_schema=False)
def reference_style(request: ApiRequest) -> HttpResponse:
    return HttpResponse(reference.style(), content_type="text/css; charset=utf-8")
