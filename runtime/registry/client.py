"""The OCI distribution protocol over httpx, with the few differences that real registries have."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import ssl
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import urljoin

import httpx

from runtime.errors import DigestMismatch, ManifestUnknown, RegistryError, RegistryUnavailable
from runtime.images.layers import LayerFile
from runtime.images.values import (
    INDEXES,
    MANIFESTS,
    Descriptor,
    Image,
    host_architecture,
    is_digest,
    sha256_digest,
)
from runtime.registry.auth import Authorizer, Credentials, Scope

log = logging.getLogger(__name__)

_PASSING = frozenset({429, 500, 502, 503, 504})
_READ_SIZE = 1 << 20
_MAX_DOCUMENT_BYTES = 8 << 20
_LONGEST_PAUSE_SECONDS = 5.0
_KEPT_CONFIGS = 64

_LIMITS = httpx.Limits(max_connections=32, max_keepalive_connections=8, keepalive_expiry=20.0)
_BYTES = "application/octet-stream"
Body = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class _Source:
    """A blob that can be read again from any offset: a retry and a resumed upload both need that."""

    digest: str
    size: int
    content: bytes | Path

    @classmethod
    def of(cls, source: LayerFile | bytes) -> _Source:
        if isinstance(source, bytes):
            return cls(sha256_digest(source), len(source), source)
        return cls(source.descriptor.digest, source.descriptor.size, source.path)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        if isinstance(self.content, bytes):
            yield self.content[start:end]
            return
        with self.content.open("rb") as file:
            file.seek(start)
            left = end - start
            while left > 0 and (data := file.read(min(left, _READ_SIZE))):
                left -= len(data)
                yield data


def through_socket(path: Path) -> httpx.BaseTransport:
    """For a registry that listens on a Unix socket."""
    return httpx.HTTPTransport(uds=str(path), limits=_LIMITS, trust_env=False)


class Registry:
    """One registry. Threads may share it; it holds one pool of connections.

    Calls raise `RegistryUnavailable` when nothing answers or the registry is in trouble (after some tries),
    `ManifestUnknown` for a missing image, `DigestMismatch` when bytes aren't what they should be, and `RegistryError`
    with an id for the rest: `registry_auth`, `blob_unknown`, `manifest_blob_unknown`, `registry_refused`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        credentials: Credentials | None = None,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 60.0,
        ca_file: Path | None = None,
        tries: int = 4,
        backoff_seconds: float = 0.2,
        chunk_bytes: int = 64 << 20,
    ) -> None:
        if "://" not in base_url:
            base_url = "http://" + base_url
        self._base = base_url.rstrip("/")
        self._tries = max(tries, 1)
        self._backoff = backoff_seconds
        self._chunk = chunk_bytes
        self._http = httpx.Client(
            base_url=self._base,
            # A library reads no environment: no proxy between us and the registry unless a transport brings one.
            trust_env=False,
            verify=ssl.create_default_context(cafile=str(ca_file) if ca_file else None),
            transport=transport,
            timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)),
            limits=_LIMITS,
            headers={"User-Agent": "paas"},
        )
        self._credentials = credentials or Credentials()
        self._auth = Authorizer(self._http, self._credentials)
        self._configs: OrderedDict[str, bytes] = (
            OrderedDict()
        )  # by digest: stacks and caches are asked for at every build

    @property
    def host(self) -> str:
        """What stands before the repository in a reference: `127.0.0.1:5000`."""
        return self._base.partition("://")[2]

    def reference(self, repository: str, digest: str) -> str:
        """What an engine is told to pull."""
        return f"{self.host}/{repository}{'@' if is_digest(digest) else ':'}{digest}"

    def engine_token(self, *scopes: Scope) -> str:
        """For an engine that pulls or pushes for us. "" when tokens of this registry are not ours to make."""
        mint = self._credentials.mint
        return mint(tuple(str(scope) for scope in scopes)) if mint else ""

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # the registry itself

    def ping(self) -> None:
        """Returns when the registry answers and lets us in. One try: callers that wait for it have a deadline."""
        self._request("GET", "/v2/", tries=1, expected=(200,))

    # blobs

    def has_blob(self, repository: str, digest: str) -> bool:
        response = self._request(
            "HEAD",
            f"/v2/{repository}/blobs/{digest}",
            scopes=[Scope(repository, "pull")],
            expected=(200, 404),
            follow_redirects=True,
        )
        return response.status_code == 200

    def push_blob(self, repository: str, source: LayerFile | bytes, *, mount_from: str | None = None) -> bool:
        """Put a blob into a repository. True when its bytes had to be sent: it was not there, and the repository
        named by `mount_from`, if any, could not lend it."""
        blob = _Source.of(source)
        if self.has_blob(repository, blob.digest):
            return False
        location = self._open_upload(repository, blob.digest, mount_from)
        if location:
            self._upload(repository, blob, location)
        return bool(location)

    def get_blob(self, repository: str, digest: str) -> Iterator[bytes]:
        """The blob's bytes. The digest is checked while they pass, so all that was yielded is only to be trusted when
        the iterator ends without `DigestMismatch`. A broken connection is taken up again where it broke."""
        seen, offset, tries = hashlib.sha256(), 0, 0
        while True:
            headers = {"Range": f"bytes={offset}-"} if offset else {}
            try:
                with self._stream(
                    "GET",
                    f"/v2/{repository}/blobs/{digest}",
                    scopes=[Scope(repository, "pull")],
                    headers=headers,
                    expected=(206,) if offset else (200,),
                ) as response:
                    for data in response.iter_raw(_READ_SIZE):
                        seen.update(data)
                        offset += len(data)
                        yield data
                break
            except httpx.TransportError as exc:
                tries += 1
                if tries >= self._tries:
                    raise self._unreachable(exc) from exc
                self._pause(tries)
        if f"sha256:{seen.hexdigest()}" != digest:
            raise DigestMismatch(f"{self.host} sent a blob of {repository} that is not {digest}.")

    # manifests

    def head_manifest(self, repository: str, reference: str) -> str | None:
        """The digest a tag points to, None when there is no such tag or manifest."""
        response = self._request(
            "HEAD",
            f"/v2/{repository}/manifests/{reference}",
            scopes=[Scope(repository, "pull")],
            headers=_accept(),
            expected=(200, 404),
        )
        if response.status_code == 404:
            return None
        digest = response.headers.get("Docker-Content-Digest", "")
        return digest if is_digest(digest) else sha256_digest(self.get_manifest(repository, reference)[0])

    def get_manifest(self, repository: str, reference: str) -> tuple[bytes, str]:
        """A manifest or index as it is stored, and its media type."""
        response = self._request(
            "GET",
            f"/v2/{repository}/manifests/{reference}",
            scopes=[Scope(repository, "pull")],
            headers=_accept(),
            expected=(200,),
        )
        content = response.content
        expected = reference if is_digest(reference) else response.headers.get("Docker-Content-Digest", "")
        if is_digest(expected) and sha256_digest(content) != expected:
            raise DigestMismatch(f"{self.host} sent a manifest of {repository} that is not {expected}.")
        return content, response.headers.get("Content-Type", "").partition(";")[0].strip()

    def get_image(self, repository: str, reference: str, *, architecture: str = "") -> Image:
        """An image by tag or digest. Of an index, the image for this architecture (this machine's when none is named)."""
        manifest, media_type = self.get_manifest(repository, reference)
        document = self._document(manifest)
        if media_type in INDEXES or "manifests" in document:
            chosen = self._choose(repository, reference, document, architecture or host_architecture())
            manifest, media_type = self.get_manifest(repository, chosen)
            document = self._document(manifest)
        try:
            config = Descriptor.from_json(document["config"])
        except (KeyError, TypeError, ValueError) as exc:
            raise RegistryError(f"{repository}@{reference} is not an image ({media_type}).", id="bad_image") from exc
        if config.size > _MAX_DOCUMENT_BYTES:
            raise RegistryError(f"The config of {repository}@{reference} is too large to be one.", id="bad_image")
        return Image.parse(manifest, self._config(repository, config.digest), repository=repository)

    def _config(self, repository: str, digest: str) -> bytes:
        content = self._configs.pop(digest, None)
        if content is None:
            content = b"".join(self.get_blob(repository, digest))
        self._configs[digest] = content
        while len(self._configs) > _KEPT_CONFIGS:
            self._configs.popitem(last=False)
        return content

    def put_image(self, repository: str, image: Image, *references: str) -> str:
        """Publish an image whose layers are in the repository already: its config, then its manifest under each tag
        (under its digest alone when none is given). Returns the digest. A layer that is not there, because garbage was
        collected since it was pushed, is a `RegistryError` with the id `manifest_blob_unknown`: push them again."""
        self.push_blob(repository, image.config)
        for reference in references or (image.digest,):
            self._put_manifest(repository, reference, image.manifest, image.media_type, image.digest)
        return image.digest

    def tag(self, repository: str, digest: str, name: str) -> None:
        """Let a tag point to a manifest that is there already."""
        content, media_type = self.get_manifest(repository, digest)
        self._put_manifest(repository, name, content, media_type, digest)

    def mount_layers(self, repository: str, image: Image, from_repository: str = "") -> tuple[str, ...]:
        """Make all layers of an image known in another repository of this registry; bytes travel only when the registry
        can't mount. Returns the digests that were not there before."""
        source = from_repository or image.repository
        return tuple(layer.digest for layer in image.layers if self._bring(repository, layer.descriptor, source))

    def copy_image(self, digest: str, *, source: str, target: str) -> bool:
        """Make an image, or an index with all it lists, known in another repository of this registry under the same
        digest. Bytes travel only when the registry can't mount. False when it was there."""
        if self.head_manifest(target, digest) == digest:
            return False
        content, media_type = self.get_manifest(source, digest)
        document = self._document(content)
        try:
            listed = [Descriptor.from_json(entry) for entry in document.get("manifests") or ()]
            config = [document["config"]] if "config" in document else []
            blobs = [Descriptor.from_json(entry) for entry in (*config, *(document.get("layers") or ()))]
        except (KeyError, TypeError, ValueError) as exc:
            raise RegistryError(f"{source}@{digest} is not an image ({media_type}).", id="bad_image") from exc
        for each in listed:
            self.copy_image(each.digest, source=source, target=target)
        for blob in blobs:
            self._bring(target, blob, source)
        self._put_manifest(target, digest, content, media_type, digest)
        return True

    def tags(self, repository: str) -> list[str]:
        """All tags, sorted. A repository that does not exist has none."""
        found: list[str] = []
        url = f"/v2/{repository}/tags/list?n=1000"
        while url:
            response = self._request("GET", url, scopes=[Scope(repository, "pull")], expected=(200, 404))
            if response.status_code == 404:
                break
            found += [str(tag) for tag in self._document(response.content).get("tags") or ()]
            following = response.links.get("next", {}).get("url", "")
            url = urljoin(str(response.url), following) if following else ""
        return sorted(found)

    def delete_manifest(self, repository: str, digest: str) -> bool:
        """Delete a manifest and every tag that points to it. False when it was not there."""
        response = self._request(
            "DELETE",
            f"/v2/{repository}/manifests/{digest}",
            scopes=[Scope(repository, "delete")],
            expected=(200, 202, 404),
        )
        return response.status_code != 404

    def delete_tag(self, repository: str, name: str) -> bool:
        """Forget a tag and leave alone what it points to. False when it was not there.

        Registries may refuse to delete by name (distribution before 3.0 does). Then the tag is moved to an image that
        nobody else has, an empty one, which is deleted by digest: that takes the tag along.
        """
        response = self._request(
            "DELETE",
            f"/v2/{repository}/manifests/{name}",
            scopes=[Scope(repository, "delete")],
            expected=(200, 202, 400, 404, 405),
        )
        if response.status_code == 404:
            return False
        if response.status_code < 300:
            return True
        if self.head_manifest(repository, name) is None:
            return False
        nothing = Image.build({"config": {"Labels": {"removed": f"{name} {secrets.token_hex(8)}"}}}, ())
        self.put_image(repository, nothing, name)
        return self.delete_manifest(repository, nothing.digest)

    # how a blob gets there

    def _open_upload(self, repository: str, digest: str, mount_from: str | None) -> str:
        """The address to send the bytes to, or "" when the registry mounted the blob."""
        scopes = [Scope(repository, "pull,push")]
        query: dict[str, str] = {}
        if mount_from and mount_from != repository:
            query = {"mount": digest, "from": mount_from}
            scopes.append(Scope(mount_from, "pull"))
        response = self._request(
            "POST",
            f"/v2/{repository}/blobs/uploads/",
            scopes=scopes,
            params=query,
            # POST is safe to repeat here: an upload that was opened and forgotten is swept by the registry.
            expected=(201, 202),
        )
        return "" if response.status_code == 201 else self._location(response)

    def _upload(self, repository: str, blob: _Source, location: str) -> None:
        tries = 0
        while True:
            try:
                if blob.size > self._chunk:
                    location = self._send_chunks(repository, blob, location)
                    self._commit(repository, blob, location, blob.size)
                else:
                    self._commit(repository, blob, location, 0)
                return
            except RegistryUnavailable:
                tries += 1
                if tries >= self._tries:
                    raise
                log.info("registry_upload_restarted", extra={"repository": repository, "digest": blob.digest})
                self._pause(tries)
            # Whatever arrived of it, a fresh upload is right. It may even be there: an answer can get lost as well.
            if self.has_blob(repository, blob.digest):
                return
            location = self._open_upload(repository, blob.digest, None)

    def _commit(self, repository: str, blob: _Source, location: str, start: int) -> None:
        response = self._request(
            "PUT",
            str(httpx.URL(location).copy_merge_params({"digest": blob.digest})),
            scopes=[Scope(repository, "pull,push")],
            headers={"Content-Type": _BYTES, "Content-Length": str(blob.size - start)},
            body=lambda: blob.read(start, blob.size),
            tries=1,
            expected=(201,),
        )
        said = response.headers.get("Docker-Content-Digest", "")
        if is_digest(said) and said != blob.digest:
            raise DigestMismatch(f"{self.host} stored {said} when given {blob.digest}.")

    def _send_chunks(self, repository: str, blob: _Source, location: str) -> str:
        """Send all bytes piece by piece, asking the registry how far it got when a piece fails."""
        start, tries = 0, 0
        while start < blob.size:
            end = min(start + self._chunk, blob.size)
            try:
                response = self._patch(repository, blob, location, start, end)
            except RegistryUnavailable:
                tries += 1
                if tries >= self._tries:
                    raise
                self._pause(tries)
                location, start = self._progress(repository, location)
                continue
            location, start = self._location(response), end
        return location

    def _patch(self, repository: str, blob: _Source, location: str, start: int, end: int) -> httpx.Response:
        return self._request(
            "PATCH",
            location,
            scopes=[Scope(repository, "pull,push")],
            headers={
                "Content-Type": _BYTES,
                "Content-Length": str(end - start),
                "Content-Range": f"{start}-{end - 1}",
            },
            body=lambda: blob.read(start, end),
            tries=1,
            expected=(202,),
        )

    def _progress(self, repository: str, location: str) -> tuple[str, int]:
        """Where an interrupted upload stands. Some registries drop one that broke within a piece; then the caller has
        to begin again, and is told so by `RegistryUnavailable`."""
        response = self._request(
            "GET", location, scopes=[Scope(repository, "pull,push")], expected=(204, 200, 202, 400, 404, 416)
        )
        if response.status_code >= 400:
            raise RegistryUnavailable(f"{self.host} dropped an upload that had been interrupted.")
        last = response.headers.get("Range", "").partition("=")[2] or response.headers.get("Range", "")
        # "0-0" says both "one byte" and "none"; taking it for none is right whenever pieces are larger than one byte.
        end = int(last.rpartition("-")[2] or 0)
        return self._location(response, location), end + 1 if end else 0

    def _bring(self, repository: str, blob: Descriptor, source: str) -> bool:
        """From another repository. Bytes travel only when the registry can't mount. False when it was there."""
        if self.has_blob(repository, blob.digest):
            return False
        location = self._open_upload(repository, blob.digest, source)
        if location:
            self._copy(repository, blob, source, location)
        return True

    def _copy(self, repository: str, blob: Descriptor, source: str, location: str) -> None:
        with tempfile.NamedTemporaryFile(prefix="paas-blob-") as file:
            for data in self.get_blob(source, blob.digest):
                file.write(data)
            file.flush()
            self._upload(repository, _Source(blob.digest, blob.size, Path(file.name)), location)

    # manifests, again

    def _put_manifest(self, repository: str, reference: str, content: bytes, media_type: str, digest: str) -> None:
        response = self._request(
            "PUT",
            f"/v2/{repository}/manifests/{reference}",
            scopes=[Scope(repository, "pull,push")],
            headers={"Content-Type": media_type},
            body=lambda: iter((content,)),
            length=len(content),
            expected=(201,),
        )
        said = response.headers.get("Docker-Content-Digest", "")
        if is_digest(said) and said != digest:
            raise DigestMismatch(f"{self.host} stored the manifest {said} when given {digest}.")

    def _choose(self, repository: str, reference: str, index: Mapping[str, Any], architecture: str) -> str:
        offered = []
        for entry in index.get("manifests") or ():
            platform = entry.get("platform") or {}
            if platform.get("os", "linux") == "linux" and platform.get("architecture") == architecture:
                return Descriptor.from_json(entry).digest
            offered.append(f"{platform.get('os', '?')}/{platform.get('architecture', '?')}")
        raise ManifestUnknown(
            f"{repository}:{reference} holds no image for linux/{architecture}, only {', '.join(offered) or 'none'}."
        )

    def _document(self, content: bytes) -> dict[str, Any]:
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise RegistryError(f"{self.host} sent something that is not a JSON document.", id="bad_image")
        return document

    def _location(self, response: httpx.Response, otherwise: str = "") -> str:
        location: str = response.headers.get("Location", "")
        if location:
            return urljoin(str(response.url), location)
        if otherwise:
            return otherwise
        raise RegistryError(f"{self.host} opened an upload but did not say where.", id="registry_refused")

    # requests

    def _request(
        self,
        method: str,
        url: str,
        *,
        expected: Sequence[int],
        scopes: Iterable[Scope] = (),
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: Body | None = None,
        length: int | None = None,
        tries: int | None = None,
        follow_redirects: bool = False,
    ) -> httpx.Response:
        """One call, repeated while there is hope, with its answer read. `expected` statuses are returned, the others
        raised."""
        every_try = tries or self._tries
        sent = dict(headers or {})
        if length is not None:
            sent["Content-Length"] = str(length)

        def build(authorization: dict[str, str]) -> httpx.Request:
            content = body() if body else None
            return self._http.build_request(
                method, url, headers={**sent, **authorization}, params=params or None, content=content
            )

        for attempt in range(1, every_try + 1):
            last = attempt == every_try
            try:
                response = self._authorized(build, list(scopes), follow_redirects=follow_redirects)
            except httpx.TransportError as exc:
                if last:
                    raise self._unreachable(exc) from exc
                self._pause(attempt)
                continue
            if response.status_code in _PASSING and response.status_code not in expected and not last:
                self._pause(attempt, response)
                continue
            if response.status_code not in expected:
                self._refuse(method, response)
            return response
        raise AssertionError("a request ends with an answer or an error")

    def _authorized(
        self, build: Callable[[dict[str, str]], httpx.Request], scopes: list[Scope], *, follow_redirects: bool
    ) -> httpx.Response:
        """Send a request, and once more with what the registry asks for when it answers 401."""
        authorization = self._auth.header(scopes)
        for _ in range(2):
            request = build({"Authorization": authorization} if authorization else {})
            response = self._http.send(request, follow_redirects=follow_redirects)
            if response.status_code != 401:
                break
            authorization = self._auth.challenged(response.headers.get("WWW-Authenticate", ""), scopes)
            if not authorization:
                break
        return response

    @contextmanager
    def _stream(
        self, method: str, url: str, *, scopes: list[Scope], headers: Mapping[str, str], expected: Sequence[int]
    ) -> Iterator[httpx.Response]:
        """As `_request`, for an answer that is read while it arrives. Connection errors are left to the caller, who
        knows how far it got."""
        authorization = self._auth.header(scopes)
        attempt = 1
        while True:
            # No transfer compression: a blob's digest is that of the bytes as they are stored.
            sent = {**headers, "Accept-Encoding": "identity"}
            if authorization:
                sent["Authorization"] = authorization
            request = self._http.build_request(method, url, headers=sent)
            response = self._http.send(request, stream=True, follow_redirects=True)
            try:
                if response.status_code in expected:
                    yield response
                    return
                response.read()
            finally:
                response.close()
            if response.status_code == 401 and attempt < self._tries:
                authorization = self._auth.challenged(response.headers.get("WWW-Authenticate", ""), scopes)
                if not authorization:
                    self._refuse(method, response)
                attempt = self._tries
            elif response.status_code in _PASSING and attempt < self._tries:
                self._pause(attempt, response)
                attempt += 1
            else:
                self._refuse(method, response)

    def _pause(self, attempt: int, response: httpx.Response | None = None) -> None:
        seconds = self._backoff * 2 ** (attempt - 1)
        if response is not None and response.headers.get("Retry-After", "").isdigit():
            seconds = max(seconds, float(response.headers["Retry-After"]))
        if self._backoff:
            time.sleep(min(seconds, _LONGEST_PAUSE_SECONDS))

    def _unreachable(self, exc: httpx.TransportError) -> RegistryUnavailable:
        return RegistryUnavailable(
            f"The image registry at {self._base} does not answer ({type(exc).__name__}: {exc}).",
            hint="Is it running? See the platform's registry process and its log.",
        )

    def _refuse(self, method: str, response: httpx.Response) -> NoReturn:
        status = response.status_code
        codes, text = _errors(response)
        what = f"{self.host} answered {status} to {method} {response.request.url.path}"
        message = f"{what}: {text}." if text else f"{what}."
        if status in _PASSING:
            raise RegistryUnavailable(message)
        if status in {401, 403} or "UNAUTHORIZED" in codes or "DENIED" in codes:
            raise RegistryError(message, hint="Check the registry's user name and password.", id="registry_auth")
        if "MANIFEST_BLOB_UNKNOWN" in codes:
            raise RegistryError(message, hint="Push the layers again.", id="manifest_blob_unknown")
        if "DIGEST_INVALID" in codes:
            raise DigestMismatch(message)
        if status == 404 and "/manifests/" in response.request.url.path:
            raise ManifestUnknown(message)
        if status == 404 and "/blobs/" in response.request.url.path:
            raise RegistryError(message, id="blob_unknown")
        raise RegistryError(message, id="registry_refused")


def _accept() -> dict[str, str]:
    return {"Accept": ", ".join((*MANIFESTS, *INDEXES))}


def _errors(response: httpx.Response) -> tuple[set[str], str]:
    """Codes and words of the specification's error document; both empty when the answer is something else."""
    try:
        errors = response.json()["errors"]
        codes = {str(error.get("code", "")) for error in errors}
        return codes, "; ".join(str(error.get("message") or error.get("code")) for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        return set(), ""
