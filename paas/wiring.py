"""The composition root: reads the settings and builds the drivers. Everyone else asks here for an engine, a router, …

Each is made once per process, at its first use, and may be used from several threads; a process that never asks for one
does not load it. Tests put the memory drivers in their place with
`replaced(engine=…)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from django.conf import settings

from paas.core.redis import wait_until_collected
from runtime.builder.api import Builder, HostSettings
from runtime.engine.api import Engine
from runtime.outbound.api import Outbound
from runtime.router.api import Router
from runtime.router.names import Names

if TYPE_CHECKING:
    from runtime.reconcile.apply import Applier
    from runtime.registry.client import Registry
    from runtime.registry.tokens import TokenIssuer
    from runtime.stacks.store import StackStore

T = TypeVar("T")
DRAIN_SECONDS = 30.0  # how long an old instance may take to finish the requests it has
_replacements: dict[str, Any] = {}


def _once(make: Callable[[], T]) -> Callable[[], T]:
    """Make it at the first call and keep it, unless something else has been put in its place."""
    made = lru_cache(maxsize=1)(make)

    @wraps(make)
    def get() -> T:
        return _replacements[make.__name__] if make.__name__ in _replacements else made()

    return get


@contextmanager
def replaced(**drivers: object) -> Iterator[None]:
    """`with replaced(engine=MemoryEngine(), router=MemoryRouter()):` for tests."""
    before = dict(_replacements)
    _replacements.update(drivers)
    try:
        yield
    finally:
        _replacements.clear()
        _replacements.update(before)


@_once
def engine() -> Engine:
    from runtime.engine.docker import DockerEngine

    return DockerEngine(settings.ENV.docker_host)


@_once
def router() -> Router:
    from runtime.router.nginx import NginxRouter

    return NginxRouter(settings.ENV.home / "router")


@_once
def names() -> Names:
    from runtime.router.names import SystemNames

    return SystemNames()


@_once
def outbound() -> Outbound:
    from runtime.outbound.addresses import Guard
    from runtime.outbound.http import HttpOutbound

    return HttpOutbound(Guard(settings.ENV.hooks_allow), settings.ENV.ca_bundle)


@_once
def applier() -> Applier:
    from runtime.reconcile.apply import Applier

    return Applier(
        engine(),
        router(),
        home=str(settings.ENV.home),
        registry_token_for=pull_token,
        drain_seconds=DRAIN_SECONDS,
        before_remove=wait_until_collected,
    )


@_once
def registry() -> Registry:
    from runtime.registry.auth import Credentials
    from runtime.registry.client import Registry, through_socket

    env = settings.ENV
    if not env.external_registry:
        ours = Credentials(mint=lambda scopes: registry_token(*scopes))
        return Registry(f"http://{registry_host()}", credentials=ours, transport=through_socket(env.registry_socket))
    parts = urlsplit(env.registry_url)
    credentials = Credentials(unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return Registry(f"{parts.scheme}://{registry_host()}", credentials=credentials)


@_once
def registry_tokens() -> TokenIssuer:
    """Of the bundled registry."""
    from runtime.registry.tokens import TokenIssuer

    key, certificate = settings.ENV.registry_key
    return TokenIssuer(key.read_bytes(), certificate.read_bytes())


def registry_token(*scopes: str) -> str:
    """The platform's own, for these scopes: `repository:apps/x:pull`. "" where the registry is not ours."""
    from runtime.registry.tokens import Access

    if settings.ENV.external_registry:
        return ""
    return registry_tokens().issue("paas", [Access.parse(scope) for scope in scopes])


def pull_token(reference: str) -> str:
    """For an engine that pulls an image of this reference. "" where the registry is not ours."""
    host, _, rest = reference.partition("/")
    return registry_token(f"repository:{rest.partition('@')[0]}:pull") if host == registry_host() else ""


@_once
def machine_memory() -> int:
    """Bytes of memory that the machine has."""
    from runtime.usage.machine import memory_total_bytes

    return memory_total_bytes()


def registry_host() -> str:
    """What stands in front of a repository in a reference: `127.0.0.1:5000`."""
    return urlsplit(settings.ENV.registry_url).netloc.rpartition("@")[2]


def image_reference(repository: str, digest: str) -> str:
    return f"{registry_host()}/{repository}@{digest}"


def host_settings() -> HostSettings:
    env = settings.ENV
    return HostSettings(
        ca_bundle=env.ca_bundle,
        has_own_ca=env.has_own_ca,
        environment=env.build_environment,
        mounts=env.build_mounts,
        debian_mirror=env.debian_mirror,
    )


@_once
def stacks() -> StackStore:
    from runtime.stacks.store import StackStore

    env = settings.ENV
    return StackStore(registry(), work_dir=env.stack_cache or env.home / "cache" / "stacks", host=host_settings())


@_once
def builder() -> Builder:
    from runtime.builder.assemble import ImageBuilder

    return ImageBuilder(
        engine(),
        registry(),
        stacks(),
        work_dir=settings.ENV.home / "cache",
        host=host_settings(),
        network="bridge",
        registry_host_for_engine=registry_host(),
        uv_binary=uv_binary(),
        engine_url=settings.ENV.docker_host,
    )


def uv_binary() -> Path:
    """uv comes as a Python package that carries one static binary."""
    import uv

    return Path(uv.find_uv_bin())
