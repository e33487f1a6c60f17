"""`python -m paas.host.up`: what bin/up does once there is a Python: prepare, start, wait until every part is well."""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from dotenv import dotenv_values

from paas import env as environment
from paas.core.files import write
from paas.core.processes import Lock, is_alive
from paas.env import Env
from paas.host import checks, router, services
from paas.host.checks import HostProblem
from paas.host.console import complain, line, say, step
from paas.host.engine import ensure_engine
from paas.machine.doors import doors
from runtime.errors import Failure, PlatformError

ROOT = Path(__file__).resolve().parent.parent.parent
STARTING = Path("/run/paas-starting.lock")
DEADLINE_SECONDS = 120  # a busy machine takes a while to load everything five times


def load_environment() -> Env:
    """Remembers the variables given, so that bin/paas and bin/down find the same platform."""
    try:
        env = environment.load()
    except environment.BadEnvironment as exc:
        raise HostProblem(str(exc), id="bad_environment") from exc
    checks.check_paths(env)
    return env


def prepare_home(env: Env, *, is_running: bool) -> None:
    """Raises `HostProblem` when what runs was started with other settings."""
    services.make_home(env)
    before = dotenv_values(env.saved_file, interpolate=False) if env.saved_file.exists() else {}
    settings = services.remembered(os.environ, before)
    changed = sorted(name for name, value in settings.items() if before.get(name) != value)
    if is_running and changed:
        raise HostProblem(
            f"The platform runs already, with other settings than those given now: {', '.join(changed)}.",
            hint="Stop it first, apps keep running: bin/down",
            id="settings_changed",
        )
    services.make_secret(env.secret_file)  # first: from the settings on, a missing one counts as lost
    write(env.saved_file, services.dotenv(settings), mode=0o600)


@contextmanager
def alone_on_this_machine() -> Iterator[None]:
    """Two that start at the same moment would choose the same ports."""
    descriptor = os.open(STARTING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def choose_port_range(env: Env) -> Env:
    """At the first start, and remembered like a variable that was given: beside another platform the next free ports.
    Again when somebody else has all of them by now."""
    if os.environ.get("PAAS_PORT_RANGE"):
        return env
    if dotenv_values(env.saved_file, interpolate=False).get("PAAS_PORT_RANGE") and not checks.is_range_taken(env):
        return env
    found = checks.free_range(env.http_address, low=20_000, high=31_999, size=200)
    if found is not None:
        os.environ["PAAS_PORT_RANGE"] = f"{found[0]}-{found[1]}"
    return environment.load()


def setup_django() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "paas.settings")
    import django

    django.setup()
    logging.getLogger().setLevel(logging.ERROR)  # what matters here is said in sentences


def migrate() -> str:
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    if connection.vendor == "sqlite":
        Path(connection.settings_dict["NAME"]).touch(mode=0o600)  # its journal gets the same rights
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        call_command("migrate", interactive=False, verbosity=0)
    return f"{len(plan)} migrations applied" if plan else "up to date"


def ensure_admin(env: Env) -> tuple[str, str]:
    """The first admin's e-mail, and the password when it was made just now."""
    from paas.accounts.models import User
    from paas.accounts.services import create_user

    admin = User.objects.filter(is_admin=True, is_active=True).order_by("created_at").first()
    if admin is not None:
        return admin.email, ""
    password = secrets.token_urlsafe(15)
    admin = create_user(email=f"admin@{env.domain}", password=password, is_admin=True)
    return admin.email, password


def start(env: Env) -> subprocess.Popen[bytes]:
    """The supervisor, in a session of its own, so that a closed terminal does not end it."""
    with (env.home / "logs" / "supervisor.log").open("ab") as output:
        return subprocess.Popen(
            [str(ROOT / "bin" / "keep"), sys.executable, "-m", "paas.host.run", *services.process_names(env)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def wait_until_healthy(env: Env, *, keeper: int | None, started_at: float | None = None) -> None:
    """Raises `PlatformError` with the reasons and the last lines of the log."""
    from paas.machine import health

    wrong = health.wait_until_healthy(
        health.checks(started_at=started_at),
        deadline_seconds=DEADLINE_SECONDS,
        goes_on=lambda: keeper is None or is_alive(keeper),
        on_healthy=lambda name, seconds: None if keeper is None else say(line(name, "healthy", seconds)),
    )
    if wrong:
        log = env.home / "logs" / "platform.log"
        last = log.read_text(errors="replace").splitlines()[-12:] if log.exists() else []
        raise PlatformError(
            "\n".join(
                [
                    f"Not every part is healthy after {DEADLINE_SECONDS} s:",
                    *(f"  {name}: {problem}" for name, problem in wrong.items()),
                    "The last lines of the log:",
                    *(f"  {text}" for text in last),
                ]
            ),
            hint=f"The whole log is {log}. What was started goes on trying; stop it with bin/down.",
            id="not_healthy",
        )


def show_doors(env: Env, email: str, password: str) -> None:
    addresses = doors(env)
    say()
    say(f"  Dashboard     {addresses['dashboard_url']}")
    if password:
        say(f"  Login         {email}   password: {password}")
        say("                It is shown only this once. Another one: bin/paas users:password")
    else:
        say(f"  Login         {email}   (forgot the password? bin/paas users:password)")
    say(f"  Git remote    git remote add paas {addresses['git_url']}/APP.git")
    say("                user: the e-mail, password: a token from bin/paas tokens:create")
    local = f", and on this machine {addresses['api_local_url']}" if addresses["api_local_url"] else ""
    say(f"  API           {addresses['api_url']}{local}")
    if addresses["ca_file"]:
        say(f"  Certificates  signed by {addresses['ca_file']}; also at {addresses['dashboard_url']}/ca.pem")
    say(f"  State, logs   {env.home}")
    say()


def bring_up(env: Env) -> tuple[str, str, int | None]:
    """Everything up to healthy: the admin's e-mail, the password if new, and the keeper's pid if started by us."""
    if Lock(env.run_dir / "platform.lock").holder() is None:
        with alone_on_this_machine():
            return _bring_up(choose_port_range(env))
    prepare_home(env, is_running=True)
    setup_django()
    with step("platform") as current:
        wait_until_healthy(env, keeper=None)
        current.done("runs already, every part is healthy")
    return (*ensure_admin(env), None)


def _bring_up(env: Env) -> tuple[str, str, int]:
    prepare_home(env, is_running=False)
    checks.check_ports(env)
    with step("ports") as current:
        missing = checks.check_range(env)
        span = "{}-{}".format(*env.port_range) if env.port_range else "none"
        current.done(span + (f", without {', '.join(missing)}" if missing else " for TCP and UDP"))
    with step("engine") as current:
        info, started = ensure_engine(env, log=env.home / "logs" / "dockerd.log")
        current.done(f"Docker {info.version}, {info.storage_driver}, {'started' if started else 'runs already'}")
    with step("configuration") as current:
        setup_django()
        services.write_configurations(env)
        router.install(env)
        current.done(str(env.home))
    with step("database") as current:
        current.done(migrate())
        admin = ensure_admin(env)
    started_at = time.time()
    keeper = start(env)
    wait_until_healthy(env, keeper=keeper.pid, started_at=started_at)
    return (*admin, keeper.pid)


def attend(log: Path, keeper: int) -> NoReturn:
    """Becomes bin/attend, which needs no interpreter's memory to show a log."""
    script = str(ROOT / "bin" / "attend")
    os.execv(script, [script, str(log), str(keeper)])  # noqa: S606


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bin/up")
    parser.add_argument("--detach", action="store_true")
    parser.add_argument("--demo", action="store_true")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        env = load_environment()
    except Failure as exc:
        complain(exc)
        return 1
    try:
        email, password, keeper = bring_up(env)
        if keeper is not None:
            say(line("platform", "is up", time.monotonic() - began))
        show_doors(env, email, password)
        if options.demo:
            from paas.host.demo import run_demo

            run_demo(env)
    except Failure as exc:
        complain(exc)
        return 1
    except KeyboardInterrupt:
        from paas.host.down import stop_platform

        say()
        stop_platform(env)
        complain(HostProblem("Stopped before every part was healthy."))
        return 130
    if options.detach or keeper is None:
        return 0
    attend(env.home / "logs" / "platform.log", keeper)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
