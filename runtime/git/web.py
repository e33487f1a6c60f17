"""Smart HTTP for git: three routes, raw WSGI. Mount `GitApp` in a server of its own, as a push holds a thread.

Written for gunicorn (`environ["gunicorn.socket"]` bounds how long a body may stall); any WSGI server will do.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import re
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qs

from runtime.errors import Conflict, Failure, Forbidden, NotFound, PlatformError, UserError
from runtime.git.api import NAME, Access, Service
from runtime.git.fetch import UploadPack, is_version_2
from runtime.git.receive import ClientGone, ProtocolError, receive_pack, send_receive_pack_refs

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

logger = logging.getLogger(__name__)

Identity = TypeVar("Identity")

_ROUTE = re.compile(rf"/({NAME})(?:\.git)?/(info/refs|git-receive-pack|git-upload-pack)")
_SERVICES: dict[str, Service] = {"git-receive-pack": "git-receive-pack", "git-upload-pack": "git-upload-pack"}
_NO_CACHE = [("Cache-Control", "no-cache, max-age=0, must-revalidate"), ("Expires", "Fri, 01 Jan 1980 00:00:00 GMT")]
_MAX_FETCH_REQUEST = 32 * 1024 * 1024  # the list of what a client has; the longest seen are below 1 MiB
_COMMANDS_SIZE = 4 * 1024 * 1024  # allowed in front of the pack


class HttpAccess(Protocol[Identity]):
    """Who may do what: the platform's side. Called in the thread of the request, once each."""

    def authenticate(self, username: str, password: str, environ: WSGIEnvironment) -> Identity | None:
        """None: unknown, the client is asked for a password."""
        ...

    def open(self, identity: Identity, app_name: str, service: Service) -> Access:
        """Raises `NotFound` (also for what this person may not see), `Forbidden` or `InvalidInput`; message and hint
        are shown by the git client. With "git-receive-pack" the `Access` needs a handler."""
        ...


class _Refusal(Exception):
    def __init__(self, status: HTTPStatus, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


class GitApp(Generic[Identity]):
    """The WSGI application. `parallel_ingests` bounds how many packs are unpacked at once in this process."""

    def __init__(self, access: HttpAccess[Identity], *, realm: str = "git", parallel_ingests: int = 2) -> None:
        self._access = access
        self._realm = realm
        self._slots = threading.BoundedSemaphore(parallel_ingests)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = self._answer(environ, start_response)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else body

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return self._respond(environ, start_response)
        except _Refusal as refusal:
            return _text(start_response, refusal.status, refusal.text, *refusal.headers)
        except UserError as error:
            return _text(start_response, _status_of(error), "\n".join(filter(None, (error.message, error.hint))))
        except ProtocolError as error:
            return _text(start_response, HTTPStatus.BAD_REQUEST, str(error))
        except ClientGone as error:
            logger.info("A request for %s ended early: %s", environ.get("PATH_INFO", ""), error)
            return _text(start_response, HTTPStatus.REQUEST_TIMEOUT, "The request ended before all of it had arrived.")
        except _AnswerBegun:
            raise  # too late for a status: the server cuts the connection, and the client sees that it is not whole
        except Exception:
            logger.exception("A request for %s failed.", environ.get("PATH_INFO", ""))
            return _text(start_response, HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong on our side.")

    def _respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        route = _ROUTE.fullmatch(environ.get("PATH_INFO", ""))
        if route is None:
            raise _Refusal(HTTPStatus.NOT_FOUND, "Nothing here. The address of a repository is /<app>.git")
        app_name, action = route.groups()
        method = environ["REQUEST_METHOD"]
        if action == "info/refs":
            service = _requested_service(environ.get("QUERY_STRING", ""))
            _require_method(method, "GET", "HEAD")
        else:
            service = _SERVICES[action]
            _require_method(method, "POST")
            if environ.get("CONTENT_TYPE", "") != f"application/x-{service}-request":
                raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Only git talks to this address.")
        access = self._access.open(self._identify(environ), app_name, service)
        protocol = environ.get("HTTP_GIT_PROTOCOL", "")
        if action == "info/refs":
            body = _advertisement(access, service, protocol)
            headers = [
                ("Content-Type", f"application/x-{service}-advertisement"),
                ("Content-Length", str(len(body))),
                *_NO_CACHE,
            ]
            start_response("200 OK", headers)
            return [body]
        headers = [("Content-Type", f"application/x-{service}-result"), ("X-Accel-Buffering", "no"), *_NO_CACHE]
        with contextlib.ExitStack() as stack:
            stack.enter_context(_stall_timeout(environ, access.limits.body_timeout_seconds))
            if service == "git-upload-pack":
                process = stack.enter_context(contextlib.closing(_fetch(access, environ, protocol)))
                start_response("200 OK", headers)
                return _Answer(process, stack.pop_all())
            return self._receive(access, environ, headers, start_response)

    def _identify(self, environ: WSGIEnvironment) -> Identity:
        credentials = _basic_credentials(environ.get("HTTP_AUTHORIZATION", ""))
        identity = None if credentials is None else self._access.authenticate(*credentials, environ)
        if identity is None:
            text = "Sign in with a token as the password."
            if credentials is not None:
                text = "This token is wrong, or it has expired. Sign in with another one as the password."
            challenge = ("WWW-Authenticate", f'Basic realm="{self._realm}", charset="UTF-8"')
            raise _Refusal(HTTPStatus.UNAUTHORIZED, text, challenge)
        return identity

    def _receive(
        self, access: Access, environ: WSGIEnvironment, headers: list[tuple[str, str]], start_response: StartResponse
    ) -> Iterable[bytes]:
        # Twice the limit: what is too large is read to some extent, so that the client comes to read why.
        body = _Body(environ, limit=2 * access.limits.max_pack_bytes + _COMMANDS_SIZE)
        exchange = _Exchange(body, headers, start_response)
        try:
            receive_pack(access, exchange, stateless=True, slots=self._slots)
            exchange.begin()
        except ClientGone as error:
            if not exchange.begun:
                raise
            logger.info("The client of a push to %s has left: %s", environ.get("PATH_INFO", ""), error)
            return []
        except Exception as error:
            if exchange.begun:
                logger.exception("A push to %s failed.", environ.get("PATH_INFO", ""))
                raise _AnswerBegun from error
            raise
        return []


class _AnswerBegun(Exception):
    pass


class _Exchange:
    """The `Stream` of one request. The status line goes out with the first byte of the answer."""

    def __init__(self, body: _Body, headers: list[tuple[str, str]], start_response: StartResponse) -> None:
        self.recv = body.recv
        self._headers = headers
        self._start_response = start_response
        self._write: Callable[[bytes], object] | None = None

    @property
    def begun(self) -> bool:
        return self._write is not None

    def begin(self) -> Callable[[bytes], object]:
        if self._write is None:
            self._write = self._start_response("200 OK", self._headers)
        return self._write

    def write(self, data: bytes) -> object:
        # WSGI's write(): the server sends each call at once. A log line must not wait for the next.
        return self.begin()(data)


class _Body:
    """The request body: bounded, unzipped where the client has zipped it, whether it has a length or is chunked."""

    def __init__(self, environ: WSGIEnvironment, *, limit: int) -> None:
        self._source = environ["wsgi.input"]
        self._left: int | None = None  # of what the client announced
        length = environ.get("CONTENT_LENGTH", "")
        if length.isdecimal():
            self._left = int(length)
        elif not environ.get("wsgi.input_terminated"):
            self._left = 0
        self._limit = limit
        self._unread = b""
        self._unzip = None
        encoding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
        if encoding in {"gzip", "x-gzip"}:
            self._unzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        elif encoding not in {"", "identity"}:
            raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Bodies may be zipped with gzip only.")

    def recv(self, limit: int) -> bytes:
        data = self._raw(limit) if self._unzip is None else self._unzipped(limit)
        self._limit -= len(data)
        if self._limit < 0:
            return b""  # as if it ended here; whoever reads has its own limit and has spoken by now
        return data

    def _raw(self, limit: int) -> bytes:
        if self._left is not None:
            limit = min(limit, self._left)
        try:
            data: bytes = self._source.read(limit) if limit else b""
        except OSError as error:  # stalled, reset, or chunks cut short
            raise ClientGone(str(error) or type(error).__name__) from error
        if self._left is not None:
            self._left -= len(data)
        return data

    def _unzipped(self, limit: int) -> bytes:
        assert self._unzip is not None
        while not self._unzip.eof:
            packed = self._unread or self._raw(limit)
            try:
                data = self._unzip.decompress(packed, limit) if packed else self._unzip.flush()
            except zlib.error as error:
                raise ProtocolError("The body is not what gzip makes.") from error
            self._unread = self._unzip.unconsumed_tail
            if data or not packed:
                return data
        return b""


class _Answer:
    """What upload-pack says, streamed; closed by the server also when the client has left."""

    def __init__(self, process: UploadPack, stack: contextlib.ExitStack) -> None:
        self._process = process
        self.close = stack.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._process)


def _fetch(access: Access, environ: WSGIEnvironment, protocol: str) -> UploadPack:
    body = _Body(environ, limit=_MAX_FETCH_REQUEST)
    # From a file git reads at its own pace: with a pipe each side could come to wait for the other.
    with tempfile.TemporaryFile() as request:
        while block := body.recv(64 * 1024):
            request.write(block)
        request.seek(0)
        return UploadPack(access.repository, protocol=protocol, request=request)


def _advertisement(access: Access, service: Service, protocol: str) -> bytes:
    announcement = f"# service={service}\n".encode()
    announced = f"{len(announcement) + 4:04x}".encode() + announcement + b"0000"
    if service == "git-receive-pack":
        return announced + send_receive_pack_refs(access)
    with contextlib.closing(UploadPack(access.repository, protocol=protocol, request=None)) as process:
        refs = b"".join(process)
        if process.status != 0:
            raise PlatformError("git upload-pack could not list the refs.", id="git_error")
    return refs if is_version_2(protocol) else announced + refs


@contextlib.contextmanager
def _stall_timeout(environ: WSGIEnvironment, seconds: float) -> Iterator[None]:
    """A client that stops sending or reading would hold a thread for ever: gunicorn's thread worker has no limit."""
    connection: Any = environ.get("gunicorn.socket")
    if connection is None:
        yield
        return
    before = connection.gettimeout()
    connection.settimeout(seconds)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            connection.settimeout(before)


def _requested_service(query: str) -> Service:
    match parse_qs(query).get("service"):
        case [name] if name in _SERVICES:
            return _SERVICES[name]
        case _:
            raise _Refusal(HTTPStatus.FORBIDDEN, "This client is too old: only the smart protocol is spoken here.")


def _require_method(method: str, *allowed: str) -> None:
    if method not in allowed:
        text = f"Only {' and '.join(allowed)} work here."
        raise _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, text, ("Allow", ", ".join(allowed)))


def _basic_credentials(header: str) -> tuple[str, str] | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
    username, colon, password = decoded.partition(":")
    return (username, password) if colon else None


def _status_of(error: Failure) -> HTTPStatus:
    match error:
        case NotFound():
            return HTTPStatus.NOT_FOUND
        case Forbidden():
            return HTTPStatus.FORBIDDEN
        case Conflict():
            return HTTPStatus.CONFLICT
        case _:
            return HTTPStatus.BAD_REQUEST


def _text(start_response: StartResponse, status: HTTPStatus, text: str, *headers: tuple[str, str]) -> Iterable[bytes]:
    body = f"{text}\n".encode()
    start_response(
        f"{status.value} {status.phrase}",
        [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("X-Content-Type-Options", "nosniff"),
            *headers,
        ],
    )
    return [body]
