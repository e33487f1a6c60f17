"""Subnets for tests."""

from __future__ import annotations

import ipaddress

from runtime.engine.api import Engine


def free_subnet(engine: Engine) -> str:
    taken = [ipaddress.ip_network(each.subnet) for each in engine.list_networks() if each.subnet]
    pool = ipaddress.ip_network("10.232.0.0/16").subnets(new_prefix=28)
    return str(next(net for net in pool if not any(net.overlaps(other) for other in taken)))
