"""The router's configuration, and the certificates that it shows for the platform's own names."""

from __future__ import annotations

import socket

from paas.env import Env
from paas.machine.certificates import platform_certificates
from runtime.router import nginx


def install(env: Env) -> None:
    """Takes effect when the router starts. Raises `InvalidInput` for a certificate that can't be used."""
    nginx.install(
        env.home / "router",
        nginx.NginxSettings(
            domain=env.domain,
            web_socket=env.run_dir / "web.sock",
            git_socket=env.run_dir / "git.sock",
            streams_socket=env.run_dir / "streams.sock",
            registry_socket=None if env.external_registry else env.registry_socket,
            registry_port=0 if env.external_registry else env.registry_port,
            door_domains=env.door_domains[1:],
            http_address=env.http_address,
            http_ports=(env.http_port,),
            https_port=env.https_port,
            api_port=env.api_port,
            loopback=loopback_addresses(),
            port_range=env.port_range,
        ),
    )
    if env.https_port or env.api_port:
        for name, (key, chain) in platform_certificates(env).items():
            nginx.write_certificate(env.home / "router", name, key_pem=key, chain_pem=chain)


def loopback_addresses() -> tuple[str, ...]:
    """Those that this machine has. Some clients try IPv6 first when they are told `localhost`, and nothing else."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return ("127.0.0.1",)
    return "127.0.0.1", "::1"
