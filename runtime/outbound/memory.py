"""Requests that go nowhere and are remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runtime.outbound.api import Answer, NotReached
from runtime.outbound.urls import parse_url


@dataclass(frozen=True, slots=True)
class Request:
    url: str
    body: bytes
    headers: Mapping[str, str]


class MemoryOutbound:
    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[int | NotReached] = []  # to the next requests, in this order; 200 to all after

    def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> Answer:  # noqa: ARG002
        parse_url(url)
        self.requests.append(Request(url, body, dict(headers)))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, NotReached):
            raise answer
        return Answer(answer, "fine" if answer < 300 else "no")
