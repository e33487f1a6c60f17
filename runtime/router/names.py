"""What the domain name system says of a name. `SystemNames` asks the machine's resolver, `MemoryNames` is for tests."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from typing import Protocol

from runtime.errors import Retryable, RouterError


class NamesUnavailable(RouterError, Retryable):
    id = "names_unavailable"


class Names(Protocol):
    def addresses(self, name: str) -> Sequence[str]:
        """None when there is no such name, or it has no address. May take seconds. Raises `NamesUnavailable`."""
        ...

    def own(self) -> Sequence[str]:
        """Addresses of this machine by which others can reach it."""
        ...


class SystemNames:
    def addresses(self, name: str) -> Sequence[str]:
        try:
            answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except socket.gaierror as exc:
            if exc.errno in {socket.EAI_NONAME, socket.EAI_NODATA}:
                return ()
            raise NamesUnavailable(f"Asking for {name} failed: {exc.strerror}.", hint="Try again later.") from exc
        except (UnicodeError, OSError) as exc:
            raise NamesUnavailable(f"Asking for {name} failed: {exc}.", hint="Try again later.") from exc
        return sorted({str(answer[4][0]) for answer in answers})

    def own(self) -> Sequence[str]:
        import psutil

        found = {each.address for every in psutil.net_if_addrs().values() for each in every if "%" not in each.address}
        return sorted(address for address in found if _is_reachable(address))


class MemoryNames:
    """`None` for a name: the resolver does not answer for it."""

    def __init__(self, known: Mapping[str, Sequence[str] | None] | None = None, own: Sequence[str] = ()) -> None:
        self.known = dict(known or {})
        self._own = tuple(own)

    def addresses(self, name: str) -> Sequence[str]:
        found = self.known.get(name, ())
        if found is None:
            raise NamesUnavailable(f"Asking for {name} failed: no answer.", hint="Try again later.")
        return found

    def own(self) -> Sequence[str]:
        return self._own


def _is_reachable(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:  # a hardware address
        return False
    return not (address.is_loopback or address.is_link_local)
