"""bin/up, bin/down and the supervisor, on the platform that bin/test has brought up."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import httpx
import pytest
from honcho.environ import parse_procfile

from paas import env as environment
from paas.core.processes import Lock, Sessions, is_alive, read_stat
from paas.host.checks import free_ports
from paas.host.run import FORK_SERVER

ROOT = environment.CHECKOUT
PARTS = [*parse_procfile((ROOT / "Procfile").read_text()).processes, FORK_SERVER]

pytestmark = [
    pytest.mark.alone,
    pytest.mark.platform,
    pytest.mark.skipif("PAAS_TEST_PLATFORM" not in os.environ, reason="run it with: bin/test e2e"),
]


@pytest.fixture
def env() -> environment.Env:
    return environment.load()


def run(
    *command: str, variables: Mapping[str, str] | None = None, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> object:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    log = environment.load().home / "logs" / "platform.log"
    raise AssertionError(f"{what}: not after {seconds} s.\n" + "\n".join(log.read_text().splitlines()[-40:]))


def dashboard_is_well(env: environment.Env) -> bool:
    try:
        with httpx.Client(trust_env=False, timeout=5) as http:
            answer = http.get(f"http://127.0.0.1:{env.http_port}/-/health", headers={"Host": f"dashboard.{env.domain}"})
    except httpx.HTTPError:
        return False
    return answer.status_code == 200


def members(env: environment.Env) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for pid, name in Sessions(env.run_dir / "sessions").members().items():
        found.setdefault(name, set()).add(pid)
    return found


def kill(pids: Iterable[int]) -> None:
    """Some may have ended by now: the router's shells start short-lived children."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def leaders(env: environment.Env) -> dict[str, set[int]]:
    """What the supervisor started itself; their children may come and go."""
    kept = {
        name: {pid for pid in pids if (stat := read_stat(pid)) and stat.session == pid}
        for name, pids in members(env).items()
    }
    return {name: pids for name, pids in kept.items() if pids}


def test_a_second_start_takes_seconds_and_changes_nothing(env):
    run("bin/up", "--detach")  # returns when everything is healthy: an earlier test may have killed something
    before = leaders(env)
    secret = env.secret_file.read_bytes()
    saved = env.saved_file.stat()
    began = time.monotonic()
    again = run("bin/up", "--detach")
    assert again.returncode == 0, again.stdout + again.stderr
    assert time.monotonic() - began < 20
    assert "runs already" in again.stdout
    assert f"http://dashboard.{env.domain}" in again.stdout
    assert "shown only this once" not in again.stdout
    assert leaders(env) == before
    assert env.secret_file.read_bytes() == secret
    assert env.saved_file.stat().st_mtime_ns == saved.st_mtime_ns


def test_other_settings_than_those_it_runs_with_are_refused(env):
    before = env.saved_file.read_bytes()
    refused = run("bin/up", "--detach", variables={"PAAS_DOMAIN": "apps.example.com"})
    assert refused.returncode == 1
    assert "other settings than those given now: PAAS_DOMAIN" in refused.stderr
    assert env.saved_file.read_bytes() == before


def test_secrets_can_only_be_read_by_root(env):
    for file in (
        env.secret_file,
        env.saved_file,
        env.home / "redis" / "redis.conf",
        env.home / "registry" / "config.yml",
    ):
        assert file.stat().st_mode & 0o077 == 0, file


def test_redis_and_the_registry_cannot_be_reached_from_outside(env):
    listening = run("ss", "-Hltn", f"sport = :{env.registry_port}").stdout.split()
    assert f"127.0.0.1:{env.registry_port}" in listening
    redis_pids = "|".join(f"pid={pid}," for pid in members(env)["redis"])
    assert not re.search(redis_pids, run("ss", "-Hltnp").stdout)


@pytest.mark.parametrize("name", PARTS)
def test_a_killed_process_comes_back(env, name):
    before = members(env)[name]
    kill(before)
    wait_for(lambda: (now := members(env).get(name, set())) and not now & before, f"{name} runs again")
    wait_for(lambda: dashboard_is_well(env), "the dashboard answers")


def test_a_killed_fork_server_takes_nobody_with_it(env):
    before = members(env)
    others = {name: pids for name, pids in leaders(env).items() if name != FORK_SERVER}
    kill(before[FORK_SERVER])
    wait_for(lambda: (now := members(env).get(FORK_SERVER, set())) and not now & before[FORK_SERVER], "another one")
    assert {name: pids for name, pids in leaders(env).items() if name != FORK_SERVER} == others
    kill(before["web"])  # whose parent is gone
    wait_for(lambda: (now := members(env).get("web", set())) and not now & before["web"], "web runs again")
    wait_for(lambda: dashboard_is_well(env), "the dashboard answers")


def test_a_router_whose_master_was_killed_comes_back_although_its_workers_held_the_port(env):
    (master,) = [pid for pid in members(env)["router"] if (stat := read_stat(pid)) and stat.session == pid]
    os.kill(master, signal.SIGKILL)
    wait_for(lambda: not is_alive(master) and dashboard_is_well(env), "the dashboard answers")
    wait_for(
        lambda: any((stat := read_stat(pid)) and stat.session == pid for pid in members(env).get("router", ())),
        "a new master",
    )


def test_a_killed_supervisor_comes_back_and_takes_over(env):
    lock = Lock(env.run_dir / "platform.lock")
    before = lock.holder()
    assert before
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: (holder := lock.holder()) and holder != before, "a new supervisor")
    wait_for(lambda: set(members(env)) == set(PARTS) and dashboard_is_well(env), "every part")
    healthy = run("bin/up", "--detach")
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr


def test_down_and_up_again_keep_the_admin_and_print_no_password(env):
    down = run("bin/down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert not members(env)
    assert not dashboard_is_well(env)
    assert "stopped" in down.stdout
    again = run("bin/down")
    assert again.returncode == 0
    assert "did not run" in again.stdout
    up = run("bin/up", "--detach")
    assert up.returncode == 0, up.stdout + up.stderr
    assert "shown only this once" not in up.stdout
    assert "users:password" in up.stdout


def test_ctrl_c_stops_a_platform_in_the_foreground(env):
    assert run("bin/down").returncode == 0
    foreground = subprocess.Popen(
        ["bin/up"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - ignored where tests run in the background
    )
    assert foreground.stdout is not None
    try:
        seen = []
        for line in foreground.stdout:
            seen.append(line)
            if "Ctrl-C" in line:  # from now on it is heard
                break
        else:
            pytest.fail("".join(seen))
        wait_for(lambda: dashboard_is_well(env), "the dashboard answers")
        os.killpg(foreground.pid, signal.SIGINT)
        rest = foreground.stdout.read()
        assert foreground.wait(timeout=60) == 0, rest
        wait_for(lambda: not members(env), "everything has ended")
    finally:
        foreground.stdout.close()
        assert run("bin/up", "--detach").returncode == 0


def test_the_doors_are_printed_for_scripts(env):
    doors = json.loads(run("bin/paas", "host", "--json").stdout)
    assert doors["domain"] == env.domain
    assert doors["git_url"] == f"http://git.{env.domain}:{env.http_port}".removesuffix(":80")
    assert doors["api_local_url"] == f"https://localhost:{env.api_port}"
    assert doors["ssh"] == f"ssh://git@git.{env.domain}:{env.ssh_port}"
    assert doors["email"] == f"admin@{env.domain}"
    assert doors["token"].startswith("paas_")


def test_https_is_trusted_with_the_root_certificate_that_anybody_can_fetch(env):
    with httpx.Client(trust_env=False, timeout=30) as client:
        there = {"Host": f"dashboard.{env.domain}"}
        pem = client.get(f"http://127.0.0.1:{env.http_port}/ca.pem", headers=there).text
    assert pem == Path(json.loads(run("bin/paas", "host", "--json").stdout)["ca_file"]).read_text()
    trusting = ssl.create_default_context(cadata=pem)
    with httpx.Client(trust_env=False, verify=trusting, timeout=30) as client:
        refused = client.get(f"https://localhost:{env.api_port}/hello.git/info/refs?service=git-upload-pack")
    assert (refused.status_code, refused.headers["WWW-Authenticate"].split()[0]) == (401, "Basic")


def test_the_control_plane_is_small(env):
    """At rest: not after other tests have killed its fork server, which leaves those it had forked without a share."""
    run("bin/down")
    run("bin/up", "--detach")
    table = run(sys.executable, "bench/memory.py", "--limit", "400")
    assert table.returncode == 0, table.stdout + table.stderr


@pytest.fixture
def other_home(tmp_path_factory):
    """Settings of a second platform, which these tests never let come up."""
    home = Path("/tmp") / f"paas-other-{os.getpid()}"
    http, api, rendezvous, ssh, registry = free_ports(5)
    yield {
        "PAAS_HOME": str(home),
        "PAAS_HTTP_PORT": str(http),
        "PAAS_HTTPS_PORT": "0",
        "PAAS_API_PORT": str(api),
        "PAAS_RENDEZVOUS_PORT": str(rendezvous),
        "PAAS_SSH_PORT": str(ssh),
        "PAAS_REGISTRY_PORT": str(registry),
        "PAAS_PORT_RANGE": "0",
    }
    shutil.rmtree(home, ignore_errors=True)


def test_a_taken_port_is_refused_with_the_name_of_who_has_it(other_home):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", int(other_home["PAAS_HTTP_PORT"])))
        taken.listen()
        refused = run("bin/up", "--detach", variables=other_home)
    assert refused.returncode == 1
    assert f"Port {other_home['PAAS_HTTP_PORT']} is taken by" in refused.stderr
    assert f"(process {os.getpid()})" in refused.stderr
    assert "PAAS_HTTP_PORT=" in refused.stderr


def test_taken_public_ports_are_refused_with_the_name_of_who_has_them(other_home):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run("bin/up", "--detach", variables={**other_home, "PAAS_PORT_RANGE": f"{port}-{port}"})
    assert refused.returncode == 1
    assert f"Every public port from {port} to {port} is taken" in refused.stderr
    assert f"(process {os.getpid()})" in refused.stderr
    assert "PAAS_PORT_RANGE=" in refused.stderr


def test_an_engine_that_does_not_answer_is_refused(other_home):
    refused = run("bin/up", "--detach", variables={**other_home, "DOCKER_HOST": "unix:///nowhere/docker.sock"})
    assert refused.returncode == 1
    assert "No container engine answers at unix:///nowhere/docker.sock." in refused.stderr
    assert "unset DOCKER_HOST" in refused.stderr


def test_a_home_too_deep_for_sockets_is_refused(other_home):
    refused = run("bin/up", "--detach", variables={**other_home, "PAAS_HOME": "/tmp/" + "x" * 95})
    assert refused.returncode == 1
    assert "too long" in refused.stderr
    assert not Path("/tmp/" + "x" * 95).exists()


def test_who_is_not_root_is_told_so(other_home):
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv here")
    refused = run(
        "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
        "bash", str(ROOT / "bin" / "up"), variables=other_home,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "This needs root" in refused.stderr
