"""A config var is known to the app and to nobody else."""

from __future__ import annotations

import base64
import http.cookiejar
import json
import re
import secrets
import threading
import urllib.request
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from html import unescape
from pathlib import Path
from typing import IO, Any, Self
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urljoin, urlsplit

import docker.errors
import redis

from tests.e2e.harness import App, Platform, wait_until

CHUNK = 4 * 1024 * 1024
MOST_PAGES = 300


def forms(secret: str) -> list[bytes]:
    """As it is and as it may be hidden in something else: base64 at each of three offsets, quoted, in hex."""
    found = {secret.encode(), quote(secret).encode(), secret.encode().hex().encode()}
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret.encode())
        found.add(encoded[4 : len(encoded) // 4 * 4 - 4])
    return sorted(found)


def holds(data: bytes, needles: Iterable[bytes]) -> bool:
    return any(needle in data for needle in needles)


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The content in overlapping pieces; of what is compressed with gzip (layers), what is inside."""
    unpack = zlib.decompressobj(wbits=31) if file.read(2) == b"\x1f\x8b" else None
    file.seek(0)
    rest = b""
    while data := file.read(CHUNK):
        if unpack is not None:
            with suppress(zlib.error):
                data = unpack.decompress(data)
        yield rest + data
        rest = data[-200:]


def files_that_hold(home: Path, needles: list[bytes]) -> list[str]:
    """Of all: database, logs, repositories, layers, Redis' own file …"""
    found = []
    for path in home.rglob("*"):
        with suppress(OSError):
            if not path.is_symlink() and path.is_file():
                with path.open("rb") as file:
                    if any(holds(piece, needles) for piece in pieces(file)):
                        found.append(str(path.relative_to(home)))
    return found


def in_redis(platform: Platform) -> Iterator[tuple[str, bytes]]:
    client = platform.redis
    for key in client.scan_iter(count=1000):
        kind = client.type(key)
        readers: dict[str, Any] = {
            "string": client.get,
            "list": lambda k: client.lrange(k, 0, -1),
            "stream": client.xrange,
            "hash": client.hgetall,
            "set": client.smembers,
            "zset": lambda k: client.zrange(k, 0, -1),
        }
        yield f"redis {key}", repr(readers[kind](key)).encode() if kind in readers else b""


class Lookout:
    """While it is open: command lines of all processes, what Redis is told (jobs, live logs), and what containers the
    engine makes, each as `docker inspect` shows it, without the environment, which is where secrets belong."""

    def __init__(self, platform: Platform, needles: list[bytes]) -> None:
        self.seen: set[str] = set()
        self.containers: set[str] = set()
        self.commands = 0
        self._platform, self._needles = platform, needles
        self._stop = threading.Event()
        self._redis = redis.Redis.from_url(platform.env.redis_url, socket_timeout=None)
        self._threads = [
            threading.Thread(target=look, daemon=True)
            for look in (self._command_lines, self._what_redis_is_told, self._what_is_made)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self.commands, "Redis says what it is told")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._platform.redis.ping()  # so that there is a last command to hear of
        for thread in self._threads:
            thread.join(10)
        self._redis.close()

    def _command_lines(self) -> None:
        while not self._stop.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    if holds(path.read_bytes(), self._needles):
                        self.seen.add(
                            "a command line: " + path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                        )

    def _what_redis_is_told(self) -> None:
        with self._redis.monitor() as monitor:
            while not self._stop.is_set():
                command = monitor.next_command()["command"]
                self.commands += 1
                if holds(command.encode(), self._needles):
                    self.seen.add(f"a command of Redis: {command[:60]}")

    def _what_is_made(self) -> None:
        api = self._platform.engine.api
        while not self._stop.wait(0.05):
            for container in self._platform.containers():
                identity = container["Id"]
                if identity in self.containers:
                    continue
                with suppress(docker.errors.NotFound):
                    details = api.inspect_container(identity)
                    self.containers.add(identity)
                    details["Config"].pop("Env")
                    kind = container["Labels"].get("paas.kind", "?")
                    if holds(json.dumps(details).encode(), self._needles):
                        self.seen.add(f"a container of kind {kind}")


class Reader:
    """Somebody who is signed in and follows every link."""

    def __init__(self, platform: Platform, *options: str) -> None:
        self.email, password = f"u-{secrets.token_hex(4)}@example.com", secrets.token_urlsafe(12)
        platform.paas("users:create", self.email, "--password", password, *options)
        self._base = f"http://127.0.0.1:{platform.port}"
        self._host = urlsplit(platform.info["dashboard_url"]).netloc
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)
        _, form = self.fetch("/login")
        status, _ = self.fetch("/login", username=self.email, password=password, csrfmiddlewaretoken=self._token(form))
        assert status == 200
        _, self.home = self.fetch("/")
        assert "Sign out" in self.home

    @staticmethod
    def _token(page: str) -> str:
        match = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert match is not None
        return match.group(1)

    def fetch(self, path: str, **fields: str) -> tuple[int, str]:
        data = urlencode(fields).encode() if fields else None
        request = urllib.request.Request(self._base + path, data=data, headers={"Host": self._host})
        try:
            with self._opener.open(request, timeout=20) as answer:
                return answer.status, answer.read(16 * CHUNK).decode(errors="replace")
        except HTTPError as answer:
            with answer:
                return answer.code, answer.read().decode(errors="replace")

    def post(self, path: str, **fields: str) -> tuple[int, str]:
        return self.fetch(path, csrfmiddlewaretoken=self._token(self.home), **fields)

    def walk(self, *starts: str) -> Iterator[tuple[str, str]]:
        """(address, page) of all that links lead to from there, inside of the dashboard."""
        waiting, seen = list(starts), set(starts)
        while waiting and len(seen) < MOST_PAGES:
            path = waiting.pop(0)
            status, page = self.fetch(path)
            assert status < 500, f"{path}: {status}"
            yield path, page
            for link in re.findall(r'(?:href|hx-get|data-live|formaction)="([^"]+)"', page):
                address = urljoin(path, unescape(link)).partition("#")[0]
                is_page = address.startswith(("/apps", "/search", "/audit", "/host", "/people", "/account", "/-/"))
                if is_page and address not in seen:
                    seen.add(address)
                    waiting.append(address)


def test_a_secret_is_nowhere_but_in_the_app(app: App) -> None:
    platform = app.platform
    secret = secrets.token_urlsafe(24)
    needles = forms(secret)
    text = (
        f"SECRET_CANARY={secret}\nDATABASE_URL=postgres://shop:{secret}@db/shop\nCERT='first line\n{secret}\nlast line'\n"
    )
    platform.paas("apps:create", app.name)
    said = []
    with Lookout(platform, needles) as lookout:
        imported = platform.paas("config:import", "-a", app.name, text=text)
        said.append(("config:import", imported.text))
        app.deploy("multi", "one")
        said.append(("push of the good one", app.start_push().succeeded().text))
        app.use("fails-secrets").commit()
        failed = app.push().failed()
        said.append(("push of the bad one", failed.text))
        assert "[SECRET_CANARY]" in failed.text, "the mask should say what it hides"
        app.deploy("multi", "two")
        for command in (
            ["config:set", "OTHER=1"], ["ps:restart"], ["ps:scale", "web=2"], ["rollback"], ["run", "true"],
            ["builds:output"], ["builds"], ["releases"], ["ps"], ["logs"],
            ["builds", "--json"], ["releases", "--json"], ["ps", "--json"],
        ):  # fmt: skip
            said.append((" ".join(command), app.paas(*command).text))
        assert app.answers(version="two")

        viewer, admin = Reader(platform), Reader(platform, "--admin")
        app.paas("access:add", viewer.email, "--role", "viewer")
        start = f"/apps/{app.name}"
        pages = [
            (f"{who}: {path}", page)
            for who, by in (("viewer", viewer), ("admin", admin))
            for path, page in by.walk(start)
        ]
        assert f"viewer: {start}/config" in dict(pages)
        said += pages
        for action in ("config/reveal", "config/export", "config/text"):
            status, page = viewer.post(f"{start}/{action}")
            assert status == 403, action
            said.append((f"viewer: {action}", page))
        # What is to be seen is seen, and leaves nothing behind.
        assert secret in admin.post(f"{start}/config/reveal", name="SECRET_CANARY")[1]
        assert secret in admin.post(f"{start}/config/export")[1]
    assert app.json("config")["SECRET_CANARY"] == secret

    assert len(lookout.containers) >= 4
    assert not lookout.seen
    leaks = [where for where, what in said if holds(what.encode(), needles)]
    leaks += files_that_hold(platform.home, needles)
    leaks += [where for where, data in in_redis(platform) if holds(data, needles)]
    for container in platform.containers(f"paas.app={app.name}"):
        image = platform.engine.images.get(container["ImageID"])
        if holds(json.dumps([image.attrs, image.history()]).encode(), needles):
            leaks.append(f"image of {container['Names'][0]}")
    assert not leaks, "the secret was found in: " + ", ".join(leaks)
