"""Addresses outside of the API, for the client that asked."""

from __future__ import annotations

from django.http import HttpRequest


def stream_url(request: HttpRequest, path: str) -> str:
    """By the name that the client calls us: its certificate fits, and its firewall lets it through."""
    return f"{request.scheme}://{request.get_host()}{path}"


def host_name(request: HttpRequest) -> str:
    """Without the port."""
    name = request.get_host()
    return name if name.endswith("]") else name.rpartition(":")[0] or name
