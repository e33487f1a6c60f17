"""How requests get there: names below `localhost` without a resolver, trust in the system's CAs or in one file."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx

from paas_client.errors import UserProblem


def reachable(host: str) -> str:
    """What to connect to. Names below `localhost` are this machine (RFC 6761), also where no resolver says so."""
    return "127.0.0.1" if host == "localhost" or host.endswith(".localhost") else host


def trust(ca_file: str) -> ssl.SSLContext:
    """The CAs of that file and no others, or those of the system. Raises `UserProblem`."""
    if not ca_file:
        context = ssl.create_default_context()
        if not context.cert_store_stats()["x509_ca"] and not Path(ssl.get_default_verify_paths().openssl_capath).is_dir():
            import certifi  # httpx brings it

            context.load_verify_locations(certifi.where())
        return context
    try:
        return ssl.create_default_context(cafile=Path(ca_file).expanduser())
    except FileNotFoundError as exc:
        raise UserProblem(f"The CA file {ca_file} is not there.", hint=_CA_HINT, id="bad_ca_file") from exc
    except (ssl.SSLError, OSError) as exc:
        raise UserProblem(f"The CA file {ca_file} can't be read: {exc}.", hint=_CA_HINT, id="bad_ca_file") from exc


_CA_HINT = "It has to be certificates in PEM. Without PAAS_CA_FILE, `paas login` fetches the platform's own."


class Transport(httpx.BaseTransport):
    """httpx's own, which looks up every name but those of this machine."""

    def __init__(self, ca_file: str = "", *, context: ssl.SSLContext | None = None) -> None:
        self._ca_file = ca_file
        self._context = context
        self._transports: dict[str, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if reachable(host) != host:
            request.url = request.url.copy_with(host=reachable(host))  # its Host header stays as it was
            request.extensions = {**request.extensions, "sni_hostname": host}
        return self._for(request.url.scheme).handle_request(request)

    def _for(self, scheme: str) -> httpx.HTTPTransport:
        """Reading the CAs takes a while: only where there is TLS."""
        found = self._transports.get(scheme)
        if found is None:
            verify = (self._context or trust(self._ca_file)) if scheme == "https" else False
            found = self._transports[scheme] = httpx.HTTPTransport(verify=verify)
        return found

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()
