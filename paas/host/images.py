"""Remove from the engine what it pulled from this platform's registry, for tests that leave a machine as it was."""

from __future__ import annotations

import httpx

from paas.env import Env
from paas.host.checks import HostProblem


def remove_images(env: Env) -> int:
    """The number of images removed; one in use stays. Raises `HostProblem` for an engine that is not on this machine."""
    if not env.docker_host.startswith("unix://"):
        raise HostProblem("Images can only be removed from an engine on a Unix socket.", hint="Unset DOCKER_HOST.")
    prefix = f"127.0.0.1:{env.registry_port}/"
    removed = 0
    transport = httpx.HTTPTransport(uds=env.docker_host.removeprefix("unix://"))
    with httpx.Client(transport=transport, base_url="http://engine", timeout=60) as http:
        for image in http.get("/images/json").raise_for_status().json():
            for name in [*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ())]:
                if name.startswith(prefix):
                    removed += http.delete(f"/images/{name}").status_code == 200
    return removed
