"""A config var is known to the app and to nobody else."""

from __future__ import annotations

import base64
import gzip
import json
import secrets
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from tests.e2e.harness import App, Platform

LARGEST = 200 * 1024 * 1024


def forms(secret: str) -> list[bytes]:
    """As it is and as it may be hidden in something else: base64 at each of three offsets, quoted, in hex."""
    found = {secret.encode(), quote(secret).encode(), secret.encode().hex().encode()}
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret.encode())
        found.add(encoded[4 : len(encoded) // 4 * 4 - 4])
    return sorted(found)


def holds(data: bytes, needles: Iterable[bytes]) -> bool:
    return any(needle in data for needle in needles)


def everything_under(home: Path) -> Iterator[tuple[str, bytes]]:
    """All files, the layers in the registry unpacked."""
    for path in home.rglob("*"):
        with suppress(OSError):
            if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST:
                continue
            data = path.read_bytes()
            if data[:2] == b"\x1f\x8b" and len(data) < 5 * 1024 * 1024:
                with suppress(OSError, EOFError, zlib.error):
                    data = gzip.decompress(data)
            yield str(path.relative_to(home)), data


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


class CommandLines:
    """Looks at all processes' command lines while it is open."""

    def __init__(self, needles: list[bytes]) -> None:
        self.seen: list[str] = []
        self._needles = needles
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def _look(self) -> None:
        while not self._stop.wait(0.25):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    if holds(path.read_bytes(), self._needles):
                        self.seen.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))


def test_a_secret_is_nowhere_but_in_the_app(app: App) -> None:
    platform = app.platform
    secret = secrets.token_urlsafe(24)
    needles = forms(secret)
    # Handed to our own command line as an argument, by its nature: so before we look at command lines.
    platform.paas("apps:create", app.name)
    app.paas("config:set", f"SECRET_CANARY={secret}", f"DATABASE_URL=postgres://shop:{secret}@db/shop")
    with CommandLines(needles) as command_lines:
        app.deploy("multi", "one")
        said = [("push of the good one", app.start_push().succeeded().text)]
        app.use("fails-secrets").commit()
        failed = app.push().failed()
        said.append(("push of the bad one", failed.text))
        assert "SECRET_CANARY" in "\n".join(failed.remote) or "***" in failed.text, "the mask should say what it hides"
        said += [(command, app.paas(command).text) for command in ("builds:output", "builds", "releases", "ps")]
        said += [(command, app.paas(command, "--json").text) for command in ("builds", "releases", "ps")]
        assert app.answers(version="one")
    assert app.json("config")["SECRET_CANARY"] == secret
    assert not command_lines.seen, "in the command line of a process"

    leaks = [where for where, text in said if holds(text.encode(), needles)]
    leaks += [where for where, data in everything_under(platform.home) if holds(data, needles)]
    leaks += [where for where, data in in_redis(platform) if holds(data, needles)]
    for container in platform.containers(f"paas.app={app.name}"):
        details = platform.engine.api.inspect_container(container["Id"])
        details["Config"].pop("Env")
        if holds(json.dumps(details).encode(), needles):
            leaks.append(f"inspect of {container['Names'][0]}")
        image = platform.engine.images.get(container["ImageID"])
        if holds(json.dumps([image.attrs, image.history()]).encode(), needles):
            leaks.append(f"image of {container['Names'][0]}")
    assert not leaks, "the secret was found in: " + ", ".join(leaks)
