"""The registry of buildpacks: those that this platform brings. Heroku has it at a host of its own, without a login."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from ninja import Router

from paas.api.auth import ApiRequest
from paas.api.errors import missing
from paas.api.schemas import Answer, made_up_id
from runtime.buildpacks.names import SHOWN, buildpack_name

router = Router(tags=["Builds"], auth=None)
DESCRIPTIONS = {
    "python": "Python, by requirements.txt, uv.lock, poetry.lock or Pipfile.lock",
    "node": "Node, by the lock file of npm, yarn or pnpm",
    "static": "Files that are served as they are",
}


class RegisteredAnswer(Answer):
    id: UUID
    namespace: str
    name: str
    category: str
    description: str
    blob_url: str


def _registered() -> Iterable[RegisteredAnswer]:
    for ours, description in DESCRIPTIONS.items():
        shown = SHOWN[ours]
        namespace, name = shown.split("/")
        yield RegisteredAnswer(
            id=made_up_id("buildpack", shown),
            namespace=namespace,
            name=name,
            category="languages",
            description=description,
            blob_url=f"urn:buildpack:{shown}",  # this is what comes back when it is chosen for an app
        )


# How clients say what they look for.
FILTERS: dict[str, Callable[[RegisteredAnswer, list[str]], bool]] = {
    "in[namespace][]": lambda each, wanted: each.namespace in wanted,
    "in[name][]": lambda each, wanted: each.name in wanted,
    "like[description]": lambda each, wanted: any(word.lower() in each.description.lower() for word in wanted),
}


@router.get("/buildpacks", response=list[RegisteredAnswer])
def search_buildpacks(request: ApiRequest) -> list[RegisteredAnswer]:
    """All, or those that fit `in[namespace][]`, `in[name][]` and `like[description]`."""
    asked = [(fits, request.GET.getlist(name)) for name, fits in FILTERS.items() if name in request.GET]
    return [each for each in _registered() if all(fits(each, wanted) for fits, wanted in asked)]


@router.get("/buildpacks/{path:name}", response=RegisteredAnswer)
def find_buildpack(request: ApiRequest, name: str) -> RegisteredAnswer:
    shown = SHOWN.get(buildpack_name(name) or "")
    for each in _registered():
        if f"{each.namespace}/{each.name}" == shown:
            return each
    raise missing("buildpack")
