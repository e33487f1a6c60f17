"""Names that our registry's door knows; apart, as who only says them needs no client."""

from __future__ import annotations

TOKEN_USER = "_token"  # noqa: S105 - who signs in by this name has one of our own tokens as the password
SERVICE = "paas"  # issuer and audience of tokens
INTERNAL = frozenset({"apps", "cache", "stacks"})  # first parts of repositories that are the platform's own
