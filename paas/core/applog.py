"""What the platform says in the log of an app: `paas[api]: Scaled by alice@example.com`. Config values never get here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from paas.core.redis import append_to_stream

STREAM = "paas:app-log"  # read by the agent, which writes the files
KEEP = 20_000
KEEP_SECONDS = 7 * 24 * 3600

# For audit events that people want to see between the lines of their app; others are told by their plain name.
WORDS = {
    "app.create": "App created",
    "app.restart": "Restarted",
    "build.create": "Build {number} of {commit:.8} started",
    "build.cancel": "Build {number} cancelled",
    "release.create": "Release v{version} created: {description}",
    "run.create": "Run {number} started",
    "pipeline.promote": "Promoting v{version} in {pipeline}",
}
# It happens to the log itself.
SILENT = frozenset({"app.destroy"})


def say(app_id: object, app_name: str, name: str, text: str, *, release: int = 0) -> None:
    """After the commit. `name` is who says it: api, release, web.1."""
    fields = {"app": str(app_id), "app_name": app_name, "name": name, "text": text, "release": str(release)}
    transaction.on_commit(lambda: append_to_stream(STREAM, fields, keep=KEEP, lifetime_seconds=KEEP_SECONDS))


def forget(app_id: object) -> None:
    """The app is gone, and so shall be what it said."""
    append_to_stream(STREAM, {"app": str(app_id), "forget": "1"}, keep=KEEP, lifetime_seconds=KEEP_SECONDS)


def say_event(action: str, *, by: Any, app_id: object, app_name: str, detail: Mapping[str, Any]) -> None:
    """An audit event, in words."""
    if action in SILENT:
        return
    try:
        words = WORDS[action].format_map(detail)
    except (KeyError, ValueError, IndexError):
        words = action.replace(".", " ").replace("_", " ").capitalize()
    version = detail.get("version")
    who = f" by {by.email}" if getattr(by, "email", "") else ""
    say(app_id, app_name, "api", f"{words}{who}", release=version if isinstance(version, int) else 0)
