"""Lets runtime.git talk; decides who may push what; starts a build and relays it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from django.db import close_old_connections, connection

from paas.accounts.models import User
from paas.apps.models import App
from paas.apps.selectors import repository_path
from paas.builds import log, services
from paas.builds.models import Build
from paas.builds.selectors import outcome
from runtime.errors import Failure
from runtime.git.api import Push, PushEvent, PushEventKind, RefUpdate
from runtime.git.repository import set_head

HEADS = "refs/heads/"


class DeployHandler:
    """A push to the app's deploy branch is a deploy; anything else is refused with the reason."""

    def __init__(self, app: App, user: User, *, keepalive_seconds: float = 2.0) -> None:
        self.app, self.user, self._keepalive = app, user, keepalive_seconds
        self._began = time.monotonic()

    def policy(self, updates: Sequence[RefUpdate]) -> Mapping[str, str]:
        self._began = time.monotonic()
        branch = self._deploy_branch(updates)
        refused = {}
        for update in updates:
            if update.ref != HEADS + branch:
                what = update.ref.removeprefix(HEADS)
                refused[update.ref] = f"only {branch} is deployed here; use: git push paas {what}:{branch}"
            elif update.is_delete:
                refused[update.ref] = f"{branch} is what runs; it can't be deleted"
        return refused

    def _deploy_branch(self, updates: Sequence[RefUpdate]) -> str:
        """The very first push of `master` makes it the app's branch: nobody has to rename anything."""
        branch = self.app.deploy_branch
        names = {update.ref.removeprefix(HEADS) for update in updates}
        if names == {"master"} and branch == "main" and not self.app.builds.exists():
            App.objects.filter(pk=self.app.pk).update(deploy_branch="master")
            set_head(repository_path(self.app), "master")
            self.app.deploy_branch = branch = "master"
        return branch

    def start(self, push: Push) -> Iterator[PushEvent]:
        close_old_connections()
        try:
            build = services.start_push_build(
                self.app, push, by=self.user, received_seconds=time.monotonic() - self._began
            )
        except Failure as exc:
            yield PushEvent(PushEventKind.LINE, f" !     {exc.message}")
            yield PushEvent(PushEventKind.FAILED, exc.message)
            return
        finally:
            connection.close()  # a push holds its thread for as long as the build runs, but no connection
        yield PushEvent(
            PushEventKind.LINE, f"-----> Build {build.number} of {self.app.name}; it goes on when you press Ctrl-C"
        )
        yield from relay(build, self._keepalive)


def relay(build: Build, keepalive_seconds: float) -> Iterator[PushEvent]:
    """The build's log from its beginning until its end."""
    for entry in log.follow(build.pk, idle_seconds=keepalive_seconds):
        if entry is None:
            build.refresh_from_db()
            connection.close()
            if not build.is_finished:
                yield PushEvent(PushEventKind.IDLE)
                continue
            accepted, reason = outcome(build)  # its last entry was lost with Redis
        elif entry.end:
            accepted, reason = entry.end == "done", entry.text
        else:
            yield PushEvent(PushEventKind.LINE, entry.text)
            continue
        yield PushEvent(PushEventKind.DONE) if accepted else PushEvent(PushEventKind.FAILED, reason)
        return
