"""`paas` as people have it on a laptop: built, installed into an empty environment, logged in over TLS."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import CHECKOUT, App, Platform, Result, git, git_environment, wait_until

Paas = Callable[..., Result]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, in an environment with nothing but what it asks for."""
    folder = tmp_path_factory.mktemp("laptop")
    shutil.copytree(CHECKOUT / "client", folder / "client")  # building writes beside the source
    python = folder / "venv" / "bin" / "python"
    _run(sys.executable, "-m", "venv", folder / "venv")
    _run(python, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder / "dist", folder / "client")
    (wheel,) = (folder / "dist").glob("paas_client-*.whl")
    _run(python, "-m", "pip", "install", wheel)
    return folder / "venv" / "bin" / "paas"


def _run(*arguments: str | Path) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def laptop(installed: Path, platform: Platform, tmp_path: Path) -> Paas:
    """Logged in, with a home and a work tree of its own."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    kept = {name: value for name, value in git_environment().items() if not name.startswith(("PAAS_", "PYTHON"))}
    environ = kept | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}

    def run(*arguments: str, text: str = "", check: bool = True) -> Result:
        done = subprocess.run(
            [installed, *arguments], cwd=work, env=environ, input=text, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        result = Result(done.returncode, done.stdout, done.stderr, 0)
        assert not check or result.code == 0, result.text
        return result

    login = ("login", platform.info["api_local_url"], "--token", "-")
    untrusted = run(*login, text=platform.token, check=False)
    assert untrusted.code == 130, "nobody was there to say yes to the CA"
    assert platform.info["ca_fingerprint"] in untrusted.err
    wrong = run(*login, "--fingerprint", "00" * 32, text=platform.token, check=False)
    assert (wrong.code, "another fingerprint" in wrong.err) == (1, True)
    run(*login, "--fingerprint", platform.info["ca_fingerprint"], text=f"{platform.token}\n")
    return run


def test_an_installed_client_needs_no_more_than_a_login(laptop: Paas, steady: App, platform: Platform) -> None:
    assert laptop("whoami").out.strip() == platform.info["email"]
    assert steady.name in [app["name"] for app in json.loads(laptop("apps", "--json").out)]
    assert laptop("config:get", "-a", steady.name, "NOTHING", check=False).code == 1
    assert "Did you mean ps:scale?" in laptop("scale", check=False).err
    laptop("config:set", "-a", steady.name, "GREETING=Hallo")
    script = "import os; print(6 * 7, os.environ['GREETING']); raise SystemExit(5)"
    done = laptop("run", "-a", steady.name, "--", "python", "-c", script, check=False)
    assert (done.code, done.out.strip()) == (5, "42 Hallo"), done.text
    echoed = laptop("run", "-a", steady.name, "--no-tty", "--", "cat", text="through a pipe\n")
    assert echoed.out == "through a pipe\n"
    laptop("config:unset", "-a", steady.name, "GREETING")
    assert re.search(
        r"web\.1.*web: version good listens", laptop("logs", "-a", steady.name, "-p", "web", "-n", "200").out
    )
    laptop("logout")
    assert "not logged in" in laptop("apps", check=False).err


def test_the_log_is_followed_from_elsewhere(laptop: Paas, installed: Path, steady: App, tmp_path: Path) -> None:
    environ = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "home" / ".config")}
    for name in [name for name in environ if name.startswith(("PAAS_", "PYTHON"))]:
        del environ[name]
    follow = [str(installed), "logs", "-a", steady.name, "-n", "0", "-t", "--grep", "tick"]
    with subprocess.Popen(follow, env=environ, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        lines = [tail.stdout.readline() for _ in range(2)]
        tail.terminate()
    assert all("tick" in line for line in lines)


def test_a_folder_is_deployed_without_git_and_pushed_with_it(
    laptop: Paas, new_app: Callable[[], App], tmp_path: Path
) -> None:
    app = new_app()
    app.use("static")
    laptop("apps:create", app.name)
    said = laptop("deploy", "-a", app.name, str(app.folder))
    assert "is live at" in said.out
    wait_until(lambda: app.get().status == 200, "the folder is live")
    work = tmp_path / "work"
    git("init", "-q", "-b", "main", cwd=work)
    assert "was added" in laptop("git:remote", "-a", app.name).err
    assert laptop("ps", "--json").out.startswith("["), "the remote says which app is meant"
