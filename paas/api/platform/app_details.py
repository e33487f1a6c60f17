"""Apps with what the Platform API does not say of them: the release, the branch, whether one is stopped or going."""

from __future__ import annotations

from uuid import UUID

from ninja import Router

from paas.api.auth import ApiRequest, TokenAuth, find_app, visible_apps
from paas.api.ranges import page
from paas.api.schemas import Answer, Time
from paas.apps.models import App, Role
from paas.apps.selectors import git_url, is_id, removal_of, url

router = Router(tags=["Apps"], auth=TokenAuth(for_one_app=True))


class AppDetails(Answer):
    id: UUID
    name: str
    url: str
    git_url: str
    owner: str
    release: int | None
    maintenance: bool
    stopped: bool
    deploy_branch: str
    being_removed: bool
    created_at: Time


def _details(app: App) -> AppDetails:
    return AppDetails(
        id=app.pk,
        name=app.name,
        url=url(app),
        git_url=git_url(app.name),
        owner=app.owner.email,
        release=app.current_release.version if app.current_release else None,
        maintenance=app.maintenance,
        stopped=app.stopped_at is not None,
        deploy_branch=app.deploy_branch,
        being_removed=app.destroyed_at is not None,
        created_at=app.created_at,
    )


@router.get("/app-details", response=list[AppDetails])
def list_app_details(request: ApiRequest) -> list[AppDetails]:
    apps = visible_apps(request).select_related("owner", "current_release").defer("current_release__config")
    return [_details(app) for app in page(request, apps, ordered_by="name", name="name")]


@router.get("/app-details/{identity}", response=AppDetails)
def app_details(request: ApiRequest, identity: str) -> AppDetails:
    """By its id also while it is being removed, for those who may do that."""
    app = removal_of(request.user, UUID(identity)) if is_id(identity) else None
    if app is None or request.token.app_id not in {None, app.pk}:
        app = find_app(request, identity, Role.VIEWER)
    return _details(app)
