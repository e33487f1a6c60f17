"""Which builds there are, and what they said."""

from __future__ import annotations

from collections.abc import Iterator

from paas.apps.models import App
from paas.builds import log
from paas.builds.models import ACTIVE, Build, BuildStatus
from runtime.errors import NotFound


def get_build(app: App, number: str | int | None = None) -> Build:
    """By number; the newest without one. Raises `NotFound`."""
    builds = app.builds.select_related("release", "image", "created_by")
    if number is None:
        build = builds.first()
    else:
        text = str(number).removeprefix("#")
        build = builds.filter(number=int(text)).first() if text.isascii() and text.isdigit() and len(text) < 10 else None
    if build is None:
        raise NotFound(
            f"{app.name} has no build {number}." if number is not None else f"{app.name} has no builds yet.",
            hint=f"See them with: paas builds -a {app.name}",
            id="build_not_found",
        )
    return build


def build_output(build: Build) -> Iterator[str]:
    """The whole log; of a running build, until it ends."""
    if build.is_finished:
        yield from log.read(build.pk)
        return
    for entry in log.follow(build.pk, idle_seconds=2):
        if entry is None:
            if Build.objects.exclude(status__in=ACTIVE).filter(pk=build.pk).exists():
                return
        elif entry.end:
            return
        else:
            yield entry.text


def outcome(build: Build) -> tuple[bool, str]:
    """Whether the push was accepted, and the one line a pusher is told when it was not."""
    if build.status == BuildStatus.SUCCEEDED:
        return True, ""
    return False, refusal(build)


def refusal(build: Build) -> str:
    word = {
        BuildStatus.FAILED: "deploy failed",
        BuildStatus.CANCELLED: "build cancelled",
        BuildStatus.SUPERSEDED: "superseded",
    }.get(BuildStatus(build.status), "not finished")
    return f"{word}: {build.reason}" if build.reason and build.status == BuildStatus.FAILED else word
