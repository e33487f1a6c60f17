"""Requests to URLs that somebody named, and what comes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from runtime.errors import PlatformError, Retryable


class NotReached(PlatformError, Retryable):
    """Nobody is there, it took too long, or it is not a place to go to. `id` tells which."""

    id = "not_reached"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    excerpt: str = ""  # the beginning of the body
    retry_after: float | None = None  # seconds


class Outbound(Protocol):
    def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> Answer:
        """Whatever the status is; no redirect is followed. Raises `NotReached`, or `InvalidInput` for what is no URL."""
        ...
