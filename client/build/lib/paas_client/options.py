"""What commands share: options, and the class of every command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from paas_client.errors import Problem
from paas_client.session import Session

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """Every command may be told the platform."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.params.append(PLATFORM)


def _choose_platform(context: click.Context, _: click.Parameter, value: str | None) -> None:
    session = context.find_object(Session)
    if value and session is not None:
        session.platform_name = value


def _complete_platforms(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    from paas_client import settings

    try:
        return [CompletionItem(name) for name in settings.load().platforms if name.startswith(incomplete)]
    except Problem:
        return []


PLATFORM = click.Option(
    ["--platform"],
    metavar="NAME",
    help="Another platform than the one of the last login.",
    expose_value=False,
    is_eager=True,
    callback=_choose_platform,
    shell_complete=_complete_platforms,
)


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Command]:
    return click.command(name, cls=Command, **attributes)


def complete_apps(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Quietly nothing where the platform can't be asked."""
    session = context.find_object(Session) or Session()
    try:
        return [CompletionItem(app["name"]) for app in session.api.list("/apps") if app["name"].startswith(incomplete)]
    except Problem:
        return []


def _find_app(context: click.Context, _: click.Parameter, value: str | None) -> str | None:
    if context.resilient_parsing:
        return value
    session = context.find_object(Session)
    assert session is not None  # the edge puts it there
    return session.app(value)


def app_option(function: F) -> F:
    return click.option(
        "-a",
        "--app",
        "app_name",
        envvar="PAAS_APP",
        callback=_find_app,
        shell_complete=complete_apps,
        help="The app; that of the git remote when left out.",
    )(function)


def app_argument(name: str) -> Callable[[F], F]:
    return click.argument(name, metavar="APP", shell_complete=complete_apps)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def email_option(function: F) -> F:
    return click.option("--email", help="Of this user; only for root on the machine.")(function)


no_wait_option = click.option("--no-wait", is_flag=True, help="Don't wait until the release is live.")
