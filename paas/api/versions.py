"""Which version of the API a client speaks: `Accept: application/vnd.heroku+json; version=3`, or a variant, `3.sdk`."""

from __future__ import annotations

import re

from django.http import HttpRequest

from paas.api.errors import Refusal

ACCEPT = re.compile(
    r"application/vnd\.heroku\+json\s*;\s*version=3(?:\.(?P<variant>\w[\w-]*))?(?=[\s,;]|$)", re.IGNORECASE
)


def variant_of(request: HttpRequest) -> str:
    """`sdk`, or another word; "" for plain 3. Raises `Refusal` with 406."""
    found = ACCEPT.search(request.headers.get("Accept", ""))
    if found is None:
        raise Refusal(
            406,
            "not_acceptable",
            "The header Accept has to name the version of this API.",
            hint="Send: Accept: application/vnd.heroku+json; version=3",
        )
    return found["variant"] or ""
