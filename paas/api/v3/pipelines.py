"""Pipelines, the apps in them, and promotions from one to others."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from django.db.models import QuerySet
from ninja import Router
from ninja.params.functions import Query
from pydantic import Field

from paas.api.auth import ApiRequest, find_app
from paas.api.errors import missing
from paas.api.ranges import page
from paas.api.schemas import Answer, Body, NamedRef, Time, made_up
from paas.apps.models import Role
from paas.core.ids import uuid_of
from paas.pipelines import selectors, services
from paas.pipelines.models import Coupling, Pipeline, Promotion, Stage
from paas.releases.models import Release
from runtime.errors import InvalidInput

router = Router(tags=["Pipelines"])
GENERATION = "cedar"


class PipelineOwner(Answer):
    id: UUID
    type: Literal["user", "team"]


class PipelineAnswer(Answer):
    created_at: Time
    generation: NamedRef
    id: UUID
    name: str
    owner: PipelineOwner
    updated_at: Time


class IdRef(Answer):
    id: UUID


class CouplingAnswer(Answer):
    app: IdRef
    created_at: Time
    id: UUID
    # The schema has the id alone; Heroku's command line prints the name.
    pipeline: NamedRef
    stage: str
    updated_at: Time


class PromotionSource(Answer):
    app: IdRef
    release: IdRef


class PromotionAnswer(Answer):
    created_at: Time
    id: UUID
    pipeline: IdRef
    source: PromotionSource
    status: Literal["pending", "completed"]
    updated_at: Time


class TargetAnswer(Answer):
    app: IdRef
    error_message: str | None
    id: UUID
    pipeline_promotion: IdRef
    release: IdRef | None
    status: Literal["pending", "succeeded", "failed"]


class GivenOwner(Body):
    id: UUID
    type: str


class NewPipeline(Body):
    name: str
    owner: GivenOwner | None = Field(None, description="Nobody but whoever asks.")


class PipelineChange(Body):
    name: str | None = None


class NewCoupling(Body):
    app: str = Field(description="Name or id.")
    pipeline: str = Field(description="Name or id.")
    stage: str = Field(description=f"One of {', '.join(Stage.values)}.")


class CouplingChange(Body):
    stage: str | None = None


class GivenId(Body):
    id: str


class GivenSource(Body):
    app: GivenId
    release: GivenId | None = None


class GivenTarget(Body):
    app: GivenId


class NewPromotion(Body):
    pipeline: GivenId
    source: GivenSource
    targets: list[GivenTarget]
    why: str = Field("", description="Ours: the reason, for the record.")


def pipeline_answer(pipeline: Pipeline) -> PipelineAnswer:
    return PipelineAnswer(
        created_at=pipeline.created_at,
        generation=made_up("generation", GENERATION),
        id=pipeline.pk,
        name=pipeline.name,
        owner=PipelineOwner(id=pipeline.owner_id, type="user"),
        updated_at=pipeline.updated_at,
    )


def coupling_answer(coupling: Coupling) -> CouplingAnswer:
    return CouplingAnswer(
        app=IdRef(id=coupling.app_id),
        created_at=coupling.created_at,
        id=coupling.pk,
        pipeline=NamedRef(id=coupling.pipeline_id, name=coupling.pipeline.name),
        stage=coupling.stage,
        updated_at=coupling.updated_at,
    )


def promotion_answer(promotion: Promotion) -> PromotionAnswer:
    return PromotionAnswer(
        created_at=promotion.created_at,
        id=promotion.pk,
        pipeline=IdRef(id=promotion.pipeline_id),
        source=PromotionSource(app=IdRef(id=promotion.source_id), release=IdRef(id=promotion.release_id)),
        status="completed" if selectors.is_settled(promotion) else "pending",
        updated_at=promotion.updated_at,
    )


@router.get("/pipelines", response=list[PipelineAnswer])
def list_pipelines(request: ApiRequest, name: str = Query("", alias="eq[name]")) -> list[PipelineAnswer]:
    """With `eq[name]` the one of that name, if there is one."""
    rows = selectors.pipelines_visible_to(request.user)
    if name:
        rows = rows.filter(name=name)
    return [pipeline_answer(each) for each in page(request, rows, ordered_by="name", name="name")]


@router.post("/pipelines", response={201: PipelineAnswer})
def create_pipeline(request: ApiRequest, body: NewPipeline) -> PipelineAnswer:
    if body.owner is not None and (body.owner.type != "user" or body.owner.id != request.user.pk):
        raise InvalidInput("A pipeline belongs to whoever makes it.", hint="Leave the owner out.", id="invalid_owner")
    return pipeline_answer(services.create_pipeline(body.name, by=request.user))


@router.get("/pipelines/{pipeline}", response=PipelineAnswer)
def pipeline_info(request: ApiRequest, pipeline: str) -> PipelineAnswer:
    return pipeline_answer(selectors.get_pipeline(request.user, pipeline))


@router.patch("/pipelines/{pipeline}", response=PipelineAnswer)
def update_pipeline(request: ApiRequest, pipeline: str, body: PipelineChange) -> PipelineAnswer:
    found = selectors.get_pipeline(request.user, pipeline, for_managing=True)
    if body.name is not None:
        services.rename_pipeline(found, body.name, by=request.user)
    return pipeline_answer(found)


@router.delete("/pipelines/{pipeline}", response=PipelineAnswer)
def delete_pipeline(request: ApiRequest, pipeline: str) -> PipelineAnswer:
    found = selectors.get_pipeline(request.user, pipeline, for_managing=True)
    shown = pipeline_answer(found)
    services.destroy_pipeline(found, by=request.user)
    return shown


def _couplings(request: ApiRequest) -> QuerySet[Coupling]:
    return selectors.couplings_visible_to(request.user)


@router.get("/pipelines/{pipeline}/pipeline-couplings", response=list[CouplingAnswer])
def couplings_of_pipeline(request: ApiRequest, pipeline: str) -> list[CouplingAnswer]:
    found = selectors.get_pipeline(request.user, pipeline)
    return [coupling_answer(each) for each in page(request, _couplings(request).filter(pipeline=found))]


@router.get("/pipeline-couplings", response=list[CouplingAnswer])
def list_couplings(request: ApiRequest) -> list[CouplingAnswer]:
    return [coupling_answer(each) for each in page(request, _couplings(request))]


@router.get("/users/~/pipeline-couplings", response=list[CouplingAnswer])
def couplings_of_user(request: ApiRequest) -> list[CouplingAnswer]:
    return [coupling_answer(each) for each in page(request, _couplings(request))]


@router.post("/pipeline-couplings", response={201: CouplingAnswer})
def create_coupling(request: ApiRequest, body: NewCoupling) -> CouplingAnswer:
    pipeline = selectors.get_pipeline(request.user, body.pipeline)
    app = find_app(request, body.app, Role.OPERATOR)
    selectors.check_manages(pipeline, request.user)
    return coupling_answer(services.couple_app(pipeline, app, body.stage, by=request.user))


@router.get("/pipeline-couplings/{coupling}", response=CouplingAnswer)
def coupling_info(request: ApiRequest, coupling: str) -> CouplingAnswer:
    return coupling_answer(selectors.get_coupling(request.user, uuid_of(coupling)))


@router.patch("/pipeline-couplings/{coupling}", response=CouplingAnswer)
def update_coupling(request: ApiRequest, coupling: str, body: CouplingChange) -> CouplingAnswer:
    found = selectors.get_coupling(request.user, uuid_of(coupling), for_managing=True)
    if body.stage is not None:
        services.move_app(found, body.stage, by=request.user)
    return coupling_answer(found)


@router.delete("/pipeline-couplings/{coupling}", response=CouplingAnswer)
def delete_coupling(request: ApiRequest, coupling: str) -> CouplingAnswer:
    found = selectors.get_coupling(request.user, uuid_of(coupling), for_managing=True)
    shown = coupling_answer(found)
    services.uncouple_app(found, by=request.user)
    return shown


@router.get("/apps/{identity}/pipeline-couplings", response=CouplingAnswer)
def coupling_of_app(request: ApiRequest, identity: str) -> CouplingAnswer:
    """One object, or 404 for an app that is in no pipeline."""
    return coupling_answer(selectors.coupling_of(request.user, find_app(request, identity)))


@router.post("/pipeline-promotions", response={201: PromotionAnswer})
def create_promotion(request: ApiRequest, body: NewPromotion) -> PromotionAnswer:
    """It is carried out by a job: its targets tell how it goes."""
    pipeline = selectors.get_pipeline(request.user, body.pipeline.id)
    source = find_app(request, body.source.app.id)
    targets = [find_app(request, each.app.id, Role.DEVELOPER) for each in body.targets]
    release = None
    if body.source.release is not None:
        release = _release(source.pk, body.source.release.id)
    made = services.promote(pipeline, source, targets, by=request.user, release=release, why=body.why)
    return promotion_answer(made)


def _release(app_id: UUID, release_id: str) -> Release:
    try:
        key = UUID(release_id)
    except ValueError:
        raise missing("release") from None
    release = Release.objects.select_related("image").filter(app=app_id, pk=key).first()
    if release is None:
        raise missing("release")
    return release


@router.get("/pipeline-promotions/{promotion}", response=PromotionAnswer)
def promotion_info(request: ApiRequest, promotion: str) -> PromotionAnswer:
    return promotion_answer(selectors.get_promotion(request.user, uuid_of(promotion)))


@router.get("/pipeline-promotions/{promotion}/promotion-targets", response=list[TargetAnswer])
def promotion_targets(request: ApiRequest, promotion: str) -> list[TargetAnswer]:
    """`succeeded` once its release is live."""
    found = selectors.get_promotion(request.user, uuid_of(promotion))
    return [
        TargetAnswer(
            app=IdRef(id=each.app.pk),
            error_message=f"{each.reason} {each.hint}".strip() or None,
            id=each.target.pk,
            pipeline_promotion=IdRef(id=found.pk),
            release=IdRef(id=each.release.pk) if each.release else None,
            status=each.status,
        )
        for each in selectors.results(found, request.user)
    ]
