"""How the machine and the platform's own parts are doing. Cheap enough for a page that is looked at often."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from django.conf import settings
from django.db import connections
from redis import RedisError

from paas.builds.models import ACTIVE, Build, BuildStatus
from paas.convergence.services import SWEPT
from paas.core import redis
from paas.machine import health
from paas.wiring import engine
from runtime.errors import Failure

HEALTH = "paas:health"
HEALTH_SECONDS = 10  # for which an answer is good enough for the next look
QUEUES = ("default", "builds")
LATE_SECONDS = 60  # a task that waits for longer, or a sweep that is older, means something is wrong

# What each part is for, and what to do about it.
PARTS: Mapping[str, tuple[str, str]] = {
    "web": ("the dashboard", "Its log is logs/platform.log, lines of web."),
    "git": ("pushes and fetches", "Until it answers, pushes are refused. Apps are not affected."),
    "streams": ("live logs and builds", "Pages work without it, and are not live."),
    "terminals": ("SSH, terminals of run", "Until it answers, push over HTTP. Apps are not affected."),
    "router": ("visitors of all apps", "It starts again by itself. If it stays like this, logs/platform.log tells why."),
    "redis": ("the queue, locks, live logs", "Until it is back nothing is built or changed. What runs goes on running."),
    "registry": ("the images", "Until it is back nothing new is deployed. What runs goes on running."),
    "workers": ("deploys, builds and repairs", "They start again by themselves. Is the machine out of memory?"),
    "agent": ("crashes noticed at once, samples", "Until it is back, charts have a gap, and crashes are noticed later."),
    "engine": ("all instances", "Is the container engine up? With systemd: systemctl status docker"),
}


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    purpose: str
    problem: str  # "" = it is well
    hint: str

    @property
    def state(self) -> str:
        return "down" if self.problem else "healthy"


@dataclass(frozen=True, slots=True)
class Queue:
    name: str
    waiting: int
    oldest_task: str = ""
    oldest_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    at: datetime
    seconds: float
    is_late: bool


@dataclass(frozen=True, slots=True)
class Certificate:
    name: str
    expires_at: datetime

    @property
    def is_expiring(self) -> bool:
        return (self.expires_at - datetime.now(tz=UTC)).days < 14


def parts() -> list[Part]:
    """All are asked at the same time; an answer of the last seconds is told again."""
    problems = _remembered() or _ask()
    return [_part(name, problem) for name, problem in problems.items()]


def _part(name: str, problem: str) -> Part:
    purpose, hint = PARTS.get(name, ("", ""))
    return Part(name, purpose, problem, hint if problem else "")


def _ask() -> dict[str, str]:
    checks = {**health.checks(), "engine": health.container_engine}
    with ThreadPoolExecutor(len(checks)) as pool:
        answers = {name: pool.submit(_answer, check) for name, check in checks.items()}
        problems = {name: answers[name].result() for name in PARTS if name in answers}
        problems |= {name: answer.result() for name, answer in answers.items() if name not in problems}
    try:
        redis.client().set(HEALTH, json.dumps(problems), ex=HEALTH_SECONDS)
    except RedisError:
        pass
    return problems


def _answer(check: health.Check) -> str:
    try:
        return check()
    finally:
        connections.close_all()  # of this thread


def _remembered() -> dict[str, str] | None:
    try:
        text = redis.client().get(HEALTH)
    except RedisError:
        return None
    return json.loads(text) if isinstance(text, str) else None


def queues() -> list[Queue]:
    """Empty when Redis does not answer."""
    found = []
    try:
        for name in QUEUES:
            waiting = int(redis.client().llen(name))
            oldest = redis.client().lindex(name, -1) if waiting else None
            found.append(Queue(name, waiting, *_oldest(oldest)))
    except RedisError:
        return []
    return found


def _oldest(message: Any) -> tuple[str, float | None]:
    try:
        headers = json.loads(message)["headers"]
        sent = headers.get("sent_at")
        return str(headers["task"]), max(0.0, time.time() - sent) if sent else None
    except (TypeError, ValueError, KeyError):
        return "", None


def last_sweep() -> Sweep | None:
    try:
        text = redis.client().get(SWEPT)
    except RedisError:
        return None
    if not isinstance(text, str):
        return None
    told = json.loads(text)
    at = datetime.fromtimestamp(told["at"], UTC)
    return Sweep(at, told["seconds"], time.time() - told["at"] > LATE_SECONDS)


@dataclass(frozen=True, slots=True)
class EngineState:
    """What the engine says of itself; a reason in its place when it does not answer."""

    version: str = ""
    api_version: str = ""
    storage: str = ""
    runtimes: tuple[str, ...] = ()
    cgroups: str = ""
    problem: str = ""


def engine_state() -> EngineState:
    try:
        info = engine().info()
    except Failure as exc:
        return EngineState(problem=exc.message)
    return EngineState(info.version, info.api_version, info.storage_driver, tuple(info.runtimes), info.cgroup_version)


def running_builds() -> list[Build]:
    """Those at work first, then those that wait, the oldest first."""
    builds = Build.objects.filter(status__in=ACTIVE).select_related("app").order_by("created_at")
    return sorted(builds, key=lambda build: build.status != BuildStatus.BUILDING)


def certificates() -> list[Certificate]:
    """Those of the router, the first to expire first."""
    found = []
    for file in (settings.ENV.home / "router" / "certs").glob("*/fullchain.pem"):
        if file.parent.name == "_":
            continue  # the placeholder, which nobody trusts
        try:
            certificate = x509.load_pem_x509_certificate(file.read_bytes())
        except (OSError, ValueError):
            continue
        found.append(Certificate(file.parent.name.replace("_.", "*."), certificate.not_valid_after_utc))
    return sorted(found, key=lambda each: each.expires_at)
