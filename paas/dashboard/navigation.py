"""Where one can go: the rail, and the pages of an app. The one place to add a page to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from django.urls import reverse

from paas.accounts.models import User


@dataclass(frozen=True, slots=True)
class Entry:
    """`view` is the name of its address in `views/…`."""

    label: str
    view: str
    icon: str
    for_admins: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    label: str
    url: str
    icon: str
    is_here: bool


RAIL = (
    Entry("Apps", "apps", "apps"),
    Entry("Pipelines", "pipelines", "pipeline"),
    Entry("Host", "host", "host", for_admins=True),
    Entry("People", "people", "people", for_admins=True),
    Entry("Audit", "audit", "audit"),
    Entry("Patterns", "patterns", "patterns", for_admins=True),
)
ACCOUNT = Entry("Account", "account", "account")

# The pages of one app, in the order of its tabs; their addresses take the app's name.
APP = (
    Entry("Overview", "app", "apps"),
    Entry("Releases", "releases", "rollback"),
    Entry("Builds", "builds", "commit"),
    Entry("Config", "config", "key"),
    Entry("Ports & domains", "ports", "external"),
    Entry("Scale & health", "scale", "host"),
    Entry("Logs", "logs", "audit"),
    Entry("Metrics", "metrics", "patterns"),
    Entry("Console", "console", "terminal"),
    Entry("People", "access", "people"),
    Entry("Settings", "settings", "account"),
)

# What belongs to the settings of an app; theirs is the tab Settings.
SETTINGS = (
    Entry("General", "settings", "account"),
    Entry("Webhooks", "webhooks", "external"),
    Entry("Notifications", "notifications", "info"),
    Entry("Log drains", "drains", "audit"),
)

ACCOUNT_PAGES = (
    Entry("Profile", "account", "account"),
    Entry("Sessions", "sessions", "host"),
    Entry("Tokens", "tokens", "key"),
    Entry("SSH keys", "keys", "terminal"),
    Entry("Two-factor", "two-factor", "lock"),
)


def rail(user: User, here: str = "") -> Iterator[Link]:
    for entry in RAIL:
        if user.is_admin or not entry.for_admins:
            yield from _links((entry,), here)


def account(here: str = "") -> Iterator[Link]:
    yield from _links((ACCOUNT,), here)


def account_pages(here: str = "") -> Iterator[Link]:
    for link in _links(ACCOUNT_PAGES, here):
        yield replace(link, is_here=here == link.url)


def settings_pages(name: str, here: str = "") -> Iterator[Link]:
    for link in _links(SETTINGS, here, name):
        yield replace(link, is_here=here == link.url) if link.label == "General" else link


def app_pages(name: str, here: str = "") -> Iterator[Link]:
    yield from _links(APP, here, name)


def _links(entries: tuple[Entry, ...], here: str, *arguments: str) -> Iterator[Link]:
    """`here` is the path of the page that is shown."""
    for entry in entries:
        url = reverse(entry.view, args=arguments)
        yield Link(entry.label, url, entry.icon, is_here=_is_below(here, url, entry))


def _is_below(here: str, url: str, entry: Entry) -> bool:
    if entry.view == "apps":
        return here == url or here.startswith(("/apps", "/search"))
    return here == url or (entry.view != "app" and here.startswith(url + "/"))
