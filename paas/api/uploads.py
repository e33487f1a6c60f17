"""`/sources/ID`: archives on their way to a build. The secret in the address is all that it takes; no token."""

from __future__ import annotations

from uuid import UUID

from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path

from paas.api.errors import Refusal, no_such_endpoint
from paas.builds.sources import receive_source, sent_source


def upload(request: HttpRequest, blob_id: UUID) -> HttpResponseBase:
    if request.method == "PUT":
        length = request.META.get("CONTENT_LENGTH", "")
        if not (length.isascii() and length.isdigit()):
            raise Refusal(411, "length_required", "An upload says how long it is.", hint="Send a Content-Length.")
        receive_source(blob_id, request.GET.get("put", ""), request.read, int(length))
        return HttpResponse(status=200)
    if request.method == "GET":
        file = sent_source(blob_id, request.GET.get("get", "")).open("rb")
        return FileResponse(file, content_type="application/octet-stream", as_attachment=True, filename="source")
    raise no_such_endpoint()


urlpatterns = [path("sources/<uuid:blob_id>", upload, name="upload")]
