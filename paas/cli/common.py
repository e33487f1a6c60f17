"""What commands share: the app option, tables, JSON, the acting admin."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click

from paas.accounts.selectors import first_admin
from paas.apps.models import App
from paas.apps.selectors import get_app
from paas.core.text import columns

F = TypeVar("F", bound=Callable[..., Any])


def app_option(function: F) -> F:
    return click.option("-a", "--app", "app_name", envvar="PAAS_APP", required=True, help="The app.")(function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def find_app(name: str) -> App:
    return get_app(first_admin(), name)


def show_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, default=_plain))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def table(rows: Iterable[Sequence[object]], heads: Sequence[str]) -> None:
    """Columns aligned; an empty table prints nothing."""
    for line in columns(rows, heads):
        click.echo(line)


def assignments(pairs: Iterable[str]) -> Mapping[str, str]:
    """`NAME=value` arguments. Raises click's usage error."""
    found = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise click.UsageError(f"{pair!r} is not NAME=value.")
        found[name] = value
    return found
