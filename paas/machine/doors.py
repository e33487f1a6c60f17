"""Where the platform answers."""

from __future__ import annotations

from paas.env import Env


def doors(env: Env) -> dict[str, str | None]:
    """Address of every door; None for one that is closed."""
    has_ca = (env.https_port or env.api_port) and env.ca_file.exists()
    other = env.registry_url.split("://", 1)[-1].rpartition("@")[2]
    return {
        "domain": env.domain,
        "http_url": env.address(),
        "https_url": env.address(scheme="https") if env.https_port else None,
        "git_url": env.address("git"),
        "dashboard_url": env.address("dashboard"),
        "api_url": env.api_url,
        "api_local_url": env.api_local_url or None,
        "rendezvous": f"localhost:{env.rendezvous_port}" if env.rendezvous_port else None,
        "ssh": env.ssh_url or None,
        "ssh_fingerprint": (ssh_fingerprint(env) or None) if env.ssh_url else None,
        "registry": other if env.external_registry else env.registry_name,
        "ca_file": str(env.ca_file) if has_ca else None,
    }


def ssh_fingerprint(env: Env) -> str:
    """Of the host key, as `ssh` shows it to whoever connects for the first time; "" when there is none yet."""
    from paas.accounts.services.keys import parse_key  # bin/up is here before Django is set up

    try:
        return parse_key(env.ssh_host_key.with_name(f"{env.ssh_host_key.name}.pub").read_text()).fingerprint
    except OSError:
        return ""
