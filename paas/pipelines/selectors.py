"""Which pipelines there are for whom, what runs in their stages, how promotions went. No access: no pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from django.db.models import Q, QuerySet

from paas.accounts.models import User
from paas.apps.models import App, Role
from paas.apps.selectors import apps_visible_to, role_in, roles_of
from paas.core.ids import uuid_of
from paas.pipelines.models import Coupling, Pipeline, Promotion, PromotionTarget, Stage
from paas.releases.diff import Diff
from paas.releases.models import Image, Release, ReleaseStatus
from paas.releases.selectors import (
    check_not_collected,
    current_release,
    deploy_preview,
    diff_between_apps,
    release_contents,
    wished_release,
)
from runtime.errors import Conflict, Forbidden, InvalidInput, NotFound

ORDER = list(Stage)


def pipelines_visible_to(user: User) -> QuerySet[Pipeline]:
    pipelines = Pipeline.objects.select_related("owner")
    if user.is_admin:
        return pipelines
    shared = Coupling.objects.filter(app__in=apps_visible_to(user)).values("pipeline")
    return pipelines.filter(Q(owner=user) | Q(pk__in=shared))


def get_pipeline(user: User, identity: str, *, for_managing: bool = False) -> Pipeline:
    """By name or id. Raises `NotFound`, and `Forbidden` for somebody who sees it, but may not change it."""
    rows = pipelines_visible_to(user)
    pipeline = rows.filter(name=identity).first() if "\0" not in identity else None
    if pipeline is None:
        pipeline = rows.filter(pk=uuid_of(identity)).first()
    if pipeline is None:
        raise NotFound(
            f"No pipeline {identity[:60]!r} that you may access.",
            hint="See yours with: paas pipelines",
            id="pipeline_not_found",
        )
    if for_managing:
        check_manages(pipeline, user)
    return pipeline


def manages(pipeline: Pipeline, user: User) -> bool:
    return user.is_admin or pipeline.owner_id == user.pk


def check_manages(pipeline: Pipeline, user: User) -> None:
    """Raises `Forbidden`."""
    if not manages(pipeline, user):
        raise Forbidden(
            f"Only {pipeline.owner.email}, who owns the pipeline {pipeline.name}, may change it.",
            hint="Ask them to.",
        )


def couplings_visible_to(user: User) -> QuerySet[Coupling]:
    rows = Coupling.objects.select_related("app", "app__owner", "pipeline", "pipeline__owner")
    return rows.filter(app__in=apps_visible_to(user))


def get_coupling(user: User, coupling_id: UUID, *, for_managing: bool = False) -> Coupling:
    """Raises `NotFound` or `Forbidden`."""
    return _checked(
        couplings_visible_to(user).filter(pk=coupling_id).first(),
        user,
        for_managing,
        "There is no such app in a pipeline.",
    )


def find_coupling(user: User, app: App) -> Coupling | None:
    """Where the app is, if it is in a pipeline."""
    return couplings_visible_to(user).filter(app=app).first()


def coupling_of(user: User, app: App, *, for_managing: bool = False) -> Coupling:
    """Where the app is; it is one that the user sees. Raises `NotFound` or `Forbidden`."""
    return _checked(find_coupling(user, app), user, for_managing, f"{app.name} is in no pipeline.")


def _checked(coupling: Coupling | None, user: User, for_managing: bool, missing: str) -> Coupling:
    """Whoever owns an app may take it out of a pipeline, or move it, whosever the pipeline is."""
    if coupling is None:
        raise NotFound(missing, hint="Add it with: paas pipelines:add", id="not_in_a_pipeline")
    if for_managing and (role_in(coupling.app, user) or Role.VIEWER) < Role.OWNER:
        check_manages(coupling.pipeline, user)
    return coupling


@dataclass(frozen=True, slots=True)
class Place:
    """An app in its stage, and what runs there."""

    coupling: Coupling
    release: Release | None
    role: Role

    @property
    def app(self) -> App:
        return self.coupling.app

    @property
    def image(self) -> Image | None:
        return self.release.image if self.release else None

    @property
    def since(self) -> datetime | None:
        """From then on this image has been live. Asked of the database each time."""
        return _live_since(self.release)

    @property
    def may_deploy(self) -> bool:
        return self.role >= Role.DEVELOPER

    def differs_from(self, others: Iterable[Place]) -> bool:
        """Whether none of these runs the same image."""
        digests = {other.image.digest for other in others if other.image}
        return bool(digests) and (self.image is None or self.image.digest not in digests)


@dataclass(frozen=True, slots=True)
class StageColumn:
    stage: Stage
    places: Sequence[Place]
    upstream: Sequence[Place]  # of the stage before; empty stages are passed over


def stages(pipeline: Pipeline, user: User) -> list[StageColumn]:
    """All of them in order, with the apps that the user sees."""
    couplings = list(couplings_visible_to(user).filter(pipeline=pipeline).order_by("app__name"))
    roles = roles_of(user, [coupling.app for coupling in couplings])
    keys = [key for coupling in couplings if (key := coupling.app.current_release_id)]
    releases = {each.pk: each for each in Release.objects.select_related("image").defer("config").filter(pk__in=keys)}
    places = []
    for coupling in couplings:
        release = releases.get(coupling.app.current_release_id) if coupling.app.current_release_id else None
        places.append(Place(coupling, release, roles[coupling.app.pk]))
    columns: list[StageColumn] = []
    upstream: Sequence[Place] = ()
    for stage in ORDER:
        here = [each for each in places if each.coupling.stage == stage]
        columns.append(StageColumn(stage, here, upstream))
        upstream = here or upstream
    return columns


def _live_since(release: Release | None) -> datetime | None:
    """Since when its image has been live: a change of config made another release of it meanwhile."""
    if release is None or release.image_id is None:
        return None
    live = Release.objects.filter(app=release.app_id, status=ReleaseStatus.SUCCEEDED, version__lte=release.version)
    other = live.exclude(image=release.image_id).order_by("-version").values_list("version", flat=True).first()
    first = live.filter(image=release.image_id, version__gt=other or 0).order_by("version").first()
    return first.finished_at if first else None


def next_stage(stage: str) -> Stage | None:
    place = ORDER.index(Stage(stage)) + 1
    return ORDER[place] if place < len(ORDER) else None


def default_targets(coupling: Coupling, user: User) -> list[App]:
    """The apps of the next stage. Raises `InvalidInput` when there is none."""
    stage = next_stage(coupling.stage)
    rows = couplings_visible_to(user).filter(pipeline=coupling.pipeline, stage=stage).order_by("app__name")
    apps = [row.app for row in rows] if stage else []
    if not apps:
        why = f"{coupling.pipeline.name} has no app in {stage.value}" if stage else "there is no stage after production"
        raise InvalidInput(
            f"{coupling.app.name} is in {coupling.stage}, and {why}.",
            hint=f"Name the apps to promote to: paas pipelines:promote -a {coupling.app.name} --to APP",
            id="no_target",
        )
    return apps


def promotable_release(source: App, release: Release | None = None) -> Release:
    """The current one of the source, or this one, if its image can still be had. Raises `Conflict` or `InvalidInput`."""
    chosen = release or current_release(source)
    if chosen is None or chosen.image is None:
        raise Conflict(
            f"{source.name} has nothing to promote yet.", hint="Push some code to it first.", id="nothing_deployed"
        )
    if chosen.app_id != source.pk or chosen.status != ReleaseStatus.SUCCEEDED:
        raise InvalidInput(
            f"{chosen} of {source.name} is nothing to promote: it {chosen.status}.",
            hint="Choose a release that succeeded.",
            id="release_not_usable",
        )
    check_not_collected(chosen.image, str(chosen))
    return chosen


@dataclass(frozen=True, slots=True)
class PromotionPreview:
    """What a promotion would change in one app. `seen` is what it was compared with."""

    app: App
    diff: Diff
    seen: int


def promotion_preview(source: App, target: App, release: Release | None = None) -> PromotionPreview:
    """Raises `Conflict` or `InvalidInput` when there is nothing to promote."""
    chosen = promotable_release(source, release)
    assert chosen.image is not None
    base = wished_release(target)
    diff = deploy_preview(target, chosen.image, f"{source.name} {chosen}", history_of=(source, target))
    return PromotionPreview(target, diff, base.version if base else 0)


def difference_of_apps(before: App, after: App) -> Diff:
    """What runs in one compared with what runs in the other: code, names of config vars, process types, limits, checks.
    Public ports are each app's own and left out, and so are values of config vars that both have."""
    old = release_contents(current_release(before), before.name)
    new = release_contents(current_release(after), after.name)
    return diff_between_apps((after, before), old, new)


def promotions_of(pipeline: Pipeline, user: User) -> QuerySet[Promotion]:
    """Those from apps that the user sees."""
    rows = pipeline.promotions.select_related("source", "release", "created_by").defer("release__config")
    return rows.filter(source__in=apps_visible_to(user))


def get_promotion(user: User, promotion_id: UUID) -> Promotion:
    """Raises `NotFound`."""
    rows = Promotion.objects.select_related("source", "release", "pipeline", "created_by")
    promotion = rows.filter(pk=promotion_id, source__in=apps_visible_to(user)).first()
    if promotion is None:
        raise NotFound("There is no such promotion that you may see.", id="promotion_not_found")
    return promotion


def open_targets() -> QuerySet[PromotionTarget]:
    """Those that have neither a release nor a reason why they got none."""
    rows = PromotionTarget.objects.filter(release__isnull=True, error_id="")
    return rows.select_related("app", "promotion", "promotion__source", "promotion__release", "promotion__created_by")


@dataclass(frozen=True, slots=True)
class Result:
    """How a promotion does in one app: `pending`, `succeeded`, or `failed` with a reason."""

    target: PromotionTarget
    status: Literal["pending", "succeeded", "failed"]
    release: Release | None = None
    error_id: str = ""
    reason: str = ""
    hint: str = ""

    @property
    def app(self) -> App:
        return self.target.app


def results(promotion: Promotion, user: User) -> list[Result]:
    """Of the apps that the user sees."""
    return [_result(target) for target in _targets(promotion).filter(app__in=apps_visible_to(user))]


def is_settled(promotion: Promotion) -> bool:
    return all(_result(target).status != "pending" for target in _targets(promotion))


def _targets(promotion: Promotion) -> QuerySet[PromotionTarget]:
    return promotion.targets.select_related("app", "release").defer("release__config")


def _result(target: PromotionTarget) -> Result:
    if target.error_id:
        return Result(target, "failed", None, target.error_id, target.reason, target.hint)
    release = target.release
    if release is not None and release.status == ReleaseStatus.SUPERSEDED:
        # A change of config that came meanwhile carries the same image, and took its place.
        later = Release.objects.filter(app=release.app_id, version__gt=release.version, image=release.image_id)
        release = later.order_by("version").first() or release
    if release is None or not release.is_finished:
        return Result(target, "pending", release)
    if release.status == ReleaseStatus.SUCCEEDED:
        return Result(target, "succeeded", release)
    error_id = release.error_id or "superseded"
    return Result(target, "failed", release, error_id, release.reason, release.hint)
