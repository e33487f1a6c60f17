"""An event in a few words, for lists."""

from __future__ import annotations

from typing import Any

from paas.core.events import Include
from paas.core.models import Event


def about(event: Event) -> str:
    """`v3 succeeded`, `web.1 crashed`, `web=2`; "" for what is said by its kind alone."""
    data: dict[str, Any] = event.data
    match event.include:
        case Include.RELEASE:
            return f"v{data['version']} {data['status']}"
        case Include.BUILD:
            return f"{str(data['source_blob']['version'])[:12]} {data['status']}".strip()
        case Include.INSTANCE:
            return f"{data['name']} {data['state']}"
        case Include.FORMATION:
            return f"{data['type']}={data['quantity']}"
        case Include.DOMAIN:
            return str(data["hostname"])
        case Include.CONFIG:
            return ", ".join([*data["set"], *(f"without {name}" for name in data["unset"])])
        case Include.PORT:
            return f"{data['public_port']}/{data['protocol']}"
    return ""
