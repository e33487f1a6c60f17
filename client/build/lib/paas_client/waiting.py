"""Until what was asked for has come true: a release is live, the instances are as wished."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone

from paas_client.api import Api, Record, path
from paas_client.errors import PlatformProblem, UserProblem
from paas_client.output import progress, say

RELEASE_SECONDS = 1200
STATE_SECONDS = 120
REMOVAL_SECONDS = 90
UNFINISHED = ("pending", "releasing")


def now() -> datetime:
    return datetime.now(timezone.utc)


def looks(seconds: float) -> Iterator[None]:
    """Moments to look at: close together at first, then once a second; over when the time is up."""
    deadline, pause = time.monotonic() + seconds, 0.1
    while True:
        yield
        if time.monotonic() > deadline:
            return
        time.sleep(pause)
        pause = min(1.0, pause * 1.3)


def wait_for_release(api: Api, app: str, release: Record | None, *, no_wait: bool = False) -> None:
    """Until it is live. Raises what it failed with. None: nothing changed."""
    if release is None:
        say("Nothing changes.")
        return
    if no_wait:
        return
    with progress(f"Releasing v{release['version']} ({release['description']})") as ending:
        for _ in looks(RELEASE_SECONDS):
            if release["status"] not in UNFINISHED:
                break
            release = api.get(path("apps", app, "release-details", release["version"]))
        else:
            raise PlatformProblem(
                f"v{release['version']} is still not released.", hint="It goes on by itself. Is the platform well?"
            )
        if release["status"] != "succeeded":
            ending.failed = release["status"]
            raise UserProblem(
                release["reason"] or f"v{release['version']} {release['status']}.",
                hint=release["hint"] or "",
                id=release["error_id"] or "release_failed",
            )
        shown = api.get(path("app-details", app))
        if shown["stopped"]:
            ending.text = f"done; {app} is stopped"
        elif release["image"]:
            ending.text = f"done, live at {shown['url']}"


def wait_until_observed(api: Api, app: str, what: str) -> None:
    """Until the engine is up to what was wished."""
    with progress(what):
        wish = None
        for _ in looks(STATE_SECONDS):
            state = api.get(path("apps", app, "state"))
            wish = state["generation"] if wish is None else wish
            if state["observed_generation"] >= wish:
                return
        raise PlatformProblem("It is not done after two minutes.", hint=f"See: paas ps -a {app}")
