"""The agent's other part: sends the logs on to the drains of apps. Nothing of Django is imported here."""

from __future__ import annotations

import json

from paas.core.keys import read_keys
from paas.core.sealing import unseal
from paas.env import Env
from runtime.logs.drains import Draining
from runtime.outbound.addresses import Guard


def make_draining(env: Env) -> Draining:
    """The list of drains is written by `paas.hooks`, each URL encrypted as it lies in its row."""
    return Draining(
        env.home / "drains",
        env.app_logs,
        guard=Guard(env.hooks_allow),
        ca_bundle=env.ca_bundle,
        unseal=lambda sealed: str(json.loads(unseal(sealed, read_keys(env.secret_file)))),
    )
