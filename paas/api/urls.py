"""Addresses below api.DOMAIN."""

from __future__ import annotations

from paas.api import certificate, login, uploads
from paas.api.app import api

# Without ninja's page at the root: it would lead to documents that it doesn't serve here.
urlpatterns = [
    *certificate.urlpatterns,
    *uploads.urlpatterns,
    *login.urlpatterns,
    *(pattern for pattern in api.urls[0] if getattr(pattern, "name", "") != "api-root"),
]
