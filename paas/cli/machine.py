"""Commands that work on the machine itself, without the API: `host_command` makes one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from paas_client.errors import PlatformProblem, Problem, UserProblem

from runtime.errors import Failure, PlatformError


@contextmanager
def platform_code() -> Iterator[None]:
    """The platform's own code can be imported and run in here. Its failures become problems of the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "paas.settings")
    import django
    from django.core.exceptions import ImproperlyConfigured
    from django.db import DatabaseError

    try:
        django.setup()
    except ImproperlyConfigured as exc:
        raise UserProblem(str(exc), id="bad_environment") from exc
    logging.getLogger().setLevel(logging.WARNING)
    from paas.core import audit

    try:
        with audit.through("cli"):
            yield
    except Failure as exc:
        raise problem(exc) from exc
    except DatabaseError as exc:
        hint = "Was the platform ever started? bin/up"
        raise PlatformProblem(f"The platform's database can't be used: {exc}.", hint=hint, id="database_error") from exc


def problem(failure: Failure) -> Problem:
    kind = PlatformProblem if isinstance(failure, PlatformError) else UserProblem
    return kind(failure.message, hint=failure.hint, id=failure.id)


class HostCommand(click.Command):
    """Loads the platform's code when it is run, not when its help is shown: that takes a second."""

    def invoke(self, ctx: click.Context) -> Any:
        with platform_code():
            return super().invoke(ctx)


def host_command(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], HostCommand]:
    return click.command(name, cls=HostCommand, **attributes)
