"""Stacks made for real, in a registry of the test's own, run by the engine."""

from __future__ import annotations

import gzip
import http.client
import io
import socket
import subprocess
import tarfile
import threading
import time
import uuid
from pathlib import Path
from typing import Self

import pytest

from runtime.builder.api import HostSettings
from runtime.errors import BuildCancelled, PlatformError
from runtime.images import Image, assemble, compress_layer
from runtime.registry import Registry
from runtime.stacks.store import Stack, StackStore

pytestmark = pytest.mark.engine


class Transcript:
    def __init__(self) -> None:
        self.steps: list[str] = []
        self.lines: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def line(self, text: str) -> None:
        self.lines.append(text)

    def check(self) -> None: ...


def docker(*arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0 or not ok, done.stderr
    return done


class Pulled:
    """An image the engine has, until the end of the test."""

    def __init__(self, registry: Registry, repository: str, digest: str) -> None:
        self.reference = registry.reference(repository, digest)

    def __enter__(self) -> Self:
        docker("pull", "--quiet", self.reference)
        return self

    def __exit__(self, *_: object) -> None:
        docker("rmi", self.reference, ok=False)

    def run(self, *command: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        return docker("run", "--rm", "--init", "--network=none", self.reference, *command, ok=ok)


def test_the_python_stack_from_nothing(registry: Registry, host_settings: HostSettings, tmp_path: Path) -> None:
    store = StackStore(registry, work_dir=tmp_path / "work", host=host_settings, keep=False)
    console = Transcript()
    made: list[Stack] = []
    # Two builds want it at once: one makes it, the other waits.
    other = threading.Thread(target=lambda: made.append(store.run_stack("python", Transcript())))
    other.start()
    stack = store.run_stack("python", console)
    other.join(120)
    assert made == [stack]
    assert len(list((tmp_path / "work").iterdir())) == 1  # the lock; nothing half done is left

    started = time.monotonic()
    again = Transcript()
    assert store.run_stack("python", again) == stack
    assert time.monotonic() - started < 2
    assert again.steps == []

    with Pulled(registry, stack.repository, stack.digest) as image:
        assert image.run("run", "python3 -V").stdout.startswith("Python 3.13")
        facts = image.run("run", "id -un; id -u; pwd; stat -c %U /app; stat -c %s /etc/ssl/certs/ca-certificates.crt")
        user, uid, folder, owner, bundle = facts.stdout.split()
        assert (user, uid, folder, owner) == ("app", "1000", "/app", "app")
        assert int(bundle) > 100_000
        assert image.run("run", "TZ=Asia/Tokyo date +%Z").stdout == "JST\n"
        assert image.run("run", "ls /var/lib/apt/lists /usr/share/man 2>/dev/null | grep -v : | wc -w").stdout == "0\n"
        assert image.run("run", "cat /usr/sbin/start-stop-daemon | head -c 4").stdout[1:] == "ELF"
        missing = image.run("start", "web", ok=False)
        assert (missing.returncode, '"web"' in missing.stderr) == (64, True)


def test_the_same_recipe_makes_the_same_digests(
    registry: Registry, shared_store: StackStore, host_settings: HostSettings, tmp_path: Path
) -> None:
    """The base of one run, and of another: with it, the language goes on top in a run of its own."""
    first = shared_store.run_stack("static", Transcript())
    registry.delete_manifest(first.repository, first.digest)
    console = Transcript()
    second = StackStore(registry, work_dir=tmp_path, host=host_settings, keep=False).run_stack("static", console)
    assert "made from Debian packages" in console.lines
    assert second.digest == first.digest


def test_a_static_site_is_served(registry: Registry, shared_store: StackStore, tmp_path: Path) -> None:
    stack = shared_store.run_stack("static", Transcript())
    page = b"<h1>hello</h1>" + b" " * 2000
    site = put_files(
        registry, stack, tmp_path, {"index.html": page, "404.html": b"not here", ".env": b"secret", "a/index.html": b"a"}
    )
    name = f"paas-test-{uuid.uuid4().hex}"
    with Pulled(registry, "tests/site", site.digest) as image:
        docker(
            "run",
            "--detach",
            "--init",
            "--name",
            name,
            "--cap-drop=ALL",
            "--env=PORT=8000",
            image.reference,
            "start",
            "web",
        )
        try:
            form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
            address = docker("inspect", "--format", form, name).stdout.strip()
            wait_for(address, 8000, name)
            status, headers, body = get(address, "/", {"Accept-Encoding": "gzip"})
            assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
            assert gzip.decompress(body) == page
            assert get(address, "/", {"If-None-Match": headers["ETag"]})[0] == 304
            assert get(address, "/none")[::2] == (404, b"not here")
            assert get(address, "/.env")[0] == 404
            assert get(address, "/a")[1]["Location"] == "/a/"
            assert get(address, "/a/")[2] == b"a"
            logs = docker("logs", name)
            assert "GET / 200" in logs.stdout
            assert logs.stderr == ""
            started = time.monotonic()
            docker("stop", "--time=10", name)
            assert time.monotonic() - started < 5
        finally:
            docker("rm", "--force", name, ok=False)


def test_a_cancelled_build_leaves_nothing(registry: Registry, host_settings: HostSettings, tmp_path: Path) -> None:
    class Impatient(Transcript):
        def check(self) -> None:
            if len(self.lines) > 1:
                raise BuildCancelled("cancelled")

    store = StackStore(registry, work_dir=tmp_path, host=host_settings, keep=False)
    with pytest.raises(BuildCancelled):
        store.run_stack("ruby", Impatient())
    assert [path.name for path in tmp_path.iterdir()] == ["stacks.lock"]


def test_a_mirror_that_is_not_there_is_named(registry: Registry, tmp_path: Path) -> None:
    host = HostSettings(debian_mirror="http://127.0.0.1:9/debian")
    with pytest.raises(PlatformError) as caught:
        StackStore(registry, work_dir=tmp_path, host=host, keep=False).run_stack("php", Transcript())
    assert caught.value.id == "stack_failed"
    assert "127.0.0.1:9" in caught.value.message


def put_files(registry: Registry, stack: Stack, folder: Path, files: dict[str, bytes]) -> Image:
    with tarfile.open(folder / "site.tar", "w") as tar:
        for name, content in {
            "paas/processes/web": b"/paas/serve-static",
            **{f"app/{n}": c for n, c in files.items()},
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    file = compress_layer(folder / "site.tar", folder / "site.gz")
    image = assemble(stack.image, [file.layer], entrypoint=["/paas/launcher"], user="app", working_dir="/app")
    registry.mount_layers("tests/site", stack.image)
    registry.push_blob("tests/site", file)
    registry.put_image("tests/site", image, "site")
    return image


def wait_for(address: str, port: int, name: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                pytest.fail(f"nothing listens: {docker('logs', name, ok=False)}")
            time.sleep(0.02)


def get(address: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(address, 8000, timeout=10)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()
    finally:
        connection.close()
