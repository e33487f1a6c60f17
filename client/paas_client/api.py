"""The platform's API over HTTP: JSON in and out, lists to their end, failures told apart, patience where it helps."""

from __future__ import annotations

import json
import platform
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from paas_client import __version__
from paas_client.errors import PlatformProblem, Problem, UserProblem

ACCEPT = "application/vnd.heroku+json; version=3"
USER_AGENT = f"paas-client/{__version__} Python/{platform.python_version()} ({platform.system()})"
ATTEMPTS = 5
LONGEST_PAUSE = 20.0  # a platform that wants us to wait for longer is not waited for
IDEMPOTENT = {"GET", "HEAD", "PUT", "DELETE"}
TIMEOUT = httpx.Timeout(60, connect=10)

Record = dict[str, Any]


def path(*parts: str | int) -> str:
    """`path("apps", name, "releases", 7)`, each part quoted."""
    return "/" + "/".join(quote(str(part), safe="") for part in parts)


class Api:
    """`url` is the API's, without a path. `transport` replaces the network: a local socket, a platform in a test."""

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        transport: httpx.BaseTransport,
        login_hint: str = "paas login",
        renew: Callable[[], str] | None = None,  # makes another token, where one can be had without asking anybody
    ) -> None:
        self.url = url
        self.token = token
        self._login_hint = login_hint
        self._renew = renew
        self._client = httpx.Client(
            base_url=url,
            transport=transport,
            timeout=TIMEOUT,
            headers={"Accept": ACCEPT, "User-Agent": USER_AGENT},
            trust_env=False,
        )

    def close(self) -> None:
        self._client.close()

    def authorize(self) -> None:
        """Makes a token where there is none and one can be had without asking anybody. Raises `Problem`."""
        if not self.token and self._renew is not None:
            self.token, self._renew = self._renew(), None

    def get(self, path: str, **query: str | int | None) -> Any:
        return self.send("GET", path, query=query).json()

    def list(self, path: str, *, order: str = "", newest: int | None = None, **query: str | int | None) -> list[Record]:
        """All of them, page after page. With `order`, an attribute, the `newest` so many by it, newest first."""
        most = 1000 if newest is None else max(1, min(newest, 1000))
        ranges = f"{order} ..; order=desc,max={most}" if order else ""
        found: list[Record] = []
        while True:
            answer = self.send("GET", path, query=query, headers={"Range": ranges} if ranges else {})
            found += answer.json()
            ranges = answer.headers.get("Next-Range", "")
            if answer.status_code != 206 or not ranges or (newest is not None and len(found) >= newest):
                return found if newest is None else found[:newest]

    def post(self, path: str, body: object = None) -> Any:
        """With an idempotency key, so that a lost answer does not make a second one."""
        return self.send("POST", path, body=body, headers={"Idempotency-Key": str(uuid.uuid4())}).json()

    def patch(self, path: str, body: object) -> Any:
        return self.send("PATCH", path, body=body).json()

    def put(self, path: str, body: object) -> Any:
        return self.send("PUT", path, body=body).json()

    def delete(self, path: str, body: object = None) -> Any:
        answer = self.send("DELETE", path, body=body)
        return answer.json() if answer.content else {}

    def send(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str | int | None] | None = None,
        headers: Mapping[str, str] | None = None,
        once: bool = False,
    ) -> httpx.Response:
        """The answer, when it is a good one. Tries again what may be tried again, unless it is to be sent `once`. Raises
        `Problem`."""
        self.authorize()
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        request = self._client.build_request(
            method,
            path,
            params={name: value for name, value in (query or {}).items() if value is not None},
            json=body,
            headers={**sent, **(headers or {})},
        )
        may_repeat = not once and (method in IDEMPOTENT or "Idempotency-Key" in request.headers)
        for attempt in range(1, ATTEMPTS + 1):
            is_last = attempt == ATTEMPTS
            try:
                answer = self._client.send(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
                raise cannot_connect(self.url, exc) from exc
            except httpx.TransportError as exc:
                if is_last or not may_repeat:
                    raise broken(self.url, exc) from exc
                time.sleep(_pause(attempt))
                continue
            if answer.is_success:
                return answer
            if answer.status_code == 401 and self._renew is not None:
                self.token, self._renew = self._renew(), None
                request.headers["Authorization"] = f"Bearer {self.token}"
                continue
            pause = _asked_pause(answer) or _pause(attempt)
            is_passing = answer.status_code == 429 or (answer.status_code in (502, 503, 504) and may_repeat)
            if not is_passing or is_last or pause > LONGEST_PAUSE:
                raise self.problem(answer)
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def upload(self, url: str, data: bytes) -> None:
        """To an address that the platform gave for it, and that is secret enough by itself. Raises `Problem`."""
        try:
            answer = self._client.put(url, content=data, timeout=httpx.Timeout(600, connect=10))
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise cannot_connect(url, exc) from exc
        except httpx.TransportError as exc:
            raise broken(url, exc) from exc
        if not answer.is_success:
            raise self.problem(answer)

    @contextmanager
    def stream(
        self,
        url: str,
        *,
        accept: str = ACCEPT,
        patience: float | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        """An answer that comes bit by bit. The token goes to the API's own address alone. Raises `Problem`."""
        self.authorize()
        is_ours = url.startswith("/") or _origin(url) == _origin(self.url)
        headers = {"Accept": accept} | ({"Authorization": f"Bearer {self.token}"} if is_ours and self.token else {})
        timeout = httpx.Timeout(patience, connect=10)
        try:
            with self._client.stream("GET", url, headers=headers, params=query, timeout=timeout) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self.problem(answer)
                yield answer
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise cannot_connect(url, exc) from exc
        except httpx.TransportError as exc:
            raise broken(url, exc) from exc

    def problem(self, answer: httpx.Response) -> Problem:
        """What an answer that is not a good one means."""
        try:
            body = answer.json()
            hint, id_ = str(body.get("hint") or ""), str(body.get("code") or body["id"])
            message = str(body["message"]).removesuffix(hint).rstrip()  # Heroku's clients show the message alone
        except (ValueError, KeyError, TypeError, AttributeError):
            message, hint, id_ = f"{self.url} answered {answer.status_code} {answer.reason_phrase}.", "", ""
            if answer.status_code < 500:
                hint = "Is that the address of the platform's API? It looks like https://api.example.com"
        if answer.status_code == 401 and self.token:
            return UserProblem("Your login is not valid any more.", hint=self._login_hint, id="unauthorized")
        if answer.status_code == 429 and not hint:
            hint = f"Try again in {_asked_pause(answer):.0f} seconds." if _asked_pause(answer) else "Try again later."
        if answer.status_code < 500:
            return UserProblem(message, hint=hint, id=id_)
        request_id = answer.headers.get("Request-Id", "").split(",")[0].strip()
        if request_id and request_id not in message + hint:
            hint = f"{hint}\nThe platform's log has more, under request {request_id}.".strip()
        return PlatformProblem(message, hint=hint, id=id_)


def _pause(attempt: int) -> float:
    return float(0.25 * 2 ** (attempt - 1))


def _asked_pause(answer: httpx.Response) -> float:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def cannot_connect(url: str, exc: httpx.TransportError) -> Problem:
    """Nothing was sent. Says what is in the way: the name, the network, the certificate."""
    parts = urlsplit(url)
    place = parts.netloc
    cause = _root(exc)
    text = str(cause) or str(exc)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return UserProblem(
            f"The certificate of {place} can't be trusted: {getattr(cause, 'verify_message', '') or text}.",
            hint=(
                f"If the platform has a CA of its own, log in again and compare its fingerprint: paas login {url}\n"
                "On the machine, `paas host` prints it. Or give a file: PAAS_CA_FILE=ca.pem"
            ),
            id="untrusted_certificate",
        )
    if isinstance(cause, ssl.SSLError):
        return PlatformProblem(
            f"There is no TLS at {place}: {cause.reason or text}.",
            hint=f"Does it speak plain HTTP? Then log in with: paas login http://{place}",
            id="no_tls",
        )
    if (
        "Name or service not known" in text
        or "nodename nor servname" in text
        or "name resolution" in text.lower()
        or ("No address associated" in text)
    ):
        return UserProblem(
            f"The name {parts.hostname} is not known to DNS.",
            hint="Is the address right, and are you connected? Known platforms: paas platforms",
            id="unknown_host",
        )
    if isinstance(exc, httpx.ConnectTimeout):
        return PlatformProblem(
            f"{place} does not answer.", hint="Is the machine up, and does a firewall let you in?", id="no_answer"
        )
    return PlatformProblem(
        f"{place} refuses the connection: {text}.",
        hint="Is the platform up? On the machine: bin/up",
        id="connection_refused",
    )


def broken(url: str, exc: httpx.TransportError) -> PlatformProblem:
    if isinstance(exc, httpx.TimeoutException):
        return PlatformProblem(f"{_origin(url)[1]} took too long to answer.", hint="Try again.", id="timeout")
    return PlatformProblem(
        f"The connection to {_origin(url)[1]} was lost: {exc or type(exc).__name__}.",
        hint="Look at what became of it before you try again.",
        id="connection_lost",
    )


def _root(exc: BaseException) -> BaseException:
    """httpx wraps what httpcore wrapped."""
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    return exc


def events(answer: httpx.Response) -> Iterator[tuple[str, str, str]]:
    """Server-sent events: name, data, id."""
    name, id_ = "message", ""
    data: list[str] = []
    for line in answer.iter_lines():
        if not line:
            if data:
                yield name, "\n".join(data), id_
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            id_ = value


def compact(values: Mapping[str, object]) -> Record:
    """Without what was left out."""
    return {name: value for name, value in values.items() if value is not None}


def dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
