"""The SSH door, with the real clients: git, and people without any command line of ours."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.harness import App, Platform, Push, git, wait_until
from tests.e2e.shell import Shell, Terminal


@pytest.fixture(scope="module")
def shell(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(platform, tmp_path_factory.mktemp("keys") / "somebody")
    yield shell
    shell.forget()


def pushed(shell: Shell, app: App) -> Push:
    return Push(app.folder, shell.remote(app.name), environment=shell.git_environment)


def test_a_push_to_a_new_name_creates_the_app_and_deploys_it(platform: Platform, shell: Shell, app: App):
    app.use("static")
    commit = app.commit()
    push = pushed(shell, app).succeeded()
    assert any("is live at" in line for line in push.remote), push.text
    assert app.get().status == 200
    copy = app.folder.parent / "copy"
    copy.mkdir()
    git("clone", "-q", shell.remote(app.name), ".", cwd=copy, environment=shell.git_environment)
    assert git("rev-parse", "HEAD", cwd=copy).out.strip() == commit
    event = next(each for each in platform.json("audit", "--app", app.name) if each["action"] == "app.create")
    assert event["door"] == "ssh"


def test_a_failed_deploy_is_a_rejected_push(shell: Shell, app: App):
    app.use("fails-no-buildpack").commit()
    push = pushed(shell, app).failed()
    assert push.refusal, push.text


def test_an_unknown_key_a_strange_app_and_an_archive_get_a_sentence_each(
    platform: Platform, shell: Shell, app: App, tmp_path: Path
):
    stranger = Shell(platform, tmp_path / "stranger", is_known=False)
    refused = stranger.run("apps")
    assert refused.code == 255
    assert "belongs to nobody here. Add it at http" in refused.err
    for command, words in (
        ("git-upload-pack 'nosuch.git'", "No app named 'nosuch' that you may access."),
        ("ps -a nosuch", "No app named 'nosuch' that you may access."),
        ("git-upload-archive 'nosuch.git'", "git upload-archive is not served here."),
        ("sftp", "There is no command 'sftp'."),
        ("", "There is no shell here."),
    ):
        result = shell.run(command)
        assert result.code == 1, command
        assert words in result.err
        assert not result.out


def test_nothing_is_forwarded_and_no_file_is_transferred(platform: Platform, shell: Shell):
    result = shell.run("help", options=["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"])
    assert result.code == 255
    assert "remote port forwarding failed" in result.err
    forwarded = shell.run("", options=["-W", f"127.0.0.1:{platform.port}"])
    assert "open failed" in forwarded.err
    for program in (["sftp", "-P", shell.port, "-b", "/dev/null"], ["scp", "-P", shell.port, "/dev/null"]):
        address = "git@127.0.0.1:x" if program[0] == "scp" else "git@127.0.0.1"
        words = [program[0], *shell.options, *program[1:], address]
        assert subprocess.run(words, capture_output=True, check=False, timeout=60).returncode != 0


def test_people_without_a_command_line_see_their_apps(shell: Shell, steady: App):
    assert steady.name in shell.run("apps").out
    assert "web.1" in shell.run(f"ps -a {steady.name}").out
    assert "current" in shell.run(f"releases -a {steady.name} -n 1").out
    logs = f"logs -a {steady.name} -n 20 -p worker"
    wait_until(lambda: "app[worker.1]" in shell.run(logs).out, "the worker says something")


def test_a_log_is_followed_until_the_reader_leaves(shell: Shell, steady: App):
    with shell.start(f"logs -a {steady.name} -t -n 1 -p worker") as tail:
        assert tail.stdout is not None
        lines = [tail.stdout.readline() for _ in range(4)]
        assert all(b"app[worker.1]: " in line for line in lines), lines
        tail.kill()
    terminal = Terminal(shell.command(f"logs -a {steady.name} -t -n 1 -p worker", options=["-tt"]))
    terminal.until("app[worker.1]: ")
    terminal.type("\x03")
    assert terminal.end() == 130


def test_a_command_has_pipes_and_its_exit_status_is_passed_on(shell: Shell, steady: App):
    result = shell.run(f"run -a {steady.name} 'cat; echo fine >&2; exit 7'", text="hello")
    assert (result.code, result.out, result.err) == (7, "hello", "fine\n")
    data = bytes(range(256)) * 20_000
    done = subprocess.run(
        shell.command(f"run -a {steady.name} cat"), input=data, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout == data) == (0, True)
    steady.runs_end()


def test_a_command_has_a_terminal_of_the_right_size_and_ctrl_c_reaches_it(shell: Shell, steady: App):
    terminal = Terminal(shell.command(f"run -a {steady.name} sh", options=["-t"]), rows=30, columns=100)
    terminal.type("stty size; echo $TERM\r")
    terminal.until("30 100\r\n")
    terminal.until("xterm\r\n")
    terminal.resize(40, 132)
    wait_until(lambda: _size(terminal) == "40 132", "the new size is known in the container")
    terminal.type("sleep 1000; echo interrupted: $?\r")
    terminal.until("sleep 1000")
    wait_until(lambda: _sleeps(steady), "the command sleeps")
    terminal.type("\x03")
    terminal.until("^C")
    terminal.type("exit 5\r")
    assert terminal.end() == 5
    steady.runs_end()


def _size(terminal: Terminal) -> str:
    terminal.type("echo size=$(stty size)=\r")
    terminal.until("\nsize=")
    return terminal.until("=\r\n").removesuffix("=\r\n")


def _sleeps(app: App) -> bool:
    top = app.platform.engine.api.top(app.runs()[0]["Id"])
    return any("sleep 1000" in " ".join(process) for process in top["Processes"])


def test_a_client_that_is_gone_leaves_nothing_behind(shell: Shell, steady: App):
    terminal = Terminal(shell.command(f"run -a {steady.name} sh", options=["-t"]))
    terminal.type("echo re''ady\r")
    terminal.until("ready")
    assert len(steady.runs()) == 1
    terminal.kill()
    steady.runs_end()


def test_a_removed_key_opens_nothing_any_more_not_even_on_an_open_connection(
    platform: Platform, steady: App, tmp_path: Path
):
    shell = Shell(platform, tmp_path / "leaver")
    control = ["-o", f"ControlPath={tmp_path}/c", "-o", "ControlMaster=auto", "-o", "ControlPersist=60"]
    assert shell.run("apps", options=control).code == 0
    shell.forget()
    again = shell.run("apps", options=control)
    assert again.code == 1
    assert "Your key is no longer known here." in again.err
    subprocess.run(["ssh", *shell.options, *control, "-O", "exit", "git@127.0.0.1"], capture_output=True, check=False)


@pytest.mark.alone
def test_the_process_comes_back_and_its_host_key_stays(platform: Platform, shell: Shell):
    before = platform.processes("terminals")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: shell.run("apps").code == 0, "SSH answers again", seconds=60)
    assert platform.processes("terminals") != before


def test_twenty_pushes_at_once_through_both_doors_arrive_each_where_it_belongs(
    platform: Platform, shell: Shell, new_app: Callable[[], App]
):
    apps = [new_app() for _ in range(20)]
    for number, app in enumerate(apps):
        app.use("static")
        (app.folder / "who.txt").write_text(f"app {number}\n")
        app.commit()
    began = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        pushes = [
            pool.submit(pushed, shell, app) if number % 2 else pool.submit(app.start_push)
            for number, app in enumerate(apps)
        ]
        results = [each.result().wait(420) for each in pushes]
    seconds = time.monotonic() - began
    assert [push.code for push in results] == [0] * 20, "\n".join(push.text for push in results if push.code)
    released = {row["name"]: row["release"] for row in platform.json("apps")}
    for number, app in enumerate(apps):
        assert app.get("/who.txt").text == f"app {number}\n"
        assert released[app.name] == 1
    slowest = max(push.seconds for push in results)
    print(f"20 pushes to 20 apps: {seconds:.1f} s, the slowest {slowest:.1f} s")  # noqa: T201
