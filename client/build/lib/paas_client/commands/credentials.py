"""tokens, keys: what people identify themselves with."""

from __future__ import annotations

from typing import TextIO

import click

from paas_client.api import Record, compact, path
from paas_client.errors import UserProblem
from paas_client.options import command, complete_apps, email_option, json_option
from paas_client.output import at, parsed, say, show, show_json, table
from paas_client.session import current
from paas_client.waiting import now

SCOPES = ("global", "write", "read", "git")
MOST_CHARACTERS = 64 * 1024


@command("tokens")
@email_option
@json_option
def list_tokens(email: str | None, as_json: bool) -> None:
    """List the tokens of a user. The secrets themselves are kept nowhere."""
    tokens = current().api_of(email).list("/tokens")
    if as_json:
        show_json(tokens)
        return
    table(
        (
            (
                f"{token['prefix']}…",
                token["name"],
                ",".join(token["scopes"]),
                token["app"] or "all",
                _end(token["expires_at"]),
                at(token["last_used_at"]) or "never",
                token["last_used_from"],
            )
            for token in tokens
        ),
        ("token", "name", "scope", "apps", "expires (UTC)", "last used (UTC)", "from"),
    )


def _end(expires_at: str | None) -> str:
    if expires_at is None:
        return "never"
    return "expired" if parsed(expires_at) <= now() else at(expires_at)


@command("tokens:create")
@email_option
@click.option("--name", default="cli", show_default=True)
@click.option("--days", type=click.IntRange(1, 3650), help="How long it is valid; for ever when left out.")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, default=["global"], show_default=True)
@click.option("-a", "--app", "app_name", help="Good for this app alone.", shell_complete=complete_apps)
def create_token(email: str | None, name: str, days: int | None, scopes: tuple[str, ...], app_name: str | None) -> None:
    """Make a token: the password for git push. It is shown once."""
    body = compact({"name": name, "days": days, "scopes": scopes, "app": app_name})
    show(current().api_of(email).post("/tokens", body)["secret"])


@command("tokens:revoke")
@email_option
@click.argument("token")
def revoke_token(email: str | None, token: str) -> None:
    """Make a token worthless at once: by its first letters, as in the list, by its name or id."""
    api, wanted = current().api_of(email), token.rstrip("…")
    found = [each for each in api.list("/tokens") if wanted in (each["prefix"], each["name"], each["id"])]
    row = _only_one(found, token, "token", "tokens")
    api.delete(path("tokens", row["id"]))
    say(f"Revoked {row['name']}.")


@command("keys")
@email_option
@json_option
def list_keys(email: str | None, as_json: bool) -> None:
    """List the SSH keys of a user."""
    keys = current().api_of(email).list("/keys")
    if as_json:
        show_json(keys)
        return
    table(
        ((key["fingerprint"], f"{key['type']} {key['bits']}", key["name"], at(key["created_at"])) for key in keys),
        ("fingerprint", "type", "name", "since (UTC)"),
    )


@command("keys:add")
@email_option
@click.option("--name", help="Its comment when left out.")
@click.argument("file", type=click.File("r"))
def add_key(email: str | None, name: str | None, file: TextIO) -> None:
    """Add an SSH key from a .pub file; - for stdin."""
    body = compact({"public_key": file.read(MOST_CHARACTERS), "name": name})
    key = current().api_of(email).post("/keys", body)
    say(f"Added {key['name']}: {key['fingerprint']}")


@command("keys:remove")
@email_option
@click.argument("key")
def remove_key(email: str | None, key: str) -> None:
    """Remove an SSH key: by fingerprint, name or id."""
    api = current().api_of(email)
    found = [each for each in api.list("/keys") if key in (each["fingerprint"], each["name"], each["id"])]
    row = _only_one(found, key, "key", "keys")
    api.delete(path("keys", row["id"]))
    say(f"Removed {row['name']}.")


def _only_one(found: list[Record], wanted: str, noun: str, command_name: str) -> Record:
    if not found:
        raise UserProblem(f"There is no {noun} {wanted!r}.", hint=f"See all with: paas {command_name}", id="not_found")
    if len(found) > 1:
        hint = f"Say which by its id: paas {command_name} --json"
        raise UserProblem(f"{wanted!r} is the name of several.", hint=hint, id="ambiguous")
    return found[0]


COMMANDS = [list_tokens, create_token, revoke_token, list_keys, add_key, remove_key]
