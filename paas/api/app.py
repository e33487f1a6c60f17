"""All routes of the API."""

from __future__ import annotations

import json
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.parser import Parser

from paas.api import platform, v3
from paas.api.auth import TokenAuth
from paas.api.errors import answer_to


class JsonParser(Parser):
    """JSON whatever the Content-Type says. Without what no column can hold: NUL, half characters, NaN."""

    def parse_body(self, request: HttpRequest) -> Any:
        try:
            value = json.loads(request.body, parse_constant=_refuse)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        _check(value)
        return value


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _check(value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("NUL in text")
        value.encode()
    elif isinstance(value, list):
        for each in value:
            _check(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            _check(name)
            _check(each)


class Api(NinjaAPI):
    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        return answer_to(request, exc)


def make_api() -> Api:
    made = Api(
        title="paas Platform API",
        version="3",
        urls_namespace="api",
        openapi_url=None,
        docs_url=None,
        auth=TokenAuth(),
        parser=JsonParser(),
    )
    for package in (v3, platform):
        for module in sorted(each.name for each in iter_modules(package.__path__)):
            router = getattr(import_module(f"{package.__name__}.{module}"), "router", None)
            if router is not None:
                made.add_router("", router)
    return made


api = make_api()
