"""Config vars one at a time, and changed without all of them being shown."""

from __future__ import annotations

from typing import Annotated

from ninja import Body, Router
from pydantic import StrictStr

from paas.accounts.models import Scope
from paas.api.auth import ApiRequest, TokenAuth, find_app
from paas.api.platform.releases import ReleaseDetails, details_of
from paas.api.schemas import Answer
from paas.apps.models import Role
from paas.config.services import change_config, reveal_config

router = Router(tags=["Config vars"], auth=TokenAuth(reading=Scope.WRITE))
Changes = Annotated[dict[str, StrictStr | None], Body(description="Text sets a var, null removes it.")]


class ConfigValue(Answer):
    name: str
    value: str


class ConfigChange(Answer):
    release: ReleaseDetails | None


@router.get("/apps/{identity}/config-values/{name}", response=ConfigValue)
def config_value(request: ApiRequest, identity: str, name: str) -> ConfigValue:
    app = find_app(request, identity, Role.OPERATOR)
    return ConfigValue(name=name, value=reveal_config(app, {name}, by=request.user).values[name])


@router.patch("/apps/{identity}/config-values", response=ConfigChange)
def update_config_values(request: ApiRequest, identity: str, changes: Changes) -> ConfigChange:
    """One release for all of them; none when nothing changes."""
    app = find_app(request, identity, Role.OPERATOR)
    return ConfigChange(release=details_of(app, change_config(app, changes, by=request.user)))
