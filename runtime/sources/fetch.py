"""Fetch an archive from where somebody says it is: over https, within limits, and not from the machine's own network.

A name is looked up once, and what is connected to is the address that was judged: a name server that answers something
else a moment later leads nowhere.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # missing in typeshed

import httpx

from runtime.errors import BuildFailed
from runtime.outbound.addresses import Guard, NetworkRange

MAX_REDIRECTS = 5
Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class FetchSettings:
    max_bytes: int
    allowed: Sequence[NetworkRange] = ()  # what an operator has opened although it is not public; by http, too
    ca_bundle: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)  # proxies
    timeout_seconds: float = 30.0


class Fetcher:
    def __init__(
        self,
        settings: FetchSettings,
        *,
        resolve: Resolve | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._resolve = resolve or _addresses
        self._transport = transport

    def fetch(self, url: str, out: Path, *, check: Callable[[], None] = lambda: None) -> None:
        """Raises `BuildFailed`; so may `check`, which is called all the time."""
        for _ in range(MAX_REDIRECTS + 1):
            target = self._parsed(url)
            check()
            try:
                url = self._fetch(target, out, check)
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
                raise _failed(target, f"could not be fetched: {exc or type(exc).__name__}") from exc
            if not url:
                return
        raise _failed(target, "leads from one address to the next without an end")

    def _parsed(self, url: str) -> httpx.URL:
        advice = "Say where the archive is, with https:// in front."
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL as exc:
            raise _refused("that is no URL", advice) from exc
        if target.scheme not in {"https", "http"} or not target.host:
            raise _refused(f"{without_secrets(url)[:100]!r} is no https URL", advice)
        return target

    def _fetch(self, target: httpx.URL, out: Path, check: Callable[[], None]) -> str:
        """Where to go on; "" when the file is there."""
        settings = self._settings
        proxy = _proxy(target, settings.environment)
        asked = target
        if proxy and target.scheme == "http":
            raise _refused(f"{target.host} is to be asked over https", "Say where the archive is with https://.")
        if not proxy or _is_address(target.host):
            addresses = self._resolve(target.host, target.port or (443 if target.scheme == "https" else 80))
            if not all(map(Guard(settings.allowed).permits, addresses)):
                raise _refused(
                    f"{target.host} is an address within the platform's own network",
                    "Upload it instead: POST /sources. An operator can open a range of addresses with PAAS_HOOKS_ALLOW.",
                )
            if target.scheme == "http" and any(map(Guard().permits, addresses)):
                raise _refused(f"{target.host} is to be asked over https", "Say where the archive is with https://.")
            if not proxy:
                asked = target.copy_with(host=addresses[0])
        trusted = ssl.create_default_context(cafile=str(settings.ca_bundle) if settings.ca_bundle else None)
        headers = {"Host": target.netloc.decode("ascii"), "Accept": "*/*", "Accept-Encoding": "identity"}
        with (
            httpx.Client(
                trust_env=False,
                verify=trusted,
                proxy=proxy if proxy and self._transport is None else None,
                transport=self._transport,
                timeout=settings.timeout_seconds,
            ) as client,
            client.stream("GET", asked, headers=headers, extensions={"sni_hostname": target.host}) as response,
        ):
            if response.has_redirect_location:
                return str(target.join(response.headers["Location"]))
            if response.status_code != 200:
                raise _failed(target, f"answered {response.status_code} {response.reason_phrase}".rstrip())
            size = 0
            with out.open("wb") as file:
                for piece in response.iter_raw():
                    check()
                    size += len(piece)
                    if size > settings.max_bytes:
                        raise _too_large(target, settings.max_bytes)
                    file.write(piece)
        return ""


def without_secrets(url: str) -> str:
    """For people to see: signed addresses carry their right in the query, others a password."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return ""
    return str(parts.copy_with(userinfo=b"", query=None, fragment=None))


def _addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _proxy(target: httpx.URL, environment: Mapping[str, str]) -> str:
    """Through a proxy it is the proxy that looks names up, and that decides what may be reached."""
    name = f"{target.scheme}_proxy"
    proxy = environment.get(name) or environment.get(name.upper(), "")
    exceptions = environment.get("no_proxy") or environment.get("NO_PROXY", "")
    if not proxy or proxy_bypass_environment(target.host, {"no": exceptions}):
        return ""
    return proxy


def _refused(reason: str, hint: str) -> BuildFailed:
    return BuildFailed(f"The archive can't be fetched: {reason}.", hint=hint, id="source_refused")


def _failed(target: httpx.URL, reason: str) -> BuildFailed:
    return BuildFailed(
        f"The archive at {target.host} {reason}.",
        hint="Check that its address still works, or upload it instead: POST /sources.",
        id="source_unavailable",
    )


def _too_large(target: httpx.URL, max_bytes: int) -> BuildFailed:
    return BuildFailed(
        f"The archive at {target.host} has more than {max_bytes // 1024**2} MiB.",
        hint="Keep generated files and data out of it, or raise PAAS_MAX_PUSH_MB on the host.",
        id="source_too_large",
    )
