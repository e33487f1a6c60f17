"""Make pipelines, put apps into their stages, promote from one to others."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.utils import timezone

from paas.accounts.models import User
from paas.apps.models import App
from paas.core import audit
from paas.core.queue import send
from paas.core.redis import LeaseLost, announce_change, lease
from paas.pipelines.models import Coupling, Pipeline, Promotion, PromotionTarget, Stage
from paas.pipelines.selectors import open_targets, promotable_release
from paas.releases import services as releases
from paas.releases.exclusion import pushing
from paas.releases.models import Image, Release, ReleaseKind
from paas.releases.selectors import check_not_collected, check_seen
from paas.releases.tags import set_tag
from paas.wiring import registry
from runtime.errors import Conflict, Failure, InvalidInput, ManifestUnknown, RegistryUnavailable, Retryable

log = structlog.get_logger()

NAME = re.compile(r"[a-z][a-z0-9-]{1,28}[a-z0-9]", re.ASCII)
MAX_TARGETS = 50
KEEP = 200  # promotions of a pipeline
LONGEST_WAIT = timedelta(minutes=10)  # for a registry that is away
COLLECTING_SECONDS = 30
# What a copy in another app's repository has of its own.
OWN = frozenset({"id", "created_at", "updated_at", "app", "repository", "collected_at", "is_in_registry"})


def check_name(name: str) -> None:
    """Raises `InvalidInput`."""
    if not NAME.fullmatch(name):
        raise InvalidInput(
            f"{name[:60]!r} can't be the name of a pipeline.",
            hint="Use 3 to 30 lower-case letters, digits and dashes; begin with a letter, end with none.",
            id="invalid_name",
        )


def checked_stage(text: str) -> Stage:
    """Raises `InvalidInput`."""
    try:
        return Stage(text)
    except ValueError:
        raise InvalidInput(
            f"{text[:60]!r} is no stage.", hint=f"There are: {', '.join(Stage.values)}.", id="unknown_stage"
        ) from None


def create_pipeline(name: str, *, by: User) -> Pipeline:
    """Raises `InvalidInput` or `Conflict`."""
    check_name(name)
    try:
        with transaction.atomic():
            pipeline = Pipeline.objects.create(name=name, owner=by)
            audit.record("pipeline.create", by=by, pipeline=name, after={"owner": by.email})
    except IntegrityError as exc:
        raise _name_taken(name) from exc
    return pipeline


def rename_pipeline(pipeline: Pipeline, name: str, *, by: User) -> None:
    """Saying it twice changes nothing. Raises `InvalidInput` or `Conflict`."""
    before = pipeline.name
    if name == before:
        return
    check_name(name)
    try:
        with transaction.atomic():
            Pipeline.objects.filter(pk=pipeline.pk).update(name=name, updated_at=timezone.now())
            audit.record("pipeline.rename", by=by, pipeline=name, before={"name": before}, after={"name": name})
    except IntegrityError as exc:
        raise _name_taken(name) from exc
    pipeline.refresh_from_db()


def _name_taken(name: str) -> Conflict:
    return Conflict(f"There is a pipeline {name!r} already.", hint="Choose another name for it.", id="name_taken")


@transaction.atomic
def destroy_pipeline(pipeline: Pipeline, *, by: User) -> None:
    """Its apps stay as they are."""
    apps = sorted(pipeline.couplings.values_list("app__name", flat=True))
    audit.record("pipeline.destroy", by=by, pipeline=pipeline.name, before={"owner": pipeline.owner.email, "apps": apps})
    pipeline.delete()


@transaction.atomic
def couple_app(pipeline: Pipeline, app: App, stage: str, *, by: User) -> Coupling:
    """Raises `InvalidInput`, or `Conflict` for an app that is in a pipeline already."""
    wanted = checked_stage(stage)
    App.objects.select_for_update().get(pk=app.pk)
    existing = Coupling.objects.select_related("pipeline").filter(app=app).first()
    if existing is not None:
        where = pipeline.name if existing.pipeline_id == pipeline.pk else "a pipeline"
        raise Conflict(
            f"{app.name} is in {where} already.",
            hint=f"Take it out first: paas pipelines:remove -a {app.name}",
            id="already_in_a_pipeline",
        )
    coupling = Coupling.objects.create(pipeline=pipeline, app=app, stage=wanted)
    _record(coupling, "pipeline.add", by, after={"stage": wanted.value})
    return coupling


@transaction.atomic
def move_app(coupling: Coupling, stage: str, *, by: User) -> None:
    """To another stage. Saying it twice changes nothing. Raises `InvalidInput`."""
    wanted, before = checked_stage(stage), coupling.stage
    if wanted == before:
        return
    coupling.stage = wanted
    coupling.save(update_fields=["stage", "updated_at"])
    _record(coupling, "pipeline.move", by, before={"stage": before}, after={"stage": wanted.value})


@transaction.atomic
def uncouple_app(coupling: Coupling, *, by: User) -> None:
    """The app itself stays as it is."""
    _record(coupling, "pipeline.remove", by, before={"stage": coupling.stage})
    coupling.delete()


def _record(
    coupling: Coupling,
    action: str,
    by: User,
    *,
    before: Mapping[str, str] | None = None,
    after: Mapping[str, str] | None = None,
) -> None:
    app, name = coupling.app, coupling.pipeline.name
    audit.record(action, by=by, app_id=app.id, app_name=app.name, before=before, after=after, pipeline=name)
    announce_change(app.pk)


@transaction.atomic
def promote(
    pipeline: Pipeline,
    source: App,
    targets: Sequence[App],
    *,
    by: User,
    release: Release | None = None,
    why: str = "",
    seen: Mapping[UUID, int] | None = None,
) -> Promotion:
    """The image of the source's current release, or of this one, into other apps of the pipeline. It is carried out by a
    job; each target tells how it goes. `seen` has the versions of a preview, by app. Raises `InvalidInput`, or
    `Conflict` when there is nothing to promote, or something has changed since the preview."""
    chosen = promotable_release(source, release)
    _check_apps(pipeline, source, targets)
    for app in targets:
        check_seen(app, (seen or {}).get(app.pk))
    promotion = Promotion.objects.create(
        pipeline=pipeline,
        source=source,
        release=chosen,
        created_by=by,
        why=" ".join(why.replace("\0", "").split())[: releases.MAX_WHY],
    )
    for app in targets:
        PromotionTarget.objects.create(promotion=promotion, app=app)
    old = pipeline.promotions.order_by("-created_at").values_list("pk", flat=True)[KEEP:]
    pipeline.promotions.filter(pk__in=list(old)).delete()
    audit.record(
        "pipeline.promote",
        by=by,
        app_id=source.id,
        app_name=source.name,
        pipeline=pipeline.name,
        promotion=str(promotion.pk),
        version=chosen.version,
        targets=sorted(app.name for app in targets),
    )
    promotion_id = str(promotion.pk)
    transaction.on_commit(lambda: send("pipelines.run_promotion", promotion_id))
    return promotion


def _check_apps(pipeline: Pipeline, source: App, targets: Sequence[App]) -> None:
    if not targets:
        raise InvalidInput("There is no app chosen to promote to.", hint="Name at least one.", id="no_target")
    if len(targets) > MAX_TARGETS:
        raise InvalidInput(f"A promotion goes to {MAX_TARGETS} apps at most.", id="too_many_targets")
    coupled = set(pipeline.couplings.values_list("app", flat=True))
    for app in (source, *targets):
        if app.pk not in coupled:
            raise InvalidInput(
                f"{app.name} is not in the pipeline {pipeline.name}.",
                hint=f"Add it first: paas pipelines:add {pipeline.name} -a {app.name} --stage production",
                id="not_in_the_pipeline",
            )
    if source in targets:
        raise InvalidInput(
            f"{source.name} can't be promoted to itself.", hint="Choose other apps.", id="promoted_to_itself"
        )
    if len({app.pk for app in targets}) != len(targets):
        raise InvalidInput("An app is named more than once.", hint="Name each once.", id="named_twice")


def run_promotion(promotion_id: str) -> None:
    """Returns at once when somebody else is at it, or when it is done. What can't be done now is done by a later look."""
    with lease(f"promotion:{promotion_id}") as held:
        if held is None:
            return
        for target in open_targets().filter(promotion=UUID(promotion_id)):
            try:
                held.check()
            except LeaseLost:
                return
            promotion = target.promotion
            with (
                structlog.contextvars.bound_contextvars(app=target.app.name, promotion=str(promotion.pk)),
                audit.resumed("pipeline.promote", app_id=promotion.source_id, promotion=str(promotion.pk)),
            ):
                _promote_to(target)


def take_up_lost_promotions() -> None:
    """For the sweep: those whose message was lost, whose worker died, or for which the registry was away."""
    since = timezone.now() - timedelta(seconds=20)
    waiting = open_targets().filter(created_at__lt=since).order_by()
    for promotion_id in waiting.values_list("promotion", flat=True).distinct():
        send("pipelines.run_promotion", str(promotion_id))


def _promote_to(target: PromotionTarget) -> None:
    try:
        with pushing(_patience()):
            _make_image_known(target)
            release = _make_release(target)
    except Failure as exc:
        if isinstance(exc, Retryable) and timezone.now() - target.created_at < LONGEST_WAIT:
            log.warning("promotion_waits", error=exc.id, reason=exc.message)
            return
        log.info("promotion_failed", error=exc.id)
        _fail(target, exc)
    except Exception:
        log.exception("promotion_broke")
        _fail(
            target,
            Failure(
                "The platform made a mistake while promoting.",
                hint=f"It is logged under promotion {target.promotion_id}. Tell the operator.",
                id="internal_error",
            ),
        )
    else:
        if release is not None:
            log.info("promoted", release=release.version)


def _patience() -> Callable[[], None]:
    deadline = time.monotonic() + COLLECTING_SECONDS

    def check() -> None:
        if time.monotonic() > deadline:
            raise RegistryUnavailable("Old images are being cleared away.", hint="It goes on by itself afterwards.")

    return check


def _make_image_known(target: PromotionTarget) -> None:
    """In the repository of the target. While we push nothing is collected, neither there nor where it comes from."""
    image = _image_of(target.promotion.release)
    if App.objects.filter(pk=target.app_id, destroyed_at__isnull=False).exists():
        raise Conflict(f"The app {target.app.name} was destroyed.", id="app_destroyed")
    try:
        registry().copy_image(image.digest, source=image.repository, target=target.app.repository)
    except ManifestUnknown as exc:
        raise Conflict(
            f"The image of {target.promotion.source.name} {target.promotion.release} is no longer in the registry.",
            hint="Push the code again, then promote that.",
            id="image_missing",
        ) from exc


def _image_of(release: Release) -> Image:
    assert release.image_id is not None  # checked when it was chosen
    image = Image.objects.get(pk=release.image_id)
    check_not_collected(image, str(release))
    return image


@transaction.atomic
def _make_release(target: PromotionTarget) -> Release | None:
    """None when somebody else has made it. In the transaction that remembers it, so that there is never a second one."""
    App.objects.select_for_update().get(pk=target.app_id)
    fresh = PromotionTarget.objects.select_for_update().get(pk=target.pk)
    if not fresh.is_open:
        return None
    promotion = target.promotion
    original = _image_of(promotion.release)
    fields = {field.name: getattr(original, field.name) for field in Image._meta.concrete_fields if field.name not in OWN}  # noqa: SLF001  # Django's documented way
    fields |= {"repository": target.app.repository, "collected_at": None, "is_in_registry": True}
    image, _ = Image.objects.update_or_create(app=target.app, digest=fields.pop("digest"), defaults=fields)
    if image.commit:
        set_tag(target.app, f"git-{image.commit[:12]}", image)
    fresh.release = releases.create_deploy(
        target.app,
        image,
        by=promotion.created_by,
        kind=ReleaseKind.PROMOTION,
        description=describe(promotion),
        why=promotion.why,
    )
    fresh.save(update_fields=["release", "updated_at"])
    return fresh.release


def describe(promotion: Promotion) -> str:
    """`Promote hello-staging v12 1a2b3c4d Say hello`."""
    image = _image_of(promotion.release)
    words = ["Promote", promotion.source.name, str(promotion.release), image.commit[:8], image.commit_subject]
    return " ".join(filter(None, words))[:300]


def _fail(target: PromotionTarget, failure: Failure) -> None:
    PromotionTarget.objects.filter(pk=target.pk, release__isnull=True, error_id="").update(
        error_id=failure.id,
        reason=failure.message.replace("\0", ""),
        hint=failure.hint.replace("\0", ""),
        updated_at=timezone.now(),
    )
    announce_change(target.app_id)
