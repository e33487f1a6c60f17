"""How long a one-line change takes until a visitor sees it: through the platform, and by hand with docker build and run.

    PAAS_HOME=/path/to/home .venv/bin/python -m bench.deploy [--rounds 5] [--json]

Both ways start from the same image, with stack and dependencies in it, and take turns on the same machine, so that the
ratio means something even where the seconds don't. Each ends with the first 200 that shows the new version.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from tests.e2e.harness import App, Platform

PAUSE = 0.004  # between two looks


def seconds_until(question: Callable[[], bool], began: float, limit: float = 60) -> float:
    while not question():
        if time.monotonic() - began > limit:
            raise SystemExit(f"Nothing came within {limit:g} s.")
        time.sleep(PAUSE)
    return time.monotonic() - began


class ByHand:
    """What a shell script of four lines does: build on top of what is there, run, stop the old one."""

    def __init__(self, app: App, buildkit: bool) -> None:
        self.app, self.buildkit = app, buildkit
        container = app.instances("web")[0]
        self.base: str = container["Image"]
        self.name = f"bench-{uuid.uuid4().hex[:8]}"
        self.old = ""
        self.count = 0

    def deploy(self, version: str) -> float:
        self.app.set_version(version)
        folder = self.app.folder
        recipe = f"FROM {self.base}\nCOPY app.py Procfile requirements.txt app.json /app/\n"
        self.count += 1
        tag = f"{self.name}:{self.count}"
        began = time.monotonic()
        self._docker("build", "-q", "-t", tag, "-f", "-", ".", given=recipe, folder=folder)
        name, address = self._run(tag)
        taken = seconds_until(lambda: answers(address, version), began)
        self._replace(name)
        return taken

    def boot(self) -> float:
        """Only the start of an image that is there: the least that a rollback can take."""
        began = time.monotonic()
        name, address = self._run(f"{self.name}:{self.count}")
        taken = seconds_until(lambda: answers(address, ""), began)
        self._docker("rm", "-f", name)
        return taken

    def _run(self, tag: str) -> tuple[str, str]:
        name = f"{self.name}-{uuid.uuid4().hex[:6]}"
        self._docker("run", "-d", "--name", name, "-e", "PORT=8000", tag, "start", "web")
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return name, self._docker("inspect", "-f", form, name).strip()

    def _replace(self, name: str) -> None:
        if self.old:
            self._docker("rm", "-f", self.old)
        self.old = name

    def clean_up(self) -> None:
        if self.old:
            self._docker("rm", "-f", self.old)
        for n in range(1, self.count + 1):
            self._docker("rmi", f"{self.name}:{n}")

    def _docker(self, *arguments: str, given: str = "", folder: Path | None = None) -> str:
        environment = {**os.environ, "DOCKER_BUILDKIT": "1" if self.buildkit else "0"}
        done = subprocess.run(
            ["docker", *arguments], input=given, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"docker {' '.join(arguments)} failed:\n{done.stderr}")
        return done.stdout


def answers(address: str, version: str) -> bool:
    connection = http.client.HTTPConnection(address, 8000, timeout=5)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read().decode()
        return answer.status == 200 and (not version or f'"version":"{version}"' in body)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def through_the_platform(app: App, version: str) -> float:
    app.set_version(version).commit(version)
    began = time.monotonic()
    push = app.start_push()
    taken = seconds_until(lambda: shows(app, version=version), began)
    push.succeeded()
    return taken


def shows(app: App, **expected: str) -> bool:
    try:
        return app.answers(**expected)
    except (OSError, http.client.HTTPException, ValueError):
        return False


def with_the_command_line(app: App, expected: dict[str, str], *arguments: str) -> float:
    """Includes the start of the command line itself, as people feel it."""
    began = time.monotonic()
    running = subprocess.Popen(
        ["bin/paas", arguments[0], "-a", app.name, *arguments[1:]],
        cwd=Path(__file__).resolve().parents[1], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with running:
        return seconds_until(lambda: shows(app, **expected), began)


def measure(rounds: int) -> dict[str, list[float]]:
    platform = Platform()
    folder = Path(tempfile.mkdtemp(prefix="bench-deploy-"))
    app = App(platform, folder / "app")
    hands: list[ByHand] = []
    found: dict[str, list[float]] = {}

    def note(what: str, seconds: float) -> None:
        found.setdefault(what, []).append(seconds)
        print(f"  {what:24} {seconds:6.2f} s", file=sys.stderr)

    try:
        app.deploy("flask", "warm-0")
        app.deploy(version="warm-1")
        hands = [ByHand(app, buildkit=False)]
        if has_buildkit():
            hands.append(ByHand(app, buildkit=True))
        for hand in hands:
            hand.deploy("warm-2")
        for n in range(rounds):
            note("platform: push", through_the_platform(app, f"push-{n}"))
            for hand in hands:
                label = "by hand: BuildKit" if hand.buildkit else "by hand: classic build"
                note(label, hand.deploy(f"hand-{n}"))
            note("by hand: boot only", hands[0].boot())
            before = app.releases()[-1]["version"]
            greeting = f"round {n}"
            note(
                "platform: config",
                with_the_command_line(app, {"greeting": greeting}, "config:set", f"GREETING={greeting}"),
            )
            back = {"release": f"v{before + 2}"}
            note("platform: rollback", with_the_command_line(app, back, "rollback", f"v{before}"))
            app.get()
    finally:
        for hand in hands:
            hand.clean_up()
        app.destroy()
        shutil.rmtree(folder, ignore_errors=True)
    return found


def has_buildkit() -> bool:
    return subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode == 0 or (
        subprocess.run(["docker", "version", "-f", "{{.Client.Version}}"], capture_output=True, text=True, check=False)
        .stdout.startswith(("18.", "19.", "20."))
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure deploys against docker build and run by hand.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.rounds)
    medians = {what: round(statistics.median(values), 3) for what, values in found.items()}
    floor = min(value for what, value in medians.items() if what.startswith("by hand:") and "boot" not in what)
    ratios = {"push to the faster build by hand": round(medians["platform: push"] / floor, 2)}
    for what in ("config", "rollback"):
        ratios[f"{what} to boot"] = round(medians[f"platform: {what}"] / medians["by hand: boot only"], 2)
    if options.json:
        print(json.dumps({"seconds": found, "medians": medians, "ratios": ratios}, indent=2))
        return
    print(f"\nMedians of {options.rounds} rounds")
    for what, value in medians.items():
        print(f"  {what:36} {value:6.2f} s")
    for what, value in ratios.items():
        print(f"  {what:36} {value:6.2f}")


if __name__ == "__main__":
    main()
