"""Buildpacks that an app has been told to use, in their order."""

from __future__ import annotations

from collections.abc import Sequence

from ninja import Router
from pydantic import Field

from paas.api.auth import ApiRequest, find_app
from paas.api.errors import Refusal
from paas.api.schemas import Answer, Body
from paas.apps.models import App, Role
from paas.apps.services import set_buildpacks
from runtime.buildpacks.names import SHOWN, buildpack_name

router = Router(tags=["Builds"])


class BuildpackAnswer(Answer):
    name: str
    url: str


class InstallationAnswer(Answer):
    buildpack: BuildpackAnswer
    ordinal: int


class BuildpackChoice(Body):
    url: str | None = None
    name: str | None = None


class Update(Body):
    buildpack: str = Field(description="A name, such as heroku/python, or the address of one of Heroku's.")


class Updates(Body):
    updates: list[Update]


@router.get("/apps/{identity}/buildpack-installations", response=list[InstallationAnswer])
def list_installations(request: ApiRequest, identity: str) -> list[InstallationAnswer]:
    return _answers(find_app(request, identity))


@router.put("/apps/{identity}/buildpack-installations", response=list[InstallationAnswer])
def update_installations(request: ApiRequest, identity: str, body: Updates) -> list[InstallationAnswer]:
    """From the next build on; with none, app.json or the source says which."""
    app = find_app(request, identity, Role.DEVELOPER)
    set_buildpacks(app, [update.buildpack for update in body.updates], by=request.user)
    app.refresh_from_db(fields=["buildpacks"])
    return _answers(app)


def buildpack_answer(given: str) -> BuildpackAnswer:
    """As somebody gave it; a name stands for an address, too."""
    name = SHOWN.get(buildpack_name(given) or "", given)
    return BuildpackAnswer(name=name, url=given if given.startswith("https://") else f"urn:buildpack:{name}")


def given_buildpacks(choices: Sequence[BuildpackChoice]) -> list[str]:
    """Raises `Refusal` for one that says neither."""
    given = [choice.url or choice.name or "" for choice in choices]
    if not all(given):
        raise Refusal(422, "invalid_params", "Each of buildpacks needs a url or a name.")
    return given


def _answers(app: App) -> list[InstallationAnswer]:
    answers = map(buildpack_answer, app.buildpacks)
    return [InstallationAnswer(buildpack=answer, ordinal=number) for number, answer in enumerate(answers)]
