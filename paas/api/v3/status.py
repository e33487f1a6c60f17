"""Whether the platform is well, in the words of Heroku's status page. There is no login, so it says no more than that."""

from __future__ import annotations

from typing import Literal

from ninja import Router

from paas.api.auth import ApiRequest
from paas.api.schemas import Answer
from paas.machine.selectors import Part, parts

router = Router(tags=["Platform"], auth=None)
Colour = Literal["green", "yellow", "red"]
FOR_APPS = {"router", "engine"}  # without these visitors notice


class SystemAnswer(Answer):
    system: str
    status: Colour


class StatusAnswer(Answer):
    status: list[SystemAnswer]
    incidents: list[str]
    scheduled: list[str]


@router.get("/api/v4/current-status", response=StatusAnswer)
def current_status(request: ApiRequest) -> StatusAnswer:
    everything = parts()
    apps = [part for part in everything if part.name in FOR_APPS]
    tools = [part for part in everything if part.name not in FOR_APPS]
    systems = [
        SystemAnswer(system="Apps", status=_colour(apps, "red")),
        SystemAnswer(system="Tools", status=_colour(tools, "yellow")),
    ]
    return StatusAnswer(status=systems, incidents=[], scheduled=[])


def _colour(asked: list[Part], when_ill: Colour) -> Colour:
    return when_ill if any(part.problem for part in asked) else "green"
