"""Process types: how many instances of each, and how big."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID, uuid5

from django.db import transaction
from ninja import Router
from pydantic import Field, field_validator

from paas.api.auth import ApiRequest, find_app
from paas.api.errors import missing
from paas.api.ranges import page_of
from paas.api.schemas import Answer, Body, NamedRef, Time, app_ref, made_up
from paas.api.v3.facts import CUSTOM, size_limits, size_name
from paas.apps.models import App, Role
from paas.builds.services import start_image_build, wait_until_released
from paas.formation.selectors import Process, formation
from paas.formation.services import scale, set_limits, unknown_process
from paas.releases.services import remove_process_type
from runtime.errors import InvalidInput

router = Router(tags=["Formation"])
RELEASE_SECONDS = 20.0  # how long a release of pushed images may take to be written down before we answer all the same
QUANTITY = re.compile(r"[+-]?[0-9]{1,6}", re.ASCII)


class FormationAnswer(Answer):
    app: NamedRef
    command: str
    created_at: Time
    dyno_size: NamedRef
    id: UUID
    quantity: int
    size: str
    type: str
    updated_at: Time


class SizeChoice(Body):
    id: str | None = None
    name: str | None = None


class ProcessChange(Body):
    quantity: str | None = Field(None, description="How many; `+1` and `-1` count from what is there.")
    size: str | None = Field(None, description="One of GET /dyno-sizes, by name or id.")
    dyno_size: SizeChoice | str | None = None
    docker_image: str | None = Field(
        None, description="Release the image that was pushed for it, by its id; null takes the process type out."
    )

    @field_validator("quantity", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @property
    def has_image(self) -> bool:
        """Whether it says anything about the image; null is something, too."""
        return "docker_image" in self.model_fields_set

    @property
    def wanted_size(self) -> str | None:
        if isinstance(self.dyno_size, SizeChoice):
            return self.size or self.dyno_size.name or self.dyno_size.id
        return self.size or self.dyno_size


class NamedProcessChange(ProcessChange):
    type: str = Field(description="The process type, or the id of its entry.")


class FormationChange(Body):
    updates: list[NamedProcessChange] = Field(max_length=100)


def entry_id(app: App, process: str) -> UUID:
    """An entry has no row before somebody scales it."""
    return uuid5(app.pk, process)


def _answers(app: App) -> list[FormationAnswer]:
    changed: dict[str, datetime] = dict(app.scales.values_list("process", "updated_at"))
    return [_answer(app, process, changed.get(process.process, app.created_at)) for process in formation(app)]


def _answer(app: App, process: Process, updated_at: datetime) -> FormationAnswer:
    size = size_name(process.memory_bytes, process.cpu_shares)
    return FormationAnswer(
        app=app_ref(app),
        command=process.command,
        created_at=app.created_at,
        dyno_size=made_up("dyno-size", size),
        id=entry_id(app, process.process),
        quantity=process.quantity,
        size=size,
        type=process.process,
        updated_at=updated_at,
    )


def _named(answers: list[FormationAnswer], identity: str) -> FormationAnswer:
    for each in answers:
        if identity in {each.type, str(each.id)}:
            return each
    raise missing("formation")


@router.get("/apps/{identity}/formation", response=list[FormationAnswer])
def list_formation(request: ApiRequest, identity: str) -> list[FormationAnswer]:
    answers = _answers(find_app(request, identity))
    return page_of(request, answers, ordered_by="type", id=lambda each: each.id, type=lambda each: each.type)


@router.get("/apps/{identity}/formation/{process}", response=FormationAnswer)
def formation_info(request: ApiRequest, identity: str, process: str) -> FormationAnswer:
    app = find_app(request, identity)
    return _named(_answers(app), process)


@router.patch("/apps/{identity}/formation", response=list[FormationAnswer])
def update_formation(request: ApiRequest, identity: str, body: FormationChange) -> list[FormationAnswer]:
    """All of it or nothing: one step of scaling, and one release when sizes change. The whole formation is answered."""
    changes: dict[str, ProcessChange] = {each.type: each for each in body.updates}
    app = find_app(request, identity, _role_for(changes))
    _release_images(request, app, changes)
    _change(request, app, changes)
    return _answers(app)


@router.patch("/apps/{identity}/formation/{process}", response=FormationAnswer)
def update_process(request: ApiRequest, identity: str, process: str, body: ProcessChange) -> FormationAnswer:
    app = find_app(request, identity, _role_for({process: body}))
    if body.has_image and body.docker_image is None:
        gone = _named(_answers(app), process)
        _release_images(request, app, {process: body})
        return gone.model_copy(update={"quantity": 0})
    _release_images(request, app, {process: body})
    _named(_answers(app), process)
    _change(request, app, {process: body})
    return _named(_answers(app), process)


def _role_for(changes: Mapping[str, ProcessChange]) -> Role:
    return Role.DEVELOPER if any(change.has_image for change in changes.values()) else Role.OPERATOR


def _release_images(request: ApiRequest, app: App, changes: Mapping[str, ProcessChange]) -> None:
    """What `container:release` and `container:rm` ask for. What is wrong with an image is said here, as a rule: a client
    would have to look for it in the log of the build."""
    chosen = {process: change.docker_image for process, change in changes.items() if change.has_image}
    pushed = {process: image for process, image in chosen.items() if image is not None}
    for process in chosen.keys() - pushed.keys():
        if remove_process_type(app, process, by=request.user) is None:
            raise missing("formation")
    if pushed:
        wait_until_released(start_image_build(app, pushed, by=request.user), RELEASE_SECONDS)


@transaction.atomic
def _change(request: ApiRequest, app: App, changes: Mapping[str, ProcessChange]) -> None:
    present = {each.process: each for each in formation(app)}
    ids = {str(entry_id(app, name)): name for name in present}
    quantities: dict[str, int] = {}
    limits: dict[str, dict[str, int | None]] = {}
    for given, change in changes.items():
        if change.has_image and change.quantity is None and change.wanted_size is None:
            continue
        name = ids.get(given, given)
        if name not in present:
            raise unknown_process(app, given[:40], sorted(present))
        if change.quantity is not None:
            quantities[name] = _quantity(name, change.quantity, present[name].quantity)
        if change.wanted_size is not None and change.wanted_size.lower() != CUSTOM.lower():
            limits[name] = {**size_limits(change.wanted_size)}
    if limits:
        set_limits(app, limits, by=request.user)
    if quantities:
        scale(app, quantities, by=request.user)


def _quantity(name: str, text: str, present: int) -> int:
    if not QUANTITY.fullmatch(text):
        raise InvalidInput(
            f"{text[:40]!r} is no number of {name}.", hint="Write one like 2, +1 or -1.", id="invalid_quantity"
        )
    return int(text) + (present if text[0] in "+-" else 0)
