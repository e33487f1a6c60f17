"""What Heroku has and this platform has not: empty lists, so that clients that look there go on."""

from __future__ import annotations

from ninja import Router

from paas.accounts.models import Scope
from paas.api.auth import ApiRequest, TokenAuth, find_app
from paas.api.errors import Refusal, missing
from paas.apps.models import Role

router = Router(tags=["Absent"], auth=TokenAuth(for_one_app=True))
NOT_HERE = ("addons", "addon-attachments", "addon-services", "enterprise-accounts", "spaces", "teams")
NOT_IN_APPS = ("addon-attachments", "addons", "features", "sni-endpoints")


def _list(request: ApiRequest) -> list[str]:
    return []


def _list_of_app(request: ApiRequest, identity: str) -> list[str]:
    find_app(request, identity)
    return []


for _name in (*NOT_HERE, "account/features"):
    router.add_api_operation(
        f"/{_name}", ["GET"], _list, response=list[str], summary=f"List {_name}: none", operation_id=f"list_{_name}"
    )
for _name in NOT_IN_APPS:
    router.add_api_operation(
        f"/apps/{{identity}}/{_name}",
        ["GET"],
        _list_of_app,
        response=list[str],
        summary=f"List {_name} of an app: none",
        operation_id=f"list_{_name}_of_app",
    )


@router.post("/actions/addons/resolve", response=list[str], auth=TokenAuth(writing=Scope.READ, for_one_app=True))
def resolve_addon(request: ApiRequest) -> list[str]:
    raise missing("add_on")


@router.post(
    "/actions/addon-attachments/resolve", response=list[str], auth=TokenAuth(writing=Scope.READ, for_one_app=True)
)
def resolve_attachment(request: ApiRequest) -> list[str]:
    raise missing("add_on attachment")


@router.post("/apps/{identity}/addons", response=list[str])
def create_addon(request: ApiRequest, identity: str) -> list[str]:
    find_app(request, identity, Role.DEVELOPER)
    raise Refusal(
        422,
        "invalid_params",
        "This platform has no add-ons.",
        hint="Run a database of your own and set its address as a config var.",
        code="no_addons",
    )
