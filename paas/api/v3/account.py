"""The account that a token belongs to."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ninja import Router
from pydantic import Field

from paas.accounts.models import Scope, User
from paas.accounts.services import rename_user
from paas.accounts.services.two_factor import has_two_factor
from paas.api import limits
from paas.api.auth import ApiRequest, TokenAuth
from paas.api.schemas import Answer, Body, NamedRef, Time

router = Router(tags=["Account"], auth=TokenAuth(writing=Scope.GLOBAL, for_one_app=True))


class AccountAnswer(Answer):
    allow_tracking: bool
    beta: bool
    country_of_residence: str | None
    created_at: Time
    default_organization: NamedRef | None
    default_team: NamedRef | None
    delinquent_at: Time | None
    email: str
    federated: bool
    id: UUID
    identity_provider: NamedRef | None
    last_login: Time | None
    name: str | None
    sms_number: str | None
    suspended_at: Time | None
    two_factor_authentication: bool
    updated_at: Time
    verified: bool


class AccountSdkAnswer(AccountAnswer):
    acknowledged_msa: bool
    acknowledged_msa_at: Time | None
    eco_dynos_enabled: bool
    eco_dynos_shutdown_at: Time | None
    italian_customer_terms: str | None
    italian_partner_terms: str | None
    mfa_enabled: bool
    mfa_exemption: bool
    mfa_exemption_reason: str | None
    mfa_experience: str
    pipeline_cost_consent_at: Time | None


AnyAccountAnswer = AccountSdkAnswer | AccountAnswer


class AccountChange(Body):
    name: str | None = Field(None, max_length=100)


class RateLimitAnswer(Answer):
    remaining: int


def account_answer(request: ApiRequest, user: User) -> AnyAccountAnswer:
    second_step = has_two_factor(user)
    values: dict[str, Any] = {
        "allow_tracking": False,
        "beta": False,
        "country_of_residence": None,
        "created_at": user.created_at,
        "default_organization": None,
        "default_team": None,
        "delinquent_at": None,
        "email": user.email,
        "federated": False,
        "id": user.pk,
        "identity_provider": None,
        "last_login": user.last_login,
        "name": user.name or None,
        "sms_number": None,
        "suspended_at": None,
        "two_factor_authentication": second_step,
        "updated_at": user.updated_at,
        "verified": True,
    }
    if not request.is_sdk:
        return AccountAnswer(**values)
    return AccountSdkAnswer(
        **values,
        acknowledged_msa=False,
        acknowledged_msa_at=None,
        eco_dynos_enabled=False,
        eco_dynos_shutdown_at=None,
        italian_customer_terms=None,
        italian_partner_terms=None,
        mfa_enabled=second_step,
        mfa_exemption=False,
        mfa_exemption_reason=None,
        mfa_experience="legacy",
        pipeline_cost_consent_at=None,
    )


@router.get("/account", response=AnyAccountAnswer)
def account_info(request: ApiRequest) -> AnyAccountAnswer:
    return account_answer(request, request.user)


@router.patch("/account", response=AnyAccountAnswer)
def update_account(request: ApiRequest, body: AccountChange) -> AnyAccountAnswer:
    if body.name is not None:
        rename_user(request.user, body.name, by=request.user)
    return account_answer(request, request.user)


@router.get("/users/~", response=AnyAccountAnswer)
def own_user_info(request: ApiRequest) -> AnyAccountAnswer:
    return account_info(request)


@router.patch("/users/~", response=AnyAccountAnswer)
def update_own_user(request: ApiRequest, body: AccountChange) -> AnyAccountAnswer:
    return update_account(request, body)


@router.get("/account/rate-limits", response=RateLimitAnswer, auth=TokenAuth(for_one_app=True, is_free=True))
def rate_limits(request: ApiRequest) -> RateLimitAnswer:
    """Asking costs nothing."""
    return RateLimitAnswer(remaining=limits.take(request.token, 0))
