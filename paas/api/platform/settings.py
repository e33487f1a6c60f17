"""An app's settings that Heroku has no words for: deploy branch, maintenance page, config as .env text."""

from __future__ import annotations

from ninja import Router
from pydantic import Field

from paas.accounts.models import Scope
from paas.api.auth import ApiRequest, TokenAuth, find_app
from paas.api.platform.releases import ReleaseDetails, details_of
from paas.api.schemas import Answer, Body
from paas.apps import services as apps
from paas.apps.models import App, Role
from paas.apps.selectors import maintenance_page
from paas.config.envfile import format_env, parse_env
from paas.config.selectors import changed_config, difference, present_config
from paas.config.services import change_config, check_seen, reveal_config

router = Router(tags=["Settings"])
SECRET = TokenAuth(reading=Scope.WRITE)  # as for config vars


class SettingsAnswer(Answer):
    deploy_branch: str
    own_maintenance_page: bool


class SettingsChange(Body):
    deploy_branch: str | None = None


class PageAnswer(Answer):
    html: str | None = Field(description="null: visitors see the platform's")


class NewPage(Body):
    html: str


class ConfigTextAnswer(Answer):
    text: str
    version: int = Field(description="Of the release that it is the config of; 0 when there is none yet.")


class ConfigText(Body):
    text: str
    replace: bool = Field(False, description="Also remove what the text does not have.")


class ConfigImport(ConfigText):
    seen: int | None = Field(None, description="A version: nothing is done when the config is another one by now.")


class ConfigChangeAnswer(Answer):
    """Names only."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: list[str]
    notes: list[str]
    version: int


class ConfigImportAnswer(ConfigChangeAnswer):
    release: ReleaseDetails | None


def _settings(app: App) -> SettingsAnswer:
    return SettingsAnswer(deploy_branch=app.deploy_branch, own_maintenance_page=bool(maintenance_page(app)))


@router.get("/apps/{identity}/settings", response=SettingsAnswer)
def settings(request: ApiRequest, identity: str) -> SettingsAnswer:
    return _settings(find_app(request, identity))


@router.patch("/apps/{identity}/settings", response=SettingsAnswer)
def update_settings(request: ApiRequest, identity: str, body: SettingsChange) -> SettingsAnswer:
    app = find_app(request, identity, Role.OPERATOR)
    if body.deploy_branch is not None:
        apps.set_deploy_branch(app, body.deploy_branch, by=request.user)
    return _settings(app)


@router.get("/apps/{identity}/maintenance-page", response=PageAnswer)
def page_of_app(request: ApiRequest, identity: str) -> PageAnswer:
    """What visitors see during maintenance."""
    return PageAnswer(html=maintenance_page(find_app(request, identity)) or None)


@router.put("/apps/{identity}/maintenance-page", response=PageAnswer)
def put_page(request: ApiRequest, identity: str, body: NewPage) -> PageAnswer:
    app = find_app(request, identity, Role.OPERATOR)
    apps.set_maintenance_page(app, body.html, by=request.user)
    return PageAnswer(html=maintenance_page(app) or None)


@router.delete("/apps/{identity}/maintenance-page", response=PageAnswer)
def delete_page(request: ApiRequest, identity: str) -> PageAnswer:
    """Back to the platform's."""
    app = find_app(request, identity, Role.OPERATOR)
    apps.set_maintenance_page(app, "", by=request.user)
    return PageAnswer(html=None)


@router.get("/apps/{identity}/config-text", response=ConfigTextAnswer, auth=SECRET)
def config_text(request: ApiRequest, identity: str) -> ConfigTextAnswer:
    """All config vars as .env text. It is recorded who read them."""
    app = find_app(request, identity, Role.OPERATOR)
    config = reveal_config(app, by=request.user, action="export")
    return ConfigTextAnswer(text=format_env(config.values), version=config.version)


@router.post("/apps/{identity}/config-text/preview", response=ConfigChangeAnswer, auth=SECRET)
def preview_import(request: ApiRequest, identity: str, body: ConfigText) -> ConfigChangeAnswer:
    """What an import would do."""
    return _preview(find_app(request, identity, Role.OPERATOR), body)


def _preview(app: App, body: ConfigText) -> ConfigChangeAnswer:
    given, present = parse_env(body.text), present_config(app)
    change = difference(present.values, changed_config(present.values, given.values, replace=body.replace))
    return ConfigChangeAnswer(
        added=list(change.added),
        changed=list(change.changed),
        removed=list(change.removed),
        unchanged=list(change.unchanged),
        notes=list(given.notes),
        version=present.version,
    )


@router.put("/apps/{identity}/config-text", response=ConfigImportAnswer, auth=SECRET)
def import_config(request: ApiRequest, identity: str, body: ConfigImport) -> ConfigImportAnswer:
    """One release for all of it; none when nothing changes."""
    app = find_app(request, identity, Role.OPERATOR)
    if body.seen is not None:
        check_seen(app, present_config(app), body.seen)
    change = _preview(app, body)
    values = parse_env(body.text).values
    release = change_config(app, values, by=request.user, replace=body.replace, seen_version=change.version)
    return ConfigImportAnswer(**change.model_dump(), release=details_of(app, release))
