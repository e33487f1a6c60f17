"""A small image registry over WSGI, in memory: the distribution protocol, tokens, and trouble on request."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

import httpx

PATHS = re.compile(
    r"/v2/(?P<repo>.+?)/(?:blobs/uploads/(?P<upload>[^/]*)|blobs/(?P<blob>[^/]+)|manifests/(?P<ref>[^/]+)|tags/list)"
)


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class RegistryApp:
    """`trouble(method, path)` may return an answer to give instead, or raise what the connection should raise."""

    user: str = ""  # set: Basic or Bearer is asked for
    password: str = ""
    bearer: bool = False
    mounts: bool = True
    trouble: Callable[[str, str], Answer | None] = lambda method, path: None
    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    manifests: dict[str, dict[str, tuple[bytes, str]]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    tokens: dict[str, set[str]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)  # "PUT /v2/…"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = self.answer(environ)
        start_response(f"{answer.status} -", [*answer.headers.items(), ("Content-Length", str(len(answer.body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else answer.body]

    def answer(self, environ: WSGIEnvironment) -> Answer:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        query = parse_qs(environ.get("QUERY_STRING", ""))
        body = environ["wsgi.input"].read()
        self.seen.append(f"{method} {path}")
        trouble = self.trouble(method, path)
        if trouble is not None:
            return trouble
        if path == "/token":
            return self.token(environ, query)
        refused = self.refused(environ, path)
        if refused:
            return refused
        if path == "/v2/":
            return Answer(200, b"{}")
        match = PATHS.fullmatch(path)
        if match is None:
            return error(404, "NAME_UNKNOWN")
        repo = match["repo"]
        if match["upload"] is not None:
            return self.upload(method, repo, match["upload"], query, body)
        if match["blob"]:
            return self.blob(repo, match["blob"], environ)
        if match["ref"]:
            return self.manifest(method, repo, match["ref"], body, environ)
        if repo not in self.manifests:
            return error(404, "NAME_UNKNOWN")
        names, last = sorted(self.tags.get(repo, {})), query.get("last", [""])[0]
        page = [name for name in names if name > last][:2]  # small pages: clients have to follow the link
        more = (
            {"Link": f'</v2/{repo}/tags/list?n=2&last={page[-1]}>; rel="next"'} if page and page[-1] != names[-1] else {}
        )
        return Answer(200, json.dumps({"name": repo, "tags": page or None}).encode(), more)

    def token(self, environ: WSGIEnvironment, query: dict[str, list[str]]) -> Answer:
        if not self.is_basic(environ):
            return error(401, "UNAUTHORIZED")
        token = uuid.uuid4().hex
        self.tokens[token] = set(query.get("scope", []))
        return Answer(200, json.dumps({"token": token, "expires_in": 300}).encode())

    def is_basic(self, environ: WSGIEnvironment) -> bool:
        wanted = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return bool(environ.get("HTTP_AUTHORIZATION") == f"Basic {wanted}")

    def refused(self, environ: WSGIEnvironment, path: str) -> Answer | None:
        if not self.user:
            return None
        if not self.bearer:
            ask = {"WWW-Authenticate": 'Basic realm="registry"'}
            return None if self.is_basic(environ) else error(401, "UNAUTHORIZED", ask)
        scopes = self.tokens.get(environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer "))
        match = PATHS.fullmatch(path)
        if scopes is not None and (match is None or any(f"repository:{match['repo']}:" in scope for scope in scopes)):
            return None
        return error(
            401, "UNAUTHORIZED", {"WWW-Authenticate": 'Bearer realm="http://registry.test/token",service="test"'}
        )

    def upload(self, method: str, repo: str, upload: str, query: dict[str, list[str]], body: bytes) -> Answer:
        mine = self.blobs.setdefault(repo, {})
        if method == "POST":
            wanted, lender = query.get("mount", [""])[0], query.get("from", [""])[0]
            if self.mounts and wanted in self.blobs.get(lender, {}):
                mine[wanted] = self.blobs[lender][wanted]
                return Answer(201, headers={"Docker-Content-Digest": wanted})
            upload = uuid.uuid4().hex
            self.uploads[upload] = b""
        elif upload not in self.uploads:
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        elif method == "GET":
            got = max(len(self.uploads[upload]) - 1, 0)
            return Answer(204, headers={"Location": f"/v2/{repo}/blobs/uploads/{upload}", "Range": f"0-{got}"})
        else:
            self.uploads[upload] += body
        if method == "PUT":
            content = self.uploads.pop(upload)
            if digest_of(content) != query["digest"][0]:
                return error(400, "DIGEST_INVALID")
            mine[digest_of(content)] = content
            return Answer(201, headers={"Docker-Content-Digest": digest_of(content)})
        return Answer(202, headers={"Location": f"/v2/{repo}/blobs/uploads/{upload}"})

    def blob(self, repo: str, digest: str, environ: WSGIEnvironment) -> Answer:
        content = self.blobs.get(repo, {}).get(digest)
        if content is None:
            return error(404, "BLOB_UNKNOWN")
        wanted = environ.get("HTTP_RANGE", "")
        if wanted:
            return Answer(206, content[int(wanted.removeprefix("bytes=").partition("-")[0]) :])
        return Answer(200, content)

    def manifest(self, method: str, repo: str, ref: str, body: bytes, environ: WSGIEnvironment) -> Answer:
        mine, tags = self.manifests.setdefault(repo, {}), self.tags.setdefault(repo, {})
        if method == "PUT":
            document = json.loads(body)
            for blob in [document["config"], *document["layers"]] if "layers" in document else []:
                if blob["digest"] not in self.blobs.get(repo, {}):
                    return error(400, "MANIFEST_BLOB_UNKNOWN")
            digest = digest_of(body)
            mine[digest] = (body, environ.get("CONTENT_TYPE", ""))
            if not ref.startswith("sha256:"):
                tags[ref] = digest
            return Answer(201, headers={"Docker-Content-Digest": digest})
        if method == "DELETE" and not ref.startswith("sha256:"):
            return error(400, "UNSUPPORTED")  # as distribution 2.8
        digest = tags.get(ref, ref)
        if digest not in mine:
            return error(404, "MANIFEST_UNKNOWN")
        if method == "DELETE":
            del mine[digest]
            self.tags[repo] = {name: to for name, to in tags.items() if to != digest}
            return Answer(202)
        content, media_type = mine[digest]
        return Answer(200, content, {"Content-Type": media_type, "Docker-Content-Digest": digest})


def error(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    document = {"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}
    return Answer(status, json.dumps(document).encode(), headers or {})


def transport_for(app: RegistryApp) -> httpx.WSGITransport:
    return httpx.WSGITransport(app=app)
