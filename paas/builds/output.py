"""Addresses at which the output of a build or a release is read without a token: signed, and good for half a day."""

from __future__ import annotations

import time
from typing import Literal
from uuid import UUID

from django.core.signing import BadSignature, Signer

from paas.builds.models import Build, BuildStatus
from paas.releases.models import Release
from runtime.errors import NotFound

Kind = Literal["builds", "releases"]
# An address is the same for so long, so that an answer that holds it does not change from one request to the next.
SPAN_SECONDS = 12 * 3600
_signer = Signer(salt="paas.builds.output", sep=".")


def output_path(of: Build | Release) -> str:
    """Below the API's address."""
    kind: Kind = "builds" if isinstance(of, Build) else "releases"
    until = (int(time.time()) // SPAN_SECONDS + 2) * SPAN_SECONDS
    return "/streams/output/" + _signer.sign(f"{kind}.{of.pk.hex}.{until}")


def open_output(signed: str) -> Build | Release:
    """What the address is for. Raises `NotFound` when it is none of ours or too old, and while nothing has been said."""
    try:
        kind, pk, until = _signer.unsign(signed).split(".")
    except (BadSignature, ValueError):
        raise _nothing() from None
    if int(until) < time.time():
        raise _nothing()
    found: Build | Release | None
    if kind == "builds":
        found = Build.objects.select_related("app").exclude(status=BuildStatus.PENDING).filter(pk=UUID(pk)).first()
    else:
        found = Release.objects.select_related("app").filter(pk=UUID(pk)).first()
    if found is None or found.app.destroyed_at is not None:
        raise _nothing()
    return found


def _nothing() -> NotFound:
    return NotFound("There is no output here, or not yet.", id="no_output")
