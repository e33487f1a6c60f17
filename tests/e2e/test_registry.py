"""Images that people make themselves, with the real docker client: sign in, push, release, pull."""

from __future__ import annotations

import contextlib
import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.harness import App, Platform, Result, wait_until
from tests.integration.engine.programs import rootfs

ACCEPT = "application/vnd.heroku+json; version=3.docker-releases"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass
class Docker:
    """The docker client of one person, signed in or not, and the images it has left in the engine."""

    folder: Path
    made: list[str] = field(default_factory=list)

    def __call__(self, *arguments: str, text: str | bytes | None = None, check: bool = True) -> Result:
        given = text.encode() if isinstance(text, str) else text
        done = subprocess.run(
            ["docker", "--config", str(self.folder), *arguments],
            input=given,
            capture_output=True,
            timeout=180,
            check=False,
        )
        result = Result(done.returncode, done.stdout.decode(), done.stderr.decode(), 0)
        assert result.code == 0 or not check, f"docker {' '.join(arguments)}:\n{result.text}"
        return result

    def login(self, host: str, secret: str) -> Result:
        return self("login", "--username", "_", "--password-stdin", host, text=secret)

    def make(self, reference: str, *changes: str) -> str:
        """An image of a few programs. Its id."""
        options = [option for change in changes for option in ("--change", change)]
        self.made.append(reference)
        return self("import", *options, "-", reference, text=rootfs()).out.strip()

    def forget(self) -> None:
        for reference in self.made:
            self("rmi", "--force", reference, check=False)


@pytest.fixture
def docker_for(tmp_path: Path) -> Iterator[Callable[[str], Docker]]:
    made: list[Docker] = []

    def make(name: str) -> Docker:
        made.append(Docker(tmp_path / f"docker-{name}"))
        made[-1].folder.mkdir()
        return made[-1]

    yield make
    for docker in made:
        docker.forget()


def registries(platform: Platform) -> list[str]:
    """The names for it that an engine needs no certificate for: it takes loopback as it is, over HTTP and over TLS."""
    return [f"127.0.0.1:{platform.env.registry_port}", f"localhost:{platform.env.api_port}"]


def api(platform: Platform, method: str, path: str, body: Any = None, token: str = "") -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=60) as client:
        return client.request(
            method,
            f"http://127.0.0.1:{platform.env.http_port}{path}",
            headers={
                "Host": f"api.{platform.domain}", "Accept": ACCEPT, "Authorization": f"Bearer {token or platform.token}",
            },
            json=body,
        )  # fmt: skip


def says(app: App, text: str) -> bool:
    return app.get().text.strip() == text


def release(app: App, **images: str | None) -> httpx.Response:
    updates = [{"type": process, "docker_image": image} for process, image in images.items()]
    return api(app.platform, "PATCH", f"/apps/{app.name}/formation", {"updates": updates})


@contextlib.contextmanager
def person(platform: Platform, app: App, role: str) -> Iterator[str]:
    """A token of somebody with this role."""
    email = f"{role}-{uuid.uuid4().hex[:8]}@example.com"
    platform.paas("users:create", email, "--password", uuid.uuid4().hex)
    platform.paas("access:add", email, "-a", app.name, "--role", role)
    yield platform.paas("tokens:create", "--email", email).out.strip()
    platform.paas("users:deactivate", email)


@pytest.fixture
def shop(app: App) -> App:
    app.platform.paas("apps:create", app.name)
    return app


def test_an_image_is_pushed_released_and_pulled(shop: App, docker_for: Callable[[str], Docker]) -> None:
    platform = shop.platform
    for number, host in enumerate(registries(platform), start=1):
        alice = docker_for(f"alice-{number}")
        assert "Login Succeeded" in alice.login(host, platform.token).out
        reference = f"{host}/{shop.name}/web"
        image_id = alice.make(reference, 'CMD ["/bin/web"]', f"ENV GREETING=number-{number}")
        assert "digest: sha256:" in alice("push", reference).out
        answer = release(shop, web=image_id)
        assert answer.status_code == 200, answer.text
        assert [each["type"] for each in answer.json()] == ["web"]
        wait_until(partial(says, shop, f"number-{number}"), "the new image answers", 60)
        alice("rmi", "--force", reference)
        assert "Downloaded newer image" in alice("pull", reference).out
        assert json.loads(alice("inspect", reference).out)[0]["Id"] == image_id
    rows = shop.releases()
    assert [row["version"] for row in rows] == [1, 2]
    shop.paas("rollback", "v1")
    wait_until(partial(says, shop, "number-1"), "the first image answers again", 60)
    shop.comes_to_rest()


def test_the_heroku_cli_finds_the_id_of_what_was_pushed(shop: App, docker_for: Callable[[str], Docker]) -> None:
    host = registries(shop.platform)[0]
    docker = docker_for("alice")
    docker.login(host, shop.platform.token)
    image_id = docker.make(f"{host}/{shop.name}/web", 'CMD ["/bin/web"]')
    docker("push", f"{host}/{shop.name}/web")
    with httpx.Client(trust_env=False, auth=("", shop.platform.token), timeout=30) as client:
        there = {"Host": f"registry.{shop.platform.domain}", "Accept": DOCKER_MANIFEST}
        url = f"http://127.0.0.1:{shop.platform.env.http_port}/v2/{shop.name}/web/manifests/latest"
        manifest = client.get(url, headers=there).json()
    assert (manifest["schemaVersion"], manifest["config"]["digest"]) == (2, image_id)


def test_roles_count_and_strangers_hear_no_more_than_that_it_is_not_theirs(
    shop: App, docker_for: Callable[[str], Docker]
) -> None:
    platform, host = shop.platform, registries(shop.platform)[0]
    reference = f"{host}/{shop.name}/web"
    alice, bob, nobody = docker_for("alice"), docker_for("bob"), docker_for("nobody")
    alice.login(host, platform.token)
    alice.make(reference, 'CMD ["/bin/web"]')
    assert "unauthorized" in nobody("push", reference, check=False).text
    alice("push", reference)
    assert "unauthorized" in nobody("pull", reference, check=False).text
    with person(platform, shop, "viewer") as secret:
        bob.login(host, secret)
        refused = bob("push", reference, check=False)
        assert refused.code != 0
        assert "denied" in refused.text
        assert "developer" in refused.text
        bob("pull", reference)
        for name in ("no-such-app", "apps"):
            bob.made.append(f"{host}/{name}/web")
            bob("tag", reference, f"{host}/{name}/web")
            assert "name unknown" in bob("push", f"{host}/{name}/web", check=False).text
        refused_release = api(
            platform, "PATCH", f"/apps/{shop.name}/formation/web", {"docker_image": "sha256:" + "0" * 64}, secret
        )
        assert refused_release.status_code == 403
    wrong = nobody("login", "--username", "_", "--password-stdin", host, text="paas_" + "0" * 40, check=False)
    assert wrong.code != 0
    assert "unauthorized" in wrong.text


def test_what_can_not_run_is_refused_at_once(shop: App, docker_for: Callable[[str], Docker]) -> None:
    host = registries(shop.platform)[0]
    docker = docker_for("alice")
    docker.login(host, shop.platform.token)
    reference = f"{host}/{shop.name}/web"
    image_id = docker.make(reference)
    missing = release(shop, web=image_id)
    assert (missing.status_code, missing.json()["id"]) == (404, "not_found")
    docker("push", reference)
    refused = release(shop, web=image_id)
    assert refused.status_code == 422, refused.text
    assert "CMD" in refused.json()["message"]
    shop.comes_to_rest()


def test_process_types_of_one_image_and_one_that_is_removed(shop: App, docker_for: Callable[[str], Docker]) -> None:
    host = registries(shop.platform)[0]
    docker = docker_for("alice")
    docker.login(host, shop.platform.token)
    web = docker.make(f"{host}/{shop.name}/web", 'CMD ["/bin/web"]', "ENV GREETING=hello")
    docker.make(f"{host}/{shop.name}/worker", 'CMD ["/bin/serve"]', "ENV GREETING=hello")
    for process in ("web", "worker"):
        docker("push", f"{host}/{shop.name}/{process}")
    worker = docker("inspect", "--format", "{{.Id}}", f"{host}/{shop.name}/worker").out.strip()
    answer = release(shop, web=web, worker=worker)
    assert answer.status_code == 200, answer.text
    shop.paas("ps:scale", "worker=1")
    wait_until(partial(says, shop, "hello"), "web answers", 60)
    wait_until(lambda: len(shop.instances("worker")) == 1, "the worker runs", 60)
    assert api(shop.platform, "PATCH", f"/apps/{shop.name}/formation/worker", {"docker_image": None}).status_code == 200
    wait_until(lambda: not shop.instances("worker"), "the worker is gone", 60)
    shop.comes_to_rest()
