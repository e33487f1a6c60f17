import json
import os
import subprocess
import sys
from pathlib import Path

from dotenv import dotenv_values

from paas import env as environment
from paas.core.files import write
from paas.host import services


def make_env(home: Path, **variables: str) -> environment.Env:
    return environment.load({"PAAS_HOME": str(home), **variables})


def test_the_home_is_made_with_closed_folders_and_a_secret_only_root_reads(tmp_path):
    env = make_env(tmp_path / "home")
    services.make_home(env)
    assert services.make_secret(env.secret_file)
    assert env.secret_file.stat().st_mode & 0o777 == 0o600
    assert len(env.secret_file.read_text().strip()) == 64
    assert (env.home / "redis").stat().st_mode & 0o777 == 0o700
    assert env.home.stat().st_mode & 0o777 == 0o711


def test_a_second_start_keeps_the_secret(tmp_path):
    env = make_env(tmp_path)
    services.make_secret(env.secret_file)
    before = env.secret_file.read_bytes()
    assert not services.make_secret(env.secret_file)
    assert env.secret_file.read_bytes() == before


def test_a_file_that_says_the_same_is_not_written_again(tmp_path):
    file = tmp_path / "redis.conf"
    assert write(file, "port 0\n", mode=0o600)
    inode = file.stat().st_ino
    assert not write(file, "port 0\n", mode=0o600)
    assert file.stat().st_ino == inode
    assert file.stat().st_mode & 0o777 == 0o600


def test_variables_given_once_are_remembered_and_newer_ones_win():
    before = {"PAAS_HTTP_PORT": "80", "PAAS_DOMAIN": "apps.example.com"}
    given = {"PAAS_HTTP_PORT": "8080", "PAAS_BUILD_TOKEN": "x", "PAAS_HOME": "/srv", "HOME": "/root", "PAAS_DOMAIN": ""}
    assert services.remembered(given, before) == {
        "PAAS_HTTP_PORT": "8080",
        "PAAS_DOMAIN": "apps.example.com",
        "PAAS_BUILD_TOKEN": "x",
    }


def test_remembered_values_come_back_as_they_were(tmp_path):
    values = {"DATABASE_URL": r"postgres://u:it's\$5#\"x\"@host/db", "PAAS_HTTP_PORT": "8080"}
    file = tmp_path / "paas.env"
    file.write_text(services.dotenv(values))
    assert dict(dotenv_values(file, interpolate=False)) == values


def test_redis_listens_on_its_socket_alone_and_keeps_what_it_was_told(tmp_path):
    lines = services.redis_conf(make_env(tmp_path)).splitlines()
    assert "port 0" in lines
    assert f"unixsocket {tmp_path}/run/redis.sock" in lines
    assert "appendonly yes" in lines


def test_the_registry_wants_tokens_and_has_no_blob_cache(tmp_path):
    env = make_env(tmp_path)
    services.make_secret(env.secret_file)
    configuration = json.loads(services.registry_config(env))
    assert (configuration["http"]["net"], configuration["http"]["addr"]) == ("unix", f"{tmp_path}/run/registry.sock")
    assert configuration["auth"]["token"]["rootcertbundle"] == f"{tmp_path}/registry/token.pem"
    assert configuration["http"]["secret"] not in env.secret_file.read_text()
    assert configuration["storage"]["delete"] == {"enabled": True}
    assert "cache" not in configuration["storage"]


def test_services_that_run_elsewhere_are_not_started(tmp_path):
    env = make_env(tmp_path, REDIS_URL="redis://queue.internal:6379/0")
    every = ["registry", "router", "web", "git", "streams", "terminals", "worker", "builder", "agent"]
    assert services.process_names(env) == every
    without = make_env(tmp_path, PAAS_SSH_PORT="0", PAAS_RENDEZVOUS_PORT="0")
    assert services.process_names(without) == ["redis", *(name for name in every if name != "terminals")]


def test_the_procfile_has_every_process_that_is_started(tmp_path):
    procfile = environment.CHECKOUT / "Procfile"
    names = [line.partition(":")[0] for line in procfile.read_text().splitlines() if line]
    assert names == services.process_names(make_env(tmp_path))


def test_bin_up_can_be_loaded_before_there_are_settings():
    """It makes the home first, and Django's settings read that."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", "import paas.host.up"], check=True, env=environment, timeout=60)
