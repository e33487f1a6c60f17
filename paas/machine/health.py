"""Is every part there? Each check returns what is wrong with its part, or "" when nothing is."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping

import httpx
from django.conf import settings
from redis import RedisError

from paas.celery import celery_app
from paas.core.redis import client
from paas.env import Env
from runtime.errors import Failure

HEARTBEAT = "paas:agent"
Check = Callable[[], str]


def through_router(env: Env, host: str, path: str, *, timeout_seconds: float = 5.0) -> httpx.Response:
    """GET as a visitor on this machine would, without asking any name server. Raises `httpx.HTTPError`."""
    with httpx.Client(trust_env=False, timeout=timeout_seconds) as http:
        return http.get(f"http://{listening_address(env)}:{env.http_port}{path}", headers={"Host": host})


def listening_address(env: Env) -> str:
    """Where the public ports answer to this machine."""
    return "127.0.0.1" if env.http_address in {"0.0.0.0", ""} else env.http_address  # noqa: S104


def redis() -> str:
    try:
        client().ping()
    except RedisError as exc:
        return f"Redis does not answer: {exc}"
    return ""


def registry() -> str:
    env: Env = settings.ENV
    url = env.registry_url.rstrip("/") + "/v2/"
    there = None if env.external_registry else httpx.HTTPTransport(uds=str(env.registry_socket))
    try:
        with httpx.Client(trust_env=False, timeout=5, transport=there) as http:
            status = http.get(url).status_code
    except httpx.HTTPError as exc:
        return f"The registry does not answer: {exc}"
    return "" if status in {200, 401} else f"The registry answers {status} at /v2/."


def router() -> str:
    from paas.wiring import router as our_router

    try:
        return "" if our_router().healthy() else "The router does not answer on its admin socket."
    except Failure as exc:
        return exc.message


def container_engine() -> str:
    from paas.wiring import engine

    try:
        engine().info()
    except Failure as exc:
        return exc.message
    return ""


def web() -> str:
    return _door(f"dashboard.{settings.ENV.domain}", "/-/health", "The dashboard")


def git() -> str:
    return _door(f"git.{settings.ENV.domain}", "/-/health", "The git endpoint")


def streams() -> str:
    return _door(f"dashboard.{settings.ENV.domain}", "/streams/-/health", "The streams process")


def _door(host: str, path: str, name: str) -> str:
    try:
        status = through_router(settings.ENV, host, path).status_code
    except httpx.HTTPError as exc:
        return f"{name} does not answer through the router: {exc}"
    return "" if status == 200 else f"{name} answers {status} through the router."


def terminals() -> str:
    """Neither port is asked for more than a connection, so that no client is taken for one that failed to sign in."""
    env = settings.ENV
    for name, port in (("SSH", env.ssh_port), ("terminals of run", env.rendezvous_port)):
        try:
            if port:
                socket.create_connection((listening_address(env), port), timeout=5).close()
        except OSError as exc:
            return f"Nothing answers on port {port} ({name}): {exc}"
    return ""


def workers() -> str:
    try:
        replies = celery_app.control.ping(timeout=1.0, limit=2)
    except Exception as exc:  # noqa: BLE001 - the broker has many; what counts is the reason
        return f"The queue does not answer: {exc}"
    names = {name.partition("@")[0] for reply in replies for name in reply}
    missing = {"worker", "builder"} - names
    return f"No answer from: {', '.join(sorted(missing))}." if missing else ""


def agent(since: float) -> str:
    try:
        beat = client().get(HEARTBEAT)
    except RedisError as exc:
        return f"Redis does not answer: {exc}"
    return "" if beat and int(str(beat)) >= int(since) else "The agent's heart does not beat."


def checks(*, started_at: float | None = None) -> Mapping[str, Check]:
    """Every part. A heartbeat from before `started_at` is that of another agent."""
    since = started_at or time.time() - 60
    return {
        "redis": redis,
        "registry": registry,
        "router": router,
        "web": web,
        "git": git,
        "streams": streams,
        **({"terminals": terminals} if settings.ENV.ssh_port or settings.ENV.rendezvous_port else {}),
        "workers": workers,
        "agent": lambda: agent(since),
    }


def wait_until_healthy(
    checks: Mapping[str, Check],
    *,
    deadline_seconds: float,
    goes_on: Callable[[], bool],
    on_healthy: Callable[[str, float], None],
) -> Mapping[str, str]:
    """Ask every part until all are well, or `goes_on` says no. What is still wrong at the end, by name."""
    began = time.monotonic()
    wrong: dict[str, str] = dict.fromkeys(checks, "not asked yet")
    guard = threading.Lock()

    def ask(name: str) -> None:
        pause = 0.1
        while time.monotonic() - began < deadline_seconds and goes_on():
            problem = checks[name]()
            with guard:
                if not problem:
                    del wrong[name]
                    on_healthy(name, time.monotonic() - began)
                    return
                wrong[name] = problem
            time.sleep(pause)
            pause = min(0.5, pause * 1.5)

    _all(ask, checks)
    return wrong


def _all(call: Callable[[str], None], names: Iterable[str]) -> None:
    threads = [threading.Thread(target=call, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
