"""Apps: all that somebody sees, one of them, made, changed, destroyed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from ninja import Router
from pydantic import Field

from paas.accounts.models import Scope
from paas.api.auth import ApiRequest, TokenAuth, find_app, own_user, visible_apps
from paas.api.errors import missing
from paas.api.ranges import page
from paas.api.schemas import Answer, Body, NamedRef, Time, UserRef, made_up, names_of, user_ref
from paas.api.v3.facts import GENERATION, REGION, stack_name
from paas.apps import services
from paas.apps.models import App, Role
from paas.apps.names import made_up_name
from paas.apps.selectors import git_url, url

router = Router(tags=["Apps"])


class AppAnswer(Answer):
    acm: bool
    archived_at: Time | None
    build_stack: NamedRef
    buildpack_provided_description: str | None
    created_at: Time
    generation: NamedRef | str
    git_url: str
    id: UUID
    internal_routing: bool | None
    maintenance: bool
    name: str
    organization: NamedRef | None
    owner: UserRef
    region: NamedRef
    released_at: Time | None
    repo_size: int | None
    slug_size: int | None
    space: NamedRef | None
    stack: NamedRef
    team: NamedRef | None
    updated_at: Time
    web_url: str | None


class AppSdkAnswer(AppAnswer):
    base_image_name: str | None
    buildpacks: list[NamedRef] | None
    current_build_architecture: list[str]


class NewApp(Body):
    name: str | None = Field(None, description="A DNS label of up to 30 characters; made up when it is missing.")
    region: str | None = None
    stack: str | None = None


class AppChange(Body):
    name: str | None = Field(None, description="Its address and its git remote change with it.")
    maintenance: bool | None = None
    build_stack: str | None = Field(None, description="For its next images.")


class Ids(Body):
    id: list[UUID] = Field([], max_length=1000)


class AppFilter(Body):
    ids: Ids = Field(default_factory=lambda: Ids(id=[]), alias="in")


def app_answer(request: ApiRequest, app: App) -> AppAnswer | AppSdkAnswer:
    """`app` with its owner, its current release and that one's image."""
    release = app.current_release
    image = release.image if release else None
    values: dict[str, Any] = {
        "acm": False,
        "archived_at": None,
        "build_stack": made_up("stack", app.stack),
        "buildpack_provided_description": (", ".join(image.buildpacks) or None) if image else None,
        "created_at": app.created_at,
        "generation": GENERATION if request.is_sdk else made_up("generation", GENERATION),
        "git_url": git_url(app.name),
        "id": app.pk,
        "internal_routing": None,
        "maintenance": app.maintenance,
        "name": app.name,
        "organization": None,
        "owner": user_ref(app.owner),
        "region": made_up("region", REGION),
        "released_at": release.finished_at if release else None,
        "repo_size": None,
        "slug_size": image.size_bytes if image else None,
        "space": None,
        "stack": made_up("stack", image.stack if image else app.stack),
        "team": None,
        "updated_at": app.updated_at,
        "web_url": f"{url(app)}/",
    }
    if not request.is_sdk:
        return AppAnswer(**values)
    return AppSdkAnswer(**values, base_image_name=None, buildpacks=None, current_build_architecture=[])


def with_what_is_shown(apps: QuerySet[App]) -> QuerySet[App]:
    return apps.select_related("owner", "current_release__image").defer(
        "current_release__config", "current_release__image__layers"
    )


def _shown(request: ApiRequest, app: App) -> AppAnswer | AppSdkAnswer:
    """As it is now."""
    return app_answer(request, with_what_is_shown(App.objects.all()).get(pk=app.pk))


AnyAppAnswer = AppAnswer | AppSdkAnswer


@router.get("/apps", response=list[AnyAppAnswer], auth=TokenAuth(for_one_app=True))
def list_apps(request: ApiRequest) -> list[AnyAppAnswer]:
    apps = page(request, with_what_is_shown(visible_apps(request)), ordered_by="name", name="name")
    return [app_answer(request, app) for app in apps]


@router.get("/users/{user}/apps", response=list[AnyAppAnswer], auth=TokenAuth(for_one_app=True))
def list_own_apps(request: ApiRequest, user: str) -> list[AnyAppAnswer]:
    """Those that somebody owns or shares; admins see all others besides in `GET /apps`."""
    own_user(request, user)
    own = Q(owner=request.user) | Q(collaborators__user=request.user)
    apps = with_what_is_shown(visible_apps(request).filter(own).distinct())
    return [app_answer(request, app) for app in page(request, apps, ordered_by="name", name="name")]


@router.post("/filters/apps", response=list[AnyAppAnswer], auth=TokenAuth(writing=Scope.READ, for_one_app=True))
def filter_apps(request: ApiRequest, body: AppFilter) -> list[AnyAppAnswer]:
    """Those of these ids that the user sees."""
    apps = with_what_is_shown(visible_apps(request).filter(pk__in=body.ids.id))
    return [app_answer(request, app) for app in page(request, apps, ordered_by="name", name="name")]


@router.post("/apps", response={201: AnyAppAnswer})
def create_app(request: ApiRequest, body: NewApp) -> AnyAppAnswer:
    if body.region is not None and body.region.lower() not in names_of("region", REGION):
        raise missing("region")
    with transaction.atomic():
        name = made_up_name() if body.name is None else body.name
        app = services.create_app(name=name, by=request.user)
        if body.stack is not None:
            services.set_stack(app, stack_name(body.stack), by=request.user)
    return _shown(request, app)


@router.get("/apps/{identity}", response=AnyAppAnswer)
def app_info(request: ApiRequest, identity: str) -> AnyAppAnswer:
    return _shown(request, find_app(request, identity))


@router.patch("/apps/{identity}", response=AnyAppAnswer)
def update_app(request: ApiRequest, identity: str, body: AppChange) -> AnyAppAnswer:
    """All of it or nothing."""
    app = find_app(request, identity, Role.OPERATOR if body.name is None else Role.OWNER)
    with transaction.atomic():
        if body.maintenance is not None:
            services.set_maintenance(app, body.maintenance, by=request.user)
        if body.build_stack is not None:
            services.set_stack(app, stack_name(body.build_stack), by=request.user)
        if body.name is not None:
            services.rename_app(app, body.name, by=request.user)
    return _shown(request, app)


@router.delete("/apps/{identity}", response=AnyAppAnswer)
def delete_app(request: ApiRequest, identity: str) -> AnyAppAnswer:
    app = find_app(request, identity, Role.OWNER)
    shown = _shown(request, app)
    services.destroy_app(app, by=request.user)
    return shown
