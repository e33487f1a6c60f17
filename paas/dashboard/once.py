"""Secrets that are shown once: kept for the next page of this session, encrypted, and gone when it is shown."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest

from paas.core.crypto import CannotDecrypt, decrypt, encrypt


def show_once(request: HttpRequest, name: str, value: Any) -> None:
    request.session[f"once:{name}"] = encrypt(json.dumps(value))


def take_once(request: HttpRequest, name: str) -> Any:
    """None when there is nothing to show, or nothing any more."""
    kept = request.session.pop(f"once:{name}", None)
    if kept is None:
        return None
    try:
        return json.loads(decrypt(kept))
    except CannotDecrypt:
        return None
