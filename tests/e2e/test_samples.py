"""Each kind of app that should work, works."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from tests.e2e.harness import App, steady_load, wait_until


def test_django_collects_its_static_files_and_migrates(app: App) -> None:
    push = app.deploy("django", "one")
    said = "\n".join(push.remote)
    assert "static files" in said
    assert "Applying shop.0001_initial" in said, "the release command's output is part of the push"
    page = app.get()
    assert page.status == 200
    assert "<h1>Version one</h1>" in page.text
    sheet = re.search(r"/static/shop/style\.[0-9a-f]+\.css", page.text)
    assert sheet, "the style sheet has no hash in its name"
    style = app.get(sheet.group())
    assert style.status == 200
    assert "font-family" in style.text
    assert style.headers["content-type"].startswith("text/css")

    app.deploy(version="two")
    assert "<h1>Version two</h1>" in app.get().text


def test_express_installs_from_its_lock_file(app: App) -> None:
    app.deploy("express", "one")
    assert app.answers(version="one", greeting="Hello")
    with steady_load(app):
        push = app.deploy(version="two")
    assert app.answers(version="two")
    assert not any("npm ci" in line and "cached" not in line for line in push.remote), "dependencies were made again"


def test_a_static_site_is_served_as_it_is(app: App) -> None:
    app.deploy("static", "one")
    page = app.get()
    assert page.status == 200
    assert "<h1>Version one</h1>" in page.text
    assert page.headers["content-type"].startswith("text/html")
    assert app.get("/style.css").headers["content-type"].startswith("text/css")
    missing = app.get("/nothing-here")
    assert missing.status == 404
    assert "Not here" in missing.text
    for path in ("/.git/config", "/../etc/passwd", "/%2e%2e/etc/passwd"):
        assert app.get(path).status in {400, 403, 404}, path


def test_a_dockerfile_is_built_in_stages(app: App) -> None:
    app.platform.paas("apps:create", app.name)
    app.paas("config:set", "EDITION=second")
    push = app.deploy("dockerfile", "one")
    page = app.get()
    assert page.status == 200
    assert "<h1>Version one</h1>" in page.text
    assert "Edition: second" in page.text, f"the build argument did not come from the config vars:\n{push.text}"
    files = app.get("/files").text.split()
    assert "./private/shown.txt" in files
    assert "./private/hidden.txt" not in files, ".dockerignore was not followed"
    assert "./NOTES.md" not in files

    with steady_load(app):
        app.edit("Dockerfile", "ENV PYTHONUNBUFFERED=1", "RUN exit 7")
        app.commit("Break a step.")
        failed = app.push().failed()
    assert re.search(r"\b7\b", "\n".join(failed.complaints)), failed.text
    assert app.get().status == 200
    app.comes_to_rest()


def test_odd_apps_are_looked_after(new_app: Callable[[], App]) -> None:
    """Three at once, because each of them needs patience: one boots slowly, one makes zombies, one won't stop."""
    stubborn, slow, zombies = new_app(), new_app(), new_app()
    stubborn.deploy("ignores-sigterm", "one")
    old = stubborn.instances("web")[0]["Id"]
    stubborn.deploy(version="two")
    replaced = time.monotonic()
    assert stubborn.answers(version="two")

    slow_push = slow.use("slow-boot")
    slow_push.commit()
    pushing = slow.start_push()

    zombies.deploy("zombies")
    assert zombies.get("/make").json == {"defunct": 0}, "process 1 does not reap"

    pushing.succeeded()
    assert slow.answers(version="1")
    assert pushing.seconds > 8

    def killed() -> bool:
        return old not in {c["Id"] for c in stubborn.platform.containers(f"paas.app={stubborn.name}")}

    wait_until(killed, "the old instance is gone", seconds=45)
    assert time.monotonic() - replaced < 45
    assert stubborn.answers(version="two")
    for app in (stubborn, slow, zombies):
        app.comes_to_rest()
