"""The router's configuration, and the certificates of the platform's own authority."""

from __future__ import annotations

from paas.env import Env
from runtime.router import ca, nginx


def install(env: Env) -> None:
    """Takes effect when the router starts."""
    nginx.install(
        env.home / "router",
        nginx.NginxSettings(
            domain=env.domain,
            web_socket=env.run_dir / "web.sock",
            git_socket=env.run_dir / "git.sock",
            streams_socket=env.run_dir / "streams.sock",
            http_address=env.http_address,
            http_ports=(env.http_port,),
            https_port=env.https_port,
            port_range=env.port_range,
        ),
    )


def install_certificates(env: Env) -> bool:
    """One certificate for every name below the domain, signed by `certs/ca.pem`. Needs the router to run.

    False when the router shows a good one already.
    """
    if not env.https_port:
        return False
    authority = ca.ensure_ca(env.home / "certs")
    router = nginx.NginxRouter(env.home / "router")
    wildcard = f"*.{env.domain}"
    existing = router.certificate(wildcard)
    # Ours by name too: OpenSSL takes no wildcard right below a top-level name, and `localhost` is one.
    doors = [f"{name}.{env.domain}" for name in nginx.PLATFORM_NAMES]
    key, chain = ca.issue(authority, [wildcard, env.domain, *doors], existing=existing)
    if existing == (key, chain):
        return False
    for name in (wildcard, env.domain):
        router.put_certificate(name, key_pem=key, chain_pem=chain)
    return True
