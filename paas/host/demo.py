"""`bin/up --demo`: push the sample app with the real git client, as a person would, and fetch it through the router."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import httpx

from paas.env import Env
from paas.host.console import say, step
from paas.machine.health import through_router
from runtime.errors import PlatformError

APP = "demo"
SAMPLE = Path(__file__).resolve().parent.parent.parent / "tests" / "sample_apps" / "flask"
DEADLINE_SECONDS = 60
# The same commit every time, so that a second demo has nothing new to push.
IDENTITY = {
    "GIT_AUTHOR_NAME": "paas", "GIT_AUTHOR_EMAIL": "demo@localhost", "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "paas", "GIT_COMMITTER_EMAIL": "demo@localhost", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}  # fmt: skip


def run_demo(env: Env) -> None:
    from paas.accounts import services
    from paas.accounts.selectors import first_admin
    from paas.apps.selectors import git_url

    user = first_admin()
    token, secret = services.create_token(user, name="demo", by=user, lifetime=timedelta(hours=1))
    folder = Path(tempfile.mkdtemp(prefix="paas-demo-"))
    try:
        push(env, folder / APP, remote=git_url(APP), email=user.email, token=secret)
    finally:
        shutil.rmtree(folder)
        token.delete()
    with step("demo") as current:
        current.done(f"answers 200 at {wait_for_answer(env)}")


def push(env: Env, folder: Path, *, remote: str, email: str, token: str) -> None:
    """Raises `PlatformError` when git says no; git's own words are on the terminal by then."""
    shutil.copytree(SAMPLE, folder)
    say(f"  $ git push {remote} main")
    basic = base64.b64encode(f"{email}:{token}".encode()).decode()
    # Through the environment: an argument would show the token to everybody who lists processes.
    settings = {
        "http.extraHeader": f"Authorization: Basic {basic}",
        "http.curloptResolve": f"git.{env.domain}:{env.http_port}:127.0.0.1",
        "http.proxy": "",
        "init.defaultBranch": "main",
        "core.hooksPath": "/dev/null",
        "commit.gpgSign": "false",
        "core.autocrlf": "false",
    }
    environ = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k == "GIT_SSL_CAINFO"}
    environ |= IDENTITY | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0"}
    environ["GIT_CONFIG_COUNT"] = str(len(settings))
    for number, (name, value) in enumerate(settings.items()):
        environ |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "Say hello."]):
        subprocess.run(["git", *command], cwd=folder, env=environ, check=True)
    pushed = subprocess.run(["git", "push", remote, "main"], cwd=folder, env=environ, check=False)
    if pushed.returncode:
        raise PlatformError(
            "The demo was not deployed; git's output above says why.",
            hint=f"More is in {env.home / 'logs' / 'platform.log'}.",
            id="demo_failed",
        )


def wait_for_answer(env: Env) -> str:
    """The demo's address, once it answers."""
    host = f"{APP}.{env.domain}"
    url = f"http://{host}" + ("" if env.http_port == 80 else f":{env.http_port}") + "/"
    deadline = time.monotonic() + DEADLINE_SECONDS
    seen = ""
    while time.monotonic() < deadline:
        try:
            status = through_router(env, host, "/").status_code
        except httpx.HTTPError as exc:
            seen = str(exc)
        else:
            if status == 200:
                return url
            seen = f"status {status}"
        time.sleep(0.2)
    raise PlatformError(
        f"The demo does not answer at {url}: {seen}.", hint="See: bin/paas logs -a demo", id="demo_failed"
    )
