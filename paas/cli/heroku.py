"""heroku-env: point the stock Heroku CLI at this platform."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from paas.cli.machine import host_command
from runtime.errors import InvalidInput

if TYPE_CHECKING:
    from paas.env import Env

THEIR_CA = "${XDG_CONFIG_HOME:-$HOME/.config}/paas/ca.pem"


def variables(env: Env, token: str, *, remote: bool) -> dict[str, str]:
    """What makes the Heroku CLI talk to this platform and to nobody else. By itself it also sends the token to
    particleboard.heroku.com with every look at the account, to api.data.heroku.com with the commands for databases, and
    with its telemetry. Raises `InvalidInput` for a door that is closed."""
    if remote and env.https_port != 443:
        raise InvalidInput(
            f"From another machine the Heroku CLI uses port 443, and HTTPS is {_at(env.https_port)} here.",
            hint="Start the platform with PAAS_HTTPS_PORT=443, or forward the ports of `bin/paas host` with ssh -L.",
            id="door_closed",
        )
    if not remote and not env.api_port:
        raise InvalidInput(
            "PAAS_API_PORT is 0, so there is no API at https://localhost.", hint="Start the platform with a port for it.",
            id="door_closed",
        )  # fmt: skip
    base = f"https://api.{env.heroku_domain}" if remote else env.api_local_url
    git = f"https://git.{env.heroku_domain}" if remote else env.api_local_url
    found = {
        "HEROKU_HOST": env.heroku_domain if remote else env.api_local_url,
        "HEROKU_API_KEY": token,
        "HEROKU_PARTICLEBOARD_URL": base,
        "HEROKU_DATA_HOST": f"api.{env.heroku_domain}" if remote else "localhost",
        "HEROKU_STATUS_HOST": base,
        "HEROKU_BUILDPACK_REGISTRY_URL": base,
        "HEROKU_LOGIN_HOST": base,
        "HEROKU_EXEC_URL": base,
        "HEROKU_ANALYTICS_URL": f"{base}/_analytics",
        "DISABLE_TELEMETRY": "true",
        "HEROKU_DISABLE_AUTOUPDATE": "1",
        "HEROKU_SKIP_NEW_VERSION_CHECK": "true",
        "HEROKU_NETRC_WRITE": "true",
        "NODE_EXTRA_CA_CERTS": THEIR_CA if remote else str(env.ca_file),
    }
    if remote:
        # It attaches the key by itself to no name but localhost and its own.
        found["HEROKU_HEADERS"] = f'{{"Authorization":"Bearer {token}"}}'
    # For this git server alone: GIT_SSL_CAINFO would replace the CAs that every other one is checked with.
    return found | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{git}/.sslCAInfo",
        "GIT_CONFIG_VALUE_0": found["NODE_EXTRA_CA_CERTS"],
    }


NAMES = (
    "HEROKU_HOST", "HEROKU_API_KEY", "HEROKU_HEADERS", "HEROKU_PARTICLEBOARD_URL", "HEROKU_DATA_HOST",
    "HEROKU_STATUS_HOST", "HEROKU_BUILDPACK_REGISTRY_URL", "HEROKU_LOGIN_HOST", "HEROKU_EXEC_URL", "HEROKU_ANALYTICS_URL",
    "DISABLE_TELEMETRY", "HEROKU_DISABLE_AUTOUPDATE", "HEROKU_SKIP_NEW_VERSION_CHECK", "HEROKU_NETRC_WRITE",
    "NODE_EXTRA_CA_CERTS", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0",
)  # fmt: skip


def exports(values: Mapping[str, str]) -> str:
    """For a shell's `eval`."""
    return "\n".join(f"export {name}={_quoted(value)}" for name, value in values.items())


def _quoted(value: str) -> str:
    return f'"{value}"' if value == THEIR_CA else shlex.quote(value)


def _at(port: int) -> str:
    return f"at {port}" if port else "switched off"


@host_command("heroku-env")
@click.option("--remote", is_flag=True, help="For another machine, by the platform's own name.")
@click.option("--email", help="Of this user; the first admin otherwise.")
@click.option("--name", default="heroku-env", show_default=True, help="The token's name in the list of tokens.")
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="How long the token is valid.")
@click.option("--unset", is_flag=True, help="Take everything back that an earlier one has set.")
def heroku_env(remote: bool, email: str | None, name: str, days: int, unset: bool) -> None:
    """Print what points the stock Heroku CLI here, with a new token, for `eval "$(bin/paas heroku-env)"`."""
    from django.conf import settings

    from paas.accounts import services
    from paas.accounts.selectors import first_admin, get_user

    if unset:
        click.echo(f"unset {' '.join(NAMES)}")
        return
    env: Env = settings.ENV
    variables(env, "", remote=remote)  # before there is a token that nobody gets
    user = first_admin() if email is None else get_user(email)
    token, secret = services.create_token(user, name=name, by=first_admin(), lifetime=timedelta(days=days))
    click.echo(exports(variables(env, secret, remote=remote)))
    click.echo(
        f"The token {token.name!r} of {user.email} is valid for {days} days: paas tokens:revoke {token.prefix}", err=True
    )
    if remote:
        click.echo("Fetch the root certificate there once, unless a public authority has signed yours:", err=True)
        click.echo(f'  curl --create-dirs -o "{THEIR_CA}" {env.address("dashboard")}/ca.pem', err=True)
    if os.environ.get("GIT_CONFIG_COUNT", "0") not in {"0", "1"}:
        click.echo("Your shell sets git options by GIT_CONFIG_COUNT; these replace them.", err=True)


COMMANDS = [heroku_env]
