"""`python -m paas.host.down [--apps] [--images]`: stop the platform; with `--apps` what it runs as well."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

from paas.core.processes import Lock, Sessions, end, is_alive, read_stat
from paas.env import Env
from paas.host.console import complain, say, step
from paas.host.up import load_environment, setup_django
from runtime.errors import Failure, PlatformError

GRACE_SECONDS = 30.0


def stop_platform(env: Env) -> bool:
    """False when nothing ran. Raises `PlatformError` when something can't be ended."""
    supervisor = Lock(env.run_dir / "platform.lock").holder()
    sessions = Sessions(env.run_dir / "sessions")
    if supervisor is None and not sessions.members():
        return False
    if supervisor:
        # The keeper leads the supervisor's session and would start it again.
        stat = read_stat(supervisor)
        for pid in dict.fromkeys([stat.session if stat else supervisor, supervisor]):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + GRACE_SECONDS
        while is_alive(supervisor) and time.monotonic() < deadline:
            time.sleep(0.05)
        end([supervisor], grace_seconds=1)
    if not end(sessions.members(), grace_seconds=5):
        raise PlatformError("Some processes could not be ended.", hint=f"They are: {dict(sessions.members())}")
    sessions.clear()
    for name in ("web.sock", "git.sock", "redis.sock", "fork.sock"):
        (env.run_dir / name).unlink(missing_ok=True)
    return True


def remove_apps(env: Env) -> int:
    """Every container, network and volume of this platform on the engine. The number of containers removed."""
    from paas.wiring import engine
    from runtime.reconcile.spec import HOME

    ours = engine()
    containers = ours.list({HOME: str(env.home)})
    for container in containers:
        ours.stop(container.id, grace_seconds=10)
        ours.remove(container.id)
    for network in ours.list_networks([f"{HOME}={env.home}"]):
        ours.remove_network(network.name)
    for volume in ours.list_volumes([f"{HOME}={env.home}"]):
        ours.remove_volume(volume)
    return len(containers)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bin/down")
    parser.add_argument("--apps", action="store_true", help="remove the containers and networks of the apps too")
    parser.add_argument("--images", action="store_true", help="remove from the engine what came from this registry")
    options = parser.parse_args(arguments)
    try:
        env = load_environment()
        with step("platform") as current:
            current.done("stopped" if stop_platform(env) else "did not run")
        if options.apps or options.images:
            setup_django()
        if options.apps:
            with step("apps") as current:
                current.done(f"{remove_apps(env)} containers stopped and removed")
        if options.images:
            from paas.host.images import remove_images

            with step("images") as current:
                current.done(f"{remove_images(env)} removed")
        if not options.apps:
            say("  Apps keep running. Stop them too with: bin/down --apps")
    except Failure as exc:
        complain(exc)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
