"""Deploys without git, over the API alone: an archive in, a running app and the same image as by a push out."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import App, Platform, wait_until


class Api:
    def __init__(self, platform: Platform) -> None:
        self.client = platform.http(platform.token)
        self.bare = platform.http()  # whoever has the address of an upload needs nothing else

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.client.request(method, path, json=body)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def deploy(self, app: App, archive: bytes, **source: str) -> dict[str, Any]:
        """The build when it is over."""
        addresses = self.ask("POST", f"/apps/{app.name}/sources")["source_blob"]
        put = self.bare.put(addresses["put_url"], content=archive)
        assert put.status_code == 200, put.text
        build = self.ask("POST", f"/apps/{app.name}/builds", {"source_blob": {"url": addresses["get_url"]} | source})
        path = f"/apps/{app.name}/builds/{build['id']}"
        wait_until(lambda: self.ask("GET", path)["status"] != "pending", "the build is over", seconds=180)
        return dict(self.ask("GET", path))

    def log(self, app: App, build: dict[str, Any]) -> str:
        lines = self.ask("GET", f"/apps/{app.name}/builds/{build['id']}/result")["lines"]
        return "".join(line["line"] for line in lines)

    def close(self) -> None:
        self.client.close()
        self.bare.close()


@pytest.fixture
def api(platform: Platform) -> Iterator[Api]:
    api = Api(platform)
    yield api
    api.close()


def tar_of(app: App) -> bytes:
    """Of the work tree as it lies there, repository included."""
    done = subprocess.run(["tar", "czf", "-", "-C", app.folder, "."], capture_output=True, check=True)
    return done.stdout


def git_archive(app: App) -> bytes:
    command = ["git", "archive", "--format=tar.gz", "HEAD"]
    return subprocess.run(command, cwd=app.folder, capture_output=True, check=True).stdout


def test_an_app_is_deployed_without_git_and_answers(api: Api, app: App) -> None:
    app.use("flask").set_version("from an archive")
    api.ask("POST", "/apps", {"name": app.name})
    archive = tar_of(app)
    checksum = f"SHA256:{hashlib.sha256(archive).hexdigest()}"
    build = api.deploy(app, archive, version="v1.2.3", checksum=checksum)
    log = api.log(app, build)
    assert build["status"] == "succeeded", log
    assert app.answers(version="from an archive", release="v1")
    assert "v1 is live" in log
    (release,) = app.releases()
    assert release["description"] == "Deploy v1.2.3"
    app.comes_to_rest()


def test_the_same_files_are_the_same_image_whichever_way_they_come(
    api: Api, app: App, platform: Platform, tmp_path: Path
):
    commit = app.use("flask").set_version("same").commit("The same.")
    other = App(platform, tmp_path / "other")
    try:
        app.push().succeeded()
        pushed = app.image()[0]

        # The time of the commit is in what git makes.
        api.ask("POST", "/apps", {"name": other.name})
        build = api.deploy(other, git_archive(app))
        assert build["status"] == "succeeded", api.log(other, build)
        assert build["source_blob"]["version"] == commit
        assert other.image()[0] == pushed
        assert other.answers(version="same")

        # A work tree has other times, but the app knows these files.
        for path in app.folder.rglob("*"):
            if ".git" not in path.parts:
                os.utime(path, (1_000_000_000, 1_000_000_000))
        build = api.deploy(app, tar_of(app))
        assert build["status"] == "succeeded", api.log(app, build)
        assert app.image()[0] == pushed

        # And git is where it was: the next push goes on from there.
        app.deploy(version="next")
        assert app.answers(version="next")
    finally:
        other.destroy()


def test_an_archive_that_leads_out_of_itself_builds_nothing(api: Api, app: App, platform: Platform) -> None:
    api.ask("POST", "/apps", {"name": app.name})
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name in ("index.html", "../../../escaped"):
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    build = api.deploy(app, out.getvalue())
    assert build["status"] == "failed"
    assert "../../../escaped leads out of it" in api.log(app, build)
    assert not list(platform.home.rglob("escaped"))
    assert app.get().status == 404


def test_an_address_that_no_stranger_may_reach_is_not_fetched(api: Api, app: App) -> None:
    api.ask("POST", "/apps", {"name": app.name})
    url = "https://169.254.169.254/latest/archive.tar.gz"  # loopback is allowed here: receivers of other tests are there
    build = api.ask("POST", f"/apps/{app.name}/builds", {"source_blob": {"url": url}})
    path = f"/apps/{app.name}/builds/{build['id']}"
    wait_until(lambda: api.ask("GET", path)["status"] == "failed", "the build has failed")
    assert "within the platform's own network" in api.log(app, build)


def test_a_cancel_ends_a_build_that_has_begun(api: Api, app: App) -> None:
    api.ask("POST", "/apps", {"name": app.name})
    app.use_slow_build(60)
    addresses = api.ask("POST", f"/apps/{app.name}/sources")["source_blob"]
    assert api.bare.put(addresses["put_url"], content=tar_of(app)).status_code == 200
    build = api.ask("POST", f"/apps/{app.name}/builds", {"source_blob": {"url": addresses["get_url"]}})
    wait_until(lambda: "tick" in api.log(app, build), "the build has begun", seconds=120)
    api.ask("DELETE", f"/apps/{app.name}/builds/{build['id']}")
    path = f"/apps/{app.name}/builds/{build['id']}"
    wait_until(lambda: api.ask("GET", path)["status"] == "failed", "the build is over")
    assert "cancelled" in api.log(app, build)
    app.comes_to_rest()
