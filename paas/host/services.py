"""The configuration of the services that we run: written at every start, so that a new version brings its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from paas.core.files import write
from paas.core.keys import derive, new_key, read_keys
from paas.env import VARIABLES, Env
from runtime.registry.names import SERVICE
from runtime.registry.tokens import make_key

FOLDERS = (
    "repositories", "registry", "builds", "cache", "router", "redis", "run", "logs", "certs",
)  # fmt: skip
PRIVATE = {"repositories", "registry", "builds", "redis"}  # in `certs` everybody may read the root certificate


def make_home(env: Env) -> None:
    env.home.mkdir(parents=True, exist_ok=True)
    env.home.chmod(0o711)  # the router's workers pass through to their own folder
    for name in FOLDERS:
        folder = env.home / name
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700 if name in PRIVATE else 0o711)


def make_secret(file: Path) -> bool:
    """The key that everything else derives from. Written whole or not at all; an existing one is never touched."""
    if file.exists():
        return False
    write(file, new_key() + "\n", mode=0o600)
    return True


def derived(file: Path, purpose: str) -> str:
    return derive(read_keys(file)[0], purpose)


def remembered(given: Mapping[str, str], before: Mapping[str, str | None]) -> dict[str, str]:
    """What later commands shall find: variables of ours given now, and those given before."""
    names = {variable.name for variable in VARIABLES} - {"PAAS_HOME"}
    ours = {k: v for k, v in given.items() if v and (k in names or k.startswith("PAAS_BUILD_"))}
    return {**{k: v for k, v in before.items() if v}, **ours}


def dotenv(values: Mapping[str, str]) -> str:
    lines = ["# The settings given to bin/up. The environment wins over this file; edit it, or delete lines, at will."]
    for name, value in sorted(values.items()):
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        lines.append(f"{name}='{quoted}'")
    return "\n".join(lines) + "\n"


def redis_conf(env: Env) -> str:
    return f"""\
# Written by bin/up.
port 0
unixsocket {env.run_dir}/redis.sock
unixsocketperm 700
dir {env.home}/redis
daemonize no
supervised no
databases 2
appendonly yes
appendfsync everysec
save ""
maxmemory 256mb
maxmemory-policy noeviction
auto-aof-rewrite-min-size 16mb
loglevel warning
"""


def registry_config(env: Env) -> str:
    """JSON is YAML. No `cache` section: it answers for blobs that garbage collection has removed."""
    configuration = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(env.home / "registry" / "data")}, "delete": {"enabled": True}},
        "http": {
            "net": "unix",
            "addr": str(env.registry_socket),
            # Signs the state of uploads in progress; without one of our own they would not survive a restart.
            "secret": derived(env.secret_file, "registry"),
            "relativeurls": True,
        },
        # The realm is where whoever asks has come to: the router writes it.
        "auth": {
            "token": {
                "realm": "http://localhost/v2/token",
                "service": SERVICE,
                "issuer": SERVICE,
                "rootcertbundle": str(env.registry_key[1]),
            }
        },
    }
    return json.dumps(configuration, indent=2) + "\n"


def write_configurations(env: Env) -> None:
    if not env.external_redis:
        write(env.home / "redis" / "redis.conf", redis_conf(env), mode=0o600)
    if not env.external_registry:
        make_key(*env.registry_key)
        write(env.home / "registry" / "config.yml", registry_config(env), mode=0o600)


def process_names(env: Env) -> list[str]:
    """The processes of the Procfile that this platform runs itself."""
    is_left_out = {
        "redis": env.external_redis,
        "registry": env.external_registry,
        "terminals": not (env.ssh_port or env.rendezvous_port),
    }
    every = ("redis", "registry", "router", "web", "git", "streams", "terminals", "worker", "builder", "agent")
    return [name for name in every if not is_left_out.get(name)]
