"""webhooks, drains, notifications: who hears of an app, or of the whole machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from paas_client.api import Record, compact, path
from paas_client.options import app_option, command, complete_apps, json_option
from paas_client.output import at, say, show, show_json, table
from paas_client.session import current

F = TypeVar("F", bound=Callable[..., Any])
SECRET_HEADER = "Heroku-Webhook-Secret"  # noqa: S105  # the name of it
level_option = click.option("-l", "--level", type=click.Choice(["notify", "sync"]), help="sync: until it arrives.")


def place_options(function: F) -> F:
    """An app, or the whole machine."""
    host = click.option("--host", is_flag=True, help="Of the whole machine; for admins.")
    return host(
        click.option(
            "-a", "--app", "app_name", envvar="PAAS_APP", shell_complete=complete_apps,
            help="The app; that of the git remote when left out.",
        )(function)
    )  # fmt: skip


def _place(app_name: str | None, host: bool) -> tuple[str, ...]:
    """The beginning of the path."""
    return () if host else ("apps", current().app(app_name))


def _split(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _shown(url: str) -> str:
    """Without the password."""
    return re.sub(r"(://[^/@:\s]*):[^/@\s]*@", r"\1:••••••@", url)


# Webhooks


@command("webhooks")
@app_option
@json_option
def webhooks(app_name: str, as_json: bool) -> None:
    """List the webhooks of an app: URLs that are told what happens to it."""
    found = current().api.list(path("apps", app_name, "webhook-details"))
    if as_json:
        show_json(found)
        return
    rows = ((each["id"], each["url"], ",".join(each["include"]), each["level"], _state(each)) for each in found)
    table(rows, ("id", "url", "told of", "level", "state"))
    if not found:
        say(f"No webhooks. Add one: paas webhooks:add https://hooks.example.com/paas -i api:release -a {app_name}")


def _state(webhook: Record) -> str:
    if webhook["switched_off_at"]:
        return "switched off"
    return f"{webhook['waiting']} waiting" if webhook["waiting"] else "on"


@command("webhooks:add")
@app_option
@click.option("-i", "--include", required=True, help="What it is told of: api:release,api:build,dyno,…")
@level_option
@click.option("--secret", help="To sign with; a new one when left out.")
@click.option("--authorization", help="The header Authorization of each request.")
@click.argument("url")
def add_webhook(  # noqa: PLR0917  # click gives them by name
    app_name: str, include: str, level: str | None, secret: str | None, authorization: str | None, url: str
) -> None:
    """Tell a URL what happens to an app. Prints the secret that its requests are signed with."""
    wish = {
        "url": url,
        "include": _split(include),
        "level": level or "sync",
        "secret": secret,
        "authorization": authorization,
    }
    answer = current().api.send("POST", path("apps", app_name, "webhooks"), body=compact(wish), once=True)
    say(f"Added {answer.json()['id']}. The secret is not shown again:")
    show(answer.headers[SECRET_HEADER])


@command("webhooks:update")
@app_option
@click.option("-u", "--url", help="Where to.")
@click.option("-i", "--include", help="What it is told of.")
@level_option
@click.option("--secret", help="To sign with.")
@click.option("--authorization", help="The header Authorization of each request.")
@click.argument("webhook", metavar="ID")
def update_webhook(app_name: str, webhook: str, include: str | None, **changes: str | None) -> None:
    """Change a webhook."""
    wish = compact({**changes, "include": _split(include) if include else None})
    if not wish:
        raise click.UsageError("Say what to change: --url, --include, --level, --secret or --authorization.")
    current().api.patch(path("apps", app_name, "webhooks", webhook), wish)


@command("webhooks:remove")
@app_option
@click.argument("webhook", metavar="ID")
def remove_webhook(app_name: str, webhook: str) -> None:
    """Tell a URL nothing more."""
    current().api.delete(path("apps", app_name, "webhooks", webhook))


@command("webhooks:on")
@app_option
@click.argument("webhook", metavar="ID")
def switch_on(app_name: str, webhook: str) -> None:
    """Switch on a webhook that was switched off after many failures."""
    current().api.post(path("apps", app_name, "webhooks", webhook, "switch-on"))


@command("webhooks:deliveries")
@app_option
@click.option("-n", "--num", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("-s", "--status", type=click.Choice(["pending", "retrying", "failed", "succeeded"]), help="Those alone.")
@json_option
def deliveries(app_name: str, num: int, status: str | None, as_json: bool) -> None:
    """List what was delivered, the newest first."""
    query = {"eq[status]": status}
    found = current().api.list(path("apps", app_name, "webhook-deliveries"), order="seq", newest=num, **query)
    if as_json:
        show_json(found)
        return
    heads = ("id", "event", "status", "tries", "code", "at", "next try")
    table((_delivery(each) for each in found), heads)


def _delivery(each: Record) -> tuple[object, ...]:
    last = each["last_attempt"] or {}
    return (
        each["id"],
        each["event"]["include"],
        each["status"],
        each["num_attempts"],
        last.get("code") or last.get("error_class"),
        at(each["created_at"]),
        at(each["next_attempt_at"]) if each["status"] == "retrying" else "",
    )


@command("webhooks:deliveries:info")
@app_option
@click.argument("delivery", metavar="DELIVERY")
def delivery_info(app_name: str, delivery: str) -> None:
    """Show what was told, and what came of each try."""
    api = current().api
    found = api.get(path("apps", app_name, "webhook-deliveries", delivery))
    event = api.get(path("apps", app_name, "webhook-events", found["event"]["id"]))
    tries = api.get(path("apps", app_name, "webhook-deliveries", delivery, "attempts"))
    show_json({**found, "event": event, "attempts": tries})


@command("webhooks:redeliver")
@app_option
@click.argument("delivery", metavar="DELIVERY")
def redeliver(app_name: str, delivery: str) -> None:
    """Deliver something once more, at once."""
    current().api.post(path("apps", app_name, "webhook-deliveries", delivery, "redeliver"))


# Log drains


@command("drains")
@place_options
@json_option
def drains(app_name: str | None, host: bool, as_json: bool) -> None:
    """List where the log of an app goes as well, and how far each is."""
    api = current().api
    place = _place(app_name, host)
    found = api.list(path(*place, "log-drains"))
    if not host:
        states = {each["id"]: each for each in api.list(path(*place, "drain-details"))}
        kept = ("sent", "dropped", "behind_seconds", "error", "at")
        found = [{**each, **{name: states.get(each["id"], {}).get(name) for name in kept}} for each in found]
    if as_json:
        show_json(found)
        return
    rows = (
        (_shown(each["url"]), each["token"], each.get("sent"), each.get("dropped"), each.get("error")) for each in found
    )
    table(rows, ("url", "token", "sent", "dropped", "error"))
    if not found:
        say("No drains. Add one: paas drains:add syslog+tls://logs.example.com:6514")


@command("drains:add")
@place_options
@click.argument("url")
def add_drain(app_name: str | None, host: bool, url: str) -> None:
    """Send the log on: syslog+tls://HOST:PORT, syslog://HOST:PORT, https://USER:PASSWORD@HOST/PATH. Prints the token."""
    show(current().api.post(path(*_place(app_name, host), "log-drains"), {"url": url})["token"])


@command("drains:remove")
@place_options
@click.argument("drain", metavar="URL")
def remove_drain(app_name: str | None, host: bool, drain: str) -> None:
    """Send the log there no more. The drain's token does as well."""
    current().api.delete(path(*_place(app_name, host), "log-drains", drain))


# Notifications


@command("notifications")
@place_options
@json_option
def notifications(app_name: str | None, host: bool, as_json: bool) -> None:
    """List the people and rooms that are told when something is wrong."""
    found = current().api.get(path(*_place(app_name, host), "notifications"))
    if as_json:
        show_json(found)
        return
    rows = (
        (each["id"], each["kind"], each["name"], ",".join(each["topics"]), at(each["last_sent_at"]), each["last_error"])
        for each in found["channels"]
    )
    table(rows, ("id", "kind", "to", "about", "last message", "error"))
    if not found["channels"]:
        say("Nobody is told. Tell a room of your chat: paas notifications:add https://hooks.slack.com/services/…")
    if not found["mail"]:
        say("Mail is off: an admin names a mail server with PAAS_SMTP_URL.")


@command("notifications:add")
@place_options
@click.option("-t", "--topics", help="About what, separated by commas; the usual ones when left out.")
@click.option("--name", default="", help="Of the room.")
@click.option("--teams", is_flag=True, help="It is a workflow of Microsoft Teams.")
@click.argument("to", metavar="URL|mail")
def add_notification(  # noqa: PLR0917  # click gives them by name
    app_name: str | None, host: bool, topics: str | None, name: str, teams: bool, to: str
) -> None:
    """Tell a room of a chat, by the URL of its incoming webhook, or yourself by `mail`. Prints its id."""
    api, place = current().api, path(*_place(app_name, host), "notifications")
    usual = [each for each in api.get(place)["topics"] if each != "deployed"]
    wish = {"topics": _split(topics) if topics else usual}
    if to == "mail":
        made = api.post(place, {"kind": "email", **wish})
    else:
        made = api.post(place, {"kind": "teams" if teams else "chat", "url": to, "name": name, **wish})
    show(made["id"])


@command("notifications:remove")
@place_options
@click.argument("channel", metavar="ID")
def remove_notification(app_name: str | None, host: bool, channel: str) -> None:
    """Tell somebody nothing more."""
    current().api.delete(path(*_place(app_name, host), "notifications", channel))


@command("notifications:test")
@place_options
@click.argument("channel", metavar="ID")
def try_notification(app_name: str | None, host: bool, channel: str) -> None:
    """Send a test now, and say what came of it."""
    made = current().api.post(path(*_place(app_name, host), "notifications", channel, "test"))
    say(f"Sent to {made['name']}.")


COMMANDS = [
    webhooks, add_webhook, update_webhook, remove_webhook, switch_on, deliveries, delivery_info, redeliver,
    drains, add_drain, remove_drain,
    notifications, add_notification, remove_notification, try_notification,
]  # fmt: skip
