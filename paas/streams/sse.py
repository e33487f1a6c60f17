"""The text of Server-Sent Events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

RETRY = b"retry: 2000\n\n"
KEEPALIVE = b": still here\n\n"


def event(name: str, data: str | Sequence[str] | Mapping[str, object], *, id: str = "") -> bytes:
    """Lines arrive as one text with line feeds between them; a mapping arrives as JSON. "message" is the browser's name
    for an event without one."""
    if isinstance(data, Mapping):
        lines: Sequence[str] = [json.dumps(data)]
    else:
        lines = [data] if isinstance(data, str) else data
    parts = [f"event: {name}"] if name != "message" else []
    if id:
        parts.append(f"id: {id}")
    # A carriage return would end the line for the browser.
    parts += [f"data: {line.replace(chr(13), ' ')}" for line in lines]
    return ("\n".join(parts) + "\n\n").encode()
