import sys
from pathlib import Path

import pytest
from honcho.environ import parse_procfile

from paas.env import CHECKOUT
from paas.host.forkserver import python_words


@pytest.fixture
def variables(tmp_path):
    """A home, and a PATH with one script of Python and one of the shell."""
    for name, interpreter in (("server", "/usr/bin/env python3"), ("tool", "/bin/sh")):
        script: Path = tmp_path / name
        script.write_text(f"#!{interpreter}\n")
        script.chmod(0o755)
    return {"PATH": str(tmp_path), "PAAS_HOME": "/var/lib/my paas"}


def test_a_script_of_python_is_run_with_its_arguments(variables, tmp_path):
    line = 'exec server app:x --bind "unix:$PAAS_HOME/run/web.sock" --name a@%h'
    assert python_words(line, variables) == [
        f"{tmp_path}/server", "app:x", "--bind", "unix:/var/lib/my paas/run/web.sock", "--name", "a@%h"
    ]  # fmt: skip


def test_a_module_is_run_with_its_arguments(variables):
    assert python_words("exec python -m paas.agent --once", variables) == ["-m", "paas.agent", "--once"]


@pytest.mark.parametrize(
    "line",
    [
        "exec tool",
        "exec missing",
        "server",  # without exec there would be a shell between
        "LEVEL=3 exec server",
        "exec server | exec tool",
        "exec server $(hostname)",
        "exec server '$PAAS_HOME'",
        "exec server $UNKNOWN",
        'exec server "',
        "exec python run.py",
    ],
)
def test_every_other_line_is_left_to_a_shell(variables, line):
    assert python_words(line, variables) == []


def test_the_lines_of_the_procfile_that_start_python_are_forked():
    variables = {"PATH": str(Path(sys.executable).parent), "PAAS_HOME": "/home"}
    lines = parse_procfile((CHECKOUT / "Procfile").read_text()).processes
    plain = {name for name, line in lines.items() if not python_words(line, variables)}
    assert plain == {"redis", "registry", "router"}
