"""Config vars: all of an app's, changed."""

from __future__ import annotations

from typing import Annotated

from ninja import Body, Router
from pydantic import StrictStr

from paas.accounts.models import Scope
from paas.api.auth import ApiRequest, TokenAuth, find_app
from paas.apps.models import Role
from paas.config.selectors import present_config
from paas.config.services import change_config, reveal_config

# Values are secrets: looking at apps is not enough to see them.
router = Router(tags=["Config vars"], auth=TokenAuth(reading=Scope.WRITE))
Changes = Annotated[dict[str, StrictStr | None], Body(description="Text sets a var, null removes it.")]


@router.get("/apps/{identity}/config-vars", response=dict[str, str])
def config_vars(request: ApiRequest, identity: str) -> dict[str, str]:
    app = find_app(request, identity, Role.OPERATOR)
    return dict(reveal_config(app, by=request.user).values)


@router.patch("/apps/{identity}/config-vars", response=dict[str, str])
def update_config_vars(request: ApiRequest, identity: str, changes: Changes) -> dict[str, str]:
    """One release for all of them; none when nothing changes."""
    app = find_app(request, identity, Role.OPERATOR)
    change_config(app, changes, by=request.user)
    return dict(sorted(present_config(app).values.items()))
