"""Failures as answers: Heroku's ids and statuses. HTTP statuses of the API live here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja.errors import HttpError, ValidationError

from paas.accounts.throttle import TooManyAttempts
from runtime.errors import Conflict, Forbidden, NotFound, Retryable, UserError

log = structlog.get_logger()

# Class of the failure, status, id as Heroku has it.
ANSWERS: tuple[tuple[type[Exception], int, str], ...] = (
    (TooManyAttempts, 429, "rate_limit"),
    (NotFound, 404, "not_found"),
    (Forbidden, 403, "forbidden"),
    (Conflict, 409, "conflict"),
    (UserError, 422, "invalid_params"),
    (Retryable, 503, "service_unavailable"),
    (Exception, 500, "internal_server_error"),
)
# A name that somebody has is a wrong parameter to Heroku; clients repeat a request that got a 409.
TAKEN = frozenset({"name_taken", "domain_taken", "port_taken"})
# What was not there, by our id: clients compare it.
RESOURCES = {
    "app_not_found": "app",
    "config_var_not_found": "config_var",
    "domain_not_found": "domain",
    "not_a_collaborator": "collaborator",
    "port_not_found": "port",
    "release_not_found": "release",
    "tag_not_found": "tag",
    "user_not_found": "user",
}


class Refusal(UserError):
    """What has no class among our failures: the answer as it is."""

    def __init__(
        self,
        status: int,
        id: str,
        message: str,
        *,
        hint: str = "",
        resource: str = "",
        code: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, id=code or id)
        self.status, self.answer_id, self.resource, self.headers = status, id, resource, dict(headers or {})


def missing(resource: str) -> Refusal:
    """404 for what isn't there, or not for this user: `missing("domain")`."""
    words = resource.replace("_", " ")
    return Refusal(404, "not_found", f"Couldn't find that {words}.", resource=resource)


def no_such_endpoint() -> Refusal:
    return Refusal(
        404, "not_found", "The requested API endpoint was not found.", hint="Are you using the right HTTP verb and path?"
    )


def answer_to(request: HttpRequest, failure: Exception) -> HttpResponse:
    """Ours are logged with their traceback and show only the request id; theirs are shown word for word."""
    failure = _refusal_of(failure)
    request_id = request.META.get("paas.request_id", "")
    headers: Mapping[str, str] = {}
    resource = ""
    if isinstance(failure, Refusal):
        status, answer_id, resource, headers = failure.status, failure.answer_id, failure.resource, failure.headers
    else:
        status, answer_id = next((status, name) for kind, status, name in ANSWERS if isinstance(failure, kind))
    if not isinstance(failure, UserError):
        log.error("request_failed", error=getattr(failure, "id", type(failure).__name__), exc_info=failure)
        message = "The platform could not do this just now." if status == 503 else "Something went wrong on our side."
        hint = f"Your admin finds the reason by this request id: {request_id}"
        return _answer(status, answer_id, message, hint=hint, code=getattr(failure, "id", ""))
    if failure.id in TAKEN:
        status, answer_id = 422, "invalid_params"
    if status == 404:
        resource = resource or RESOURCES.get(failure.id, "")
    log.info("request_refused", status=status, error=failure.id)
    return _answer(
        status, answer_id, failure.message, hint=failure.hint, code=failure.id, resource=resource, headers=headers
    )


def _answer(
    status: int,
    id: str,
    message: str,
    *,
    hint: str = "",
    code: str = "",
    resource: str = "",
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """`message` is all that Heroku's clients show, so the hint is part of it; ours take `hint` and `code` apart."""
    content = {"id": id, "message": f"{message} {hint}".strip()}
    content |= {name: value for name, value in (("resource", resource), ("code", code), ("hint", hint)) if value}
    return JsonResponse(content, status=status, headers=dict(headers or {}))


def _refusal_of(failure: Exception) -> Exception:
    """What Django and ninja raise, in our words."""
    match failure:
        case Http404():
            return no_such_endpoint()
        case RequestDataTooBig():
            return Refusal(413, "request_too_large", "The body is too large.", hint="It can have 2.5 MB.")
        case ValidationError():
            sentences = " ".join(_sentence(each["loc"], each) for each in failure.errors[:5])
            return Refusal(422, "invalid_params", sentences)
        case HttpError():
            return Refusal(400, "bad_request", "The body is not valid JSON.", hint="Send one JSON object, in UTF-8.")
        case _:
            return failure


def _sentence(place: Sequence[object], error: Mapping[str, Any]) -> str:
    # ("body", "body", "updates", 0, "quantity"): where it came in, the argument of the view, what is in it.
    names = [str(each) for each in place[2 if place[0] == "body" else 1 :] if not str(each).startswith("function-")]
    what = ".".join(names)
    if error["type"] == "missing":
        return f"{what or 'A body'} is missing."
    if error["type"] in {"dict_type", "model_type", "model_attributes_type"}:
        return f"{what or 'The body'} should be a JSON object."
    said = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ").rstrip(".")
    if str(error["msg"]).startswith("Input should be "):
        return f"{what or 'The body'} should be {said}."
    return f"{what or 'The body'}: {said}."
