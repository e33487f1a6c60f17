"""The git endpoint with a scripted platform behind it, served by gunicorn for the tests beside it.

Everything it is told comes through files below `GIT_SERVER_ROOT`, everything it did is written there:
`<app>.git` is an app that alice may use, `<app>.json` says what happens to a push to it, `<app>.log` what did.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.errors import Conflict, Failure, Forbidden, NotFound
from runtime.git.api import Access, GitLimits, Push, PushEvent, PushEventKind, RefUpdate
from runtime.git.repository import abandon_push, finish_push
from runtime.git.web import GitApp

ROOT = Path(os.environ["GIT_SERVER_ROOT"])


class ScriptedPlatform:
    def authenticate(self, username: str, password: str, environ: Mapping[str, Any]) -> str | None:
        return username if (username, password) in {("alice", "correct"), ("charlie", "correct")} else None

    def open(self, identity: str, app_name: str, service: str) -> Access:
        if identity != "alice" or not (ROOT / f"{app_name}.git").is_dir():
            raise NotFound(f"No app named '{app_name}' that you may access.", hint="Create it: paas create")
        script = json.loads((ROOT / f"{app_name}.json").read_text())
        if script.get("forbidden"):
            raise Forbidden("You may look at this app, not deploy it.", hint="Ask its owner.")
        return Access(
            repository=ROOT / f"{app_name}.git",
            handler=ScriptedPush(app_name, script),
            limits=dataclasses.replace(GitLimits(keepalive_seconds=0.3), **script.get("limits", {})),
            allow_force=script.get("allow_force", True),
            allow_shallow=script.get("allow_shallow", True),
        )


class ScriptedPush:
    """The job is a thread that outlives the request, as a worker would."""

    def __init__(self, app_name: str, script: dict[str, Any]) -> None:
        self.app_name = app_name
        self.script = script
        self.events: queue.Queue[PushEvent] = queue.Queue()

    def policy(self, updates: Sequence[RefUpdate]) -> Mapping[str, str]:
        if self.script.get("any_ref"):
            return {}
        return {update.ref: "only main is deployed" for update in updates if update.ref != "refs/heads/main"}

    def start(self, push: Push) -> Iterator[PushEvent]:
        threading.Thread(target=self.run, args=(push,), daemon=True).start()
        self.note("started")
        yield PushEvent(PushEventKind.LINE, f"received {push.received_bytes} bytes, options {list(push.options)}")
        try:
            while True:
                try:
                    event = self.events.get(timeout=0.3)
                except queue.Empty:
                    event = PushEvent(PushEventKind.IDLE)
                yield event
        finally:
            self.note("watching ended")

    def run(self, push: Push) -> None:
        for line in self.script.get("lines", []):
            time.sleep(self.script.get("pause", 0.0))
            self.events.put(PushEvent(PushEventKind.LINE, line))
        while (ROOT / f"{self.app_name}.hold").exists():
            time.sleep(0.02)
        try:
            match self.script.get("outcome", "done"):
                case "done":
                    finish_push(push, allow_force=self.script.get("allow_force", True))
                    self.note("done")
                    self.events.put(PushEvent(PushEventKind.DONE))
                case "failed":
                    abandon_push(push)
                    self.note("failed")
                    self.events.put(PushEvent(PushEventKind.FAILED, self.script.get("reason", "")))
                case "detached":
                    abandon_push(push)
                    self.events.put(PushEvent(PushEventKind.DETACHED, self.script.get("reason", "")))
        except Conflict as error:
            self.events.put(PushEvent(PushEventKind.FAILED, error.message))
        except Failure as error:
            self.events.put(PushEvent(PushEventKind.FAILED, f"unexpected: {error}"))

    def note(self, text: str) -> None:
        with (ROOT / f"{self.app_name}.log").open("a") as file:
            file.write(f"{text}\n")


application = GitApp(ScriptedPlatform(), realm="tests")
