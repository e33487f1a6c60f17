"""Who we are to a registry: Basic credentials, or tokens fetched from the realm that its challenge names."""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import httpx

from runtime.errors import RegistryError

_PARAMETER = re.compile(r'([A-Za-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
# A token is renewed this long before it ends, and believed to last a minute when the server does not say.
_MARGIN_SECONDS = 15.0
_DEFAULT_LIFETIME_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and password for Basic and for the token realm, or a way to mint a token ourselves.

    `mint` is asked for the scopes of one request and returns a Bearer token; it is how the platform speaks to its own
    registry, whose tokens it issues."""

    username: str = ""
    password: str = field(default="", repr=False)
    mint: Callable[[tuple[str, ...]], str] | None = field(default=None, repr=False)

    @property
    def basic(self) -> str:
        if not self.username:
            return ""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    repository: str
    actions: str  # "pull", "pull,push", "delete"

    def __str__(self) -> str:
        return f"repository:{self.repository}:{self.actions}"


@dataclass(frozen=True, slots=True)
class Challenge:
    """A parsed WWW-Authenticate header."""

    scheme: str  # "basic" | "bearer"
    parameters: Mapping[str, str]

    @classmethod
    def parse(cls, header: str) -> Challenge:
        scheme, _, rest = header.strip().partition(" ")
        found = {
            match[1].lower(): re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
            for match in _PARAMETER.finditer(rest)
        }
        return cls(scheme.lower(), found)


class Authorizer:
    """Finds the Authorization header for a request, and remembers tokens by scope. Shared by threads."""

    def __init__(self, http: httpx.Client, credentials: Credentials | None) -> None:
        self._http = http
        self._credentials = credentials or Credentials()
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}

    def header(self, scopes: Iterable[Scope]) -> str:
        """What to send without having been asked: nothing until the registry has challenged us once."""
        wanted = _names(scopes)
        if self._credentials.mint is not None:
            return "Bearer " + self._cached(wanted, lambda: (self._minted(wanted), _DEFAULT_LIFETIME_SECONDS))
        challenge = self._challenge
        if challenge is None:
            return ""
        if challenge.scheme == "basic":
            return self._credentials.basic
        return "Bearer " + self._cached(wanted, lambda: self._fetch(challenge, wanted))

    def challenged(self, header: str, scopes: Iterable[Scope]) -> str:
        """The registry answered 401 with this header. The Authorization to try once more with, "" when there is none."""
        wanted = _names(scopes)
        with self._lock:
            self._tokens.pop(wanted, None)
        if self._credentials.mint is None:
            challenge = Challenge.parse(header)
            if challenge.scheme not in {"basic", "bearer"}:
                return ""
            self._challenge = challenge
        return self.header(scopes)

    def _minted(self, wanted: tuple[str, ...]) -> str:
        assert self._credentials.mint is not None
        return self._credentials.mint(wanted)

    def _cached(self, wanted: tuple[str, ...], make: Callable[[], tuple[str, float]]) -> str:
        with self._lock:
            token, ends_at = self._tokens.get(wanted, ("", 0.0))
        if token and time.monotonic() < ends_at:
            return token
        # Outside the lock: two threads may both fetch a token, which does no harm and blocks nobody.
        token, lifetime = make()
        with self._lock:
            if len(self._tokens) > 1000:
                self._tokens.clear()
            self._tokens[wanted] = (token, time.monotonic() + max(lifetime - _MARGIN_SECONDS, 1.0))
        return token

    def _fetch(self, challenge: Challenge, wanted: tuple[str, ...]) -> tuple[str, float]:
        realm = challenge.parameters.get("realm", "")
        if not realm.startswith(("http://", "https://")):
            raise RegistryError("The registry asks for a token but names no address to get it from.", id="registry_auth")
        if self._credentials.basic and self._http.base_url.scheme == "https" and not realm.startswith("https://"):
            raise RegistryError(f"The registry wants our password sent in the clear to {realm}.", id="registry_auth")
        query: list[tuple[str, str | int | float | bool | None]] = [
            (name, challenge.parameters[name]) for name in ("service",) if name in challenge.parameters
        ]
        query += [("scope", scope) for scope in wanted]
        headers = {"Authorization": self._credentials.basic} if self._credentials.basic else {}
        response = self._http.get(realm, params=httpx.QueryParams(query), headers=headers)
        if response.status_code != 200:
            raise RegistryError(
                f"The registry's token service refused us ({response.status_code}).",
                hint="Check the registry's user name and password.",
                id="registry_auth",
            )
        try:
            document = response.json()
            token = str(document.get("token") or document["access_token"])
            lifetime = float(document.get("expires_in") or _DEFAULT_LIFETIME_SECONDS)
        except (ValueError, KeyError, AttributeError) as exc:
            raise RegistryError("The registry's token service sent no token.", id="registry_auth") from exc
        return token, lifetime


def _names(scopes: Iterable[Scope]) -> tuple[str, ...]:
    return tuple(str(scope) for scope in sorted(scopes))
