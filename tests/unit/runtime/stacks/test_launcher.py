"""The launcher is plain bash: here with the folders of a test in place of an image's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runtime.stacks.make import FILES


@pytest.fixture
def launch(tmp_path):
    for folder in ("app/.profile.d", "paas/processes", "paas/profile.d"):
        (tmp_path / folder).mkdir(parents=True)
    script = tmp_path / "launcher"
    text = (FILES / "launcher").read_text()
    script.write_text(text.replace("/paas/", f"{tmp_path}/paas/").replace("/app", f"{tmp_path}/app"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(script), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "PORT": "81"},
        )

    return run


def process(folder: Path, name: str, command: str) -> None:
    (folder / "paas/processes" / name).write_text(command)


def test_a_process_type_is_started_in_the_app_with_its_variables(launch, tmp_path):
    process(tmp_path, "web", 'echo "port $PORT" "$(pwd)" "$HOME"')
    assert launch("start", "web").stdout == f"port 81 {tmp_path}/app {tmp_path}/app\n"


@pytest.mark.parametrize("line", ["exec python3", "python3", "cd / && python3", "A=1 python3"])
def test_the_program_takes_the_launchers_place(launch, tmp_path, line):
    (tmp_path / "paas/profile.d/a.sh").write_text("export LAUNCHER=$$")
    process(tmp_path, "web", f"{line} -c 'import os; print(os.environ[\"LAUNCHER\"], os.getpid())'")
    launcher, program = launch("start", "web").stdout.split()
    assert launcher == program


def test_profiles_are_loaded_in_order_the_platforms_first(launch, tmp_path):
    (tmp_path / "paas/profile.d/a.sh").write_text("export X=platform Y=platform; set -- gone; command=gone")
    (tmp_path / "app/.profile.d/b.sh").write_text("export X=$X,app")
    (tmp_path / "app/.profile").write_text("export X=$X,last")
    process(tmp_path, "web", "echo $X $Y")
    assert launch("start", "web").stdout == "platform,app,last platform\n"


def test_any_command_can_be_run_as_a_line_or_word_by_word(launch):
    assert launch("run", "echo $PORT | cat").stdout == "81\n"
    assert launch("run", "printf", "%s|", "a b", "$PORT").stdout == "a b|$PORT|"
    assert launch("run", "exit 7").returncode == 7


@pytest.mark.parametrize("asked", ["worker", "", "../web", ".web", "a/b"])
def test_a_process_type_that_is_not_there_is_named_with_those_that_are(launch, tmp_path, asked):
    process(tmp_path, "web", "true")
    result = launch("start", asked)
    assert result.returncode == 64
    assert result.stderr.startswith(" !     ")
    if asked == "worker":
        assert '"worker"' in result.stderr
        assert "It has: web\n" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("run",), ("stop", "web")])
def test_a_request_it_does_not_know_ends_with_64(launch, arguments):
    assert launch(*arguments).returncode == 64
