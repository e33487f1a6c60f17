"""What runs in the stages of a pipeline, and what a promotion would change."""

from __future__ import annotations

from uuid import UUID

from ninja import Router

from paas.api.auth import ApiRequest, find_app
from paas.api.platform.releases import PreviewAnswer, find_release, preview_answer
from paas.api.ranges import page
from paas.api.schemas import Answer, Time
from paas.pipelines import selectors

router = Router(tags=["Pipelines"])


class PlaceAnswer(Answer):
    name: str
    release: int | None
    description: str | None
    commit: str | None
    commit_subject: str | None
    image: str | None
    since: Time | None
    behind: bool
    role: str


class StageAnswer(Answer):
    stage: str
    apps: list[PlaceAnswer]


class PipelineDetails(Answer):
    id: UUID
    name: str
    owner: str
    apps: list[str]


@router.get("/pipeline-details", response=list[PipelineDetails])
def list_pipeline_details(request: ApiRequest) -> list[PipelineDetails]:
    """With the apps that one sees, in the order of their stages."""
    rows = selectors.pipelines_visible_to(request.user).select_related("owner")
    return [
        PipelineDetails(
            id=each.pk,
            name=each.name,
            owner=each.owner.email,
            apps=[place.app.name for column in selectors.stages(each, request.user) for place in column.places],
        )
        for each in page(request, rows, ordered_by="name", name="name")
    ]


@router.get("/pipelines/{pipeline}/stages", response=list[StageAnswer])
def stages(request: ApiRequest, pipeline: str) -> list[StageAnswer]:
    """All stages in order, with the apps that one sees. `since`: from then on this image has been live. `behind`:
    whether it is another one than in the stage before."""
    found = selectors.get_pipeline(request.user, pipeline)
    return [
        StageAnswer(stage=column.stage.value, apps=[_place(place, column) for place in column.places])
        for column in selectors.stages(found, request.user)
    ]


def _place(place: selectors.Place, column: selectors.StageColumn) -> PlaceAnswer:
    release, image = place.release, place.image
    return PlaceAnswer(
        name=place.app.name,
        release=release.version if release else None,
        description=release.description if release else None,
        commit=(image.commit or None) if image else None,
        commit_subject=(image.commit_subject or None) if image else None,
        image=image.digest if image else None,
        since=place.since,
        behind=place.differs_from(column.upstream),
        role=place.role.name.lower(),
    )


@router.get("/apps/{identity}/promotion", response=PreviewAnswer)
def preview_promotion(request: ApiRequest, identity: str, to: str, release: str = "~current") -> PreviewAnswer:
    """What a promotion of its current release, or of another one, would change in the app `to`."""
    source, target = find_app(request, identity), find_app(request, to)
    preview = selectors.promotion_preview(source, target, find_release(source, release))
    return preview_answer(preview.diff, preview.seen)
