"""The stock Heroku CLI, unmodified, against the platform: each command's words, and that nothing is told to strangers."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.browser import Person, Visitor, make_person
from tests.e2e.harness import App, Platform, Result, wait_until
from tests.e2e.heroku import Heroku, Tunnel, exports, together
from tests.e2e.heroku_table import line_for, table

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="session")
def _heroku(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Heroku:
    return Heroku(platform, tmp_path_factory.mktemp("heroku"))


@pytest.fixture
def heroku(_heroku: Heroku) -> Iterator[Heroku]:
    """As somebody has it who did what the how-to says. No test makes it tell a stranger anything."""
    yield _heroku
    assert _heroku.strangers() == set()


@pytest.fixture
def made(heroku: Heroku, new_app: Callable[[], App]) -> App:
    """An app without code, made by the CLI."""
    app = new_app()
    heroku("apps:create", app.name, "--no-remote")
    return app


class Shipped:
    """An app with `web` and `worker` that was created, pushed and is looked at by the CLI; the work tree is a clone's."""

    def __init__(self, heroku: Heroku, app: App) -> None:
        self.app, self.name = app, app.name
        created = heroku("apps:create", app.name, cwd=app.folder)
        assert f"{app.name}.git" in created.out
        app.use("multi").set_version("one").commit("First.")
        self.pushed = heroku.run(["git", "push", "heroku", "main"], cwd=app.folder, seconds=240)
        wait_until(lambda: app.answers(version="one"), "the app answers")


@pytest.fixture(scope="session")
def _shipped(_heroku: Heroku, platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    app = App(platform, tmp_path_factory.mktemp("shipped"))
    try:
        yield Shipped(_heroku, app)
    finally:
        app.destroy()


@pytest.fixture
def shipped(heroku: Heroku, _shipped: Shipped) -> Shipped:
    return _shipped


def words(result: Result) -> str:
    """All that it said, on one line, without the CLI's ornaments."""
    return " ".join(re.sub(r"[⬢›▸⣾⣽⣻⢿⡿⣟⣯⣷]", " ", result.text).split())


def as_somebody_else(heroku: Heroku, person: Person) -> Heroku:
    script = heroku.platform.paas("heroku-env", "--email", person.email).out
    return heroku.without(HEROKU_API_KEY=exports(script, heroku.home)["HEROKU_API_KEY"])


def accept(heroku: Heroku, app: App) -> None:
    """A transfer: the CLI has no command for it, on Heroku one does it in the browser."""
    with heroku.platform.http(heroku.environment["HEROKU_API_KEY"]) as api:
        offered = [each["id"] for each in api.get("/account/app-transfers").json() if each["app"]["name"] == app.name]
        answer = api.patch(f"/account/app-transfers/{offered[0]}", json={"state": "accepted"})
        assert answer.status_code == 200, answer.text


# The table and the strangers


def test_the_table_has_every_command_of_the_cli(heroku: Heroku):
    groups: dict[tuple[str, ...], set[str]] = {}
    for command in json.loads(heroku("commands", "--json").out):
        groups.setdefault((command["pluginName"], *command["relativePath"]), set()).add(command["id"])
    lines, spoken_of = table(), set()
    for names in groups.values():
        found = {line for name in names if (line := line_for(name, lines))}
        exact = {line for line in found if not line.endswith("*")} or found
        assert len(exact) == 1, f"{names} should have one line in the table, not {exact}"
        spoken_of |= exact
    assert set(lines) == spoken_of, "the table speaks of commands that there are not"


def test_the_watch_sees_what_would_leave_the_machine(heroku: Heroku, tmp_path: Path):
    """So that the other tests can fail: without one of the variables the token would go to Heroku."""
    careless = Heroku(heroku.platform, tmp_path, heroku.settings)
    careless.without("HEROKU_PARTICLEBOARD_URL")("apps")
    assert careless.strangers() == {"particleboard.heroku.com"}
    misled = Heroku(heroku.platform, tmp_path / "other", heroku.settings | {"HEROKU_HOST": "https://paas.example.com"})
    misled("apps", code=None)
    assert "api.heroku.com" in misled.strangers()


# Login and account


def test_somebody_logs_in_by_password_and_out(heroku: Heroku, platform: Platform, tmp_path: Path):
    person = make_person(platform)
    mine = Heroku(platform, tmp_path, {k: v for k, v in heroku.settings.items() if k != "HEROKU_API_KEY"})
    with mine.terminal("login", "-i") as terminal:
        terminal.wait_for("Email")
        terminal.send(f"{person.email}\n")
        terminal.wait_for("Password")
        terminal.send(f"{person.password}\n")
        terminal.wait_for(f"Logged in as {person.email}")
        assert terminal.end() == 0
    netrc = (mine.home / ".netrc").read_text()
    assert f"machine {urlsplit(heroku.settings['HEROKU_HOST']).netloc}" in netrc
    who, token, two_factor, apps = together(
        lambda: mine("auth:whoami"), lambda: mine("auth:token"), lambda: mine("auth:2fa"), lambda: mine("apps")
    )
    assert who.out.strip() == person.email
    assert token.out.strip() in netrc
    assert "not enabled" in words(two_factor)
    assert apps.out.strip() == "You have no apps."
    mine("auth:logout")
    assert "not logged in" in mine("whoami", code=100).err
    answer = heroku.without(HEROKU_API_KEY=token.out.strip())("auth:whoami", code=None)
    assert answer.code != 0, "the token should be worthless by now"
    assert mine.strangers() == set()


def test_a_wrong_password_is_refused(heroku: Heroku, platform: Platform, tmp_path: Path):
    person = make_person(platform)
    mine = Heroku(platform, tmp_path, {k: v for k, v in heroku.settings.items() if k != "HEROKU_API_KEY"})
    with mine.terminal("auth:login", "-i") as terminal:
        terminal.wait_for("Email")
        terminal.send(f"{person.email}\n")
        terminal.wait_for("Password")
        terminal.send("not that one\n")
        assert terminal.end() != 0
    assert not (mine.home / ".netrc").exists() or "password" not in (mine.home / ".netrc").read_text()
    assert mine.strangers() == set()


def test_somebody_logs_in_by_browser(heroku: Heroku, visitor: Visitor, admin: Person, tmp_path: Path):
    """The address that the CLI opens leads to a page of the dashboard; this browser goes there directly."""
    seen, browser = tmp_path / "seen", tmp_path / "open"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}\n')
    browser.chmod(0o755)
    mine = Heroku(heroku.platform, tmp_path, {k: v for k, v in heroku.settings.items() if k != "HEROKU_API_KEY"})
    with mine.without(BROWSER=str(browser)).terminal("login") as terminal:
        terminal.wait_for("How would you like to log in|any key")
        terminal.send("b")
        address = wait_until(lambda: seen.read_text() if seen.exists() else "", "the browser opens")
        page = visitor.open(f"/login/programs/{address.rpartition('/')[2]}")
        page.get_by_role("button", name="Yes, sign it in").click()
        terminal.wait_for(f"Logged in as {admin.email}")
        assert terminal.end() == 0
    assert mine("whoami").out.strip() == admin.email
    assert mine.strangers() == set()


def test_sessions_are_those_of_the_dashboard(heroku: Heroku, platform: Platform, stranger: Visitor):
    person = make_person(platform)
    stranger.sign_in(person)
    mine = as_somebody_else(heroku, person)
    sessions = mine.json("sessions")
    assert len(sessions) == 1
    assert sessions[0]["id"] in mine("sessions").out
    assert "done" in words(mine("sessions:destroy", sessions[0]["id"]))
    assert mine("sessions").out.strip() == "No OAuth sessions."
    page = stranger.open("/")
    assert page.get_by_label("Password").is_visible()


def test_authorizations_are_tokens(heroku: Heroku):
    name = f"t-{uuid.uuid4().hex[:8]}"
    created = heroku.json("authorizations:create", "-d", name, "-e", "3600")
    token, identity = created["access_token"]["token"], created["id"]
    assert created["access_token"]["expires_in"] in range(3500, 3601)
    listed, shown, used = together(
        lambda: heroku("authorizations"),
        lambda: heroku("authorizations:info", identity),
        lambda: heroku.without(HEROKU_API_KEY=token)("whoami"),
    )
    assert name in listed.out
    assert f"Description: {name}" in words(shown)
    assert token not in listed.out + shown.out, "a token is shown once"
    assert "@" in used.out
    assert f"Description: {name}-2" in words(heroku("authorizations:update", identity, "-d", f"{name}-2"))
    rotated = re.search(r"Token:\s+(\S+)", heroku("authorizations:rotate", identity).out).group(1)
    old, new = together(
        lambda: heroku.without(HEROKU_API_KEY=token)("whoami", code=None),
        lambda: heroku.without(HEROKU_API_KEY=rotated)("whoami"),
    )
    assert "Invalid credentials" in words(old)
    assert "@" in new.out
    assert f"revoked authorization from {name}-2" in words(heroku("authorizations:revoke", identity))
    assert "Invalid credentials" in words(heroku.without(HEROKU_API_KEY=rotated)("whoami", code=2))
    assert heroku.without(HEROKU_API_KEY=heroku("authorizations:create", "--short", "-d", name).out.strip())("whoami")


def test_keys_are_for_ssh(heroku: Heroku, platform: Platform, tmp_path: Path):
    person = make_person(platform)
    mine = as_somebody_else(heroku, person)
    for name in ("one", "two"):
        mine.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name}@laptop", "-f", str(tmp_path / name)])
    assert "Uploading" in words(mine("keys:add", str(tmp_path / "one.pub")))
    mine("keys:add", str(tmp_path / "two.pub"))
    listed, as_json = together(lambda: mine("keys"), lambda: mine.json("keys"))
    assert "one@laptop" in listed.out
    assert f"{person.email} keys" in listed.out
    assert {key["comment"] for key in as_json} == {"one@laptop", "two@laptop"}
    mine("keys:remove", "one@laptop")
    assert "one@laptop" not in mine("keys").out
    mine("keys:clear")
    assert "You have no SSH keys" in words(mine("keys"))
    (tmp_path / "bad.pub").write_text("not a key\n")
    refused = mine("keys:add", str(tmp_path / "bad.pub"), code=2)
    assert "invalid" in refused.err.lower()


def test_what_there_is_none_of_is_an_empty_list(heroku: Heroku, made: App):
    clients, teams, orgs, spaces, services = together(
        lambda: heroku("clients"),
        lambda: heroku.json("teams"),
        lambda: heroku.json("orgs"),
        lambda: heroku("spaces", "--json"),
        lambda: heroku.json("addons:services"),
    )
    assert "No OAuth clients." in clients.out
    assert (teams, orgs, json.loads(spaces.out), services) == ([], [], [], [])
    features, labs, certificates, addons = together(
        lambda: heroku.json("features", "-a", made.name),
        lambda: heroku.json("labs", "-a", made.name),
        lambda: heroku("certs", "-a", made.name),
        lambda: heroku("addons", "-a", made.name),
    )
    assert features == []
    assert labs["app"] == []
    assert "has no SSL certificates" in words(certificates)
    assert "No add-ons for app" in addons.out


def test_regions_and_status(heroku: Heroku):
    regions, status = together(lambda: heroku.json("regions"), lambda: heroku("status"))
    assert len(regions) == 1
    assert status.out.count("No known issues at this time.") >= 1
    assert status.err.strip() == "" or "Error" not in status.err


# Apps


def test_apps_are_created_listed_shown_renamed_and_destroyed(heroku: Heroku, new_app: Callable[[], App]):
    first, second = new_app(), new_app()
    created = heroku("apps:create", first.name, "--region", "local", "--no-remote")
    assert f"Creating {first.name}... done" in words(created)
    assert f"{first.name}.git" in created.out
    as_json = json.loads(heroku("apps:create", second.name, "--no-remote", "--json").out)
    assert as_json["name"] == second.name
    taken, unknown, listed, everything, shown, as_shell = together(
        lambda: heroku("apps:create", first.name, "--no-remote", code=2),
        lambda: heroku("apps:info", "-a", "no-such-app-x", code=2),
        lambda: heroku("apps"),
        lambda: heroku.json("apps", "--all"),
        lambda: heroku("apps:info", "-a", first.name),
        lambda: heroku("info", "-s", "-a", first.name),
    )
    assert "taken" in taken.err
    assert "no-such-app-x" in unknown.err
    assert "Error ID: not_found" in unknown.err
    assert first.name in listed.out
    assert {first.name, second.name} <= {app["name"] for app in everything}
    assert f"Web URL: {as_json['web_url'].replace(second.name, first.name)}" in words(shown)
    values = dict(line.split("=", 1) for line in as_shell.out.splitlines())
    assert values["web_url"] == as_json["web_url"].replace(second.name, first.name)
    assert values["region"] == "local"
    assert values["owner"] == as_json["owner"]["email"]

    name = f"{second.name}-b"
    renamed = heroku("apps:rename", name, "-a", second.name)
    assert f"Renaming {second.name} to {name}... done" in words(renamed)
    second.name = name
    wrong = heroku("apps:destroy", "-a", name, "--confirm", first.name, code=None)
    assert wrong.code != 0
    assert f"Destroying {name} (including all add-ons)... done" in words(
        heroku("apps:destroy", "-a", name, "--confirm", name)
    )
    assert name not in heroku("apps").out


def test_a_random_name_is_found(heroku: Heroku, new_app: Callable[[], App]):
    app = new_app()
    app.name = json.loads(heroku("create", "--no-remote", "--json").out)["name"]
    assert re.fullmatch(r"[a-z][a-z0-9-]+", app.name)


def test_an_app_is_opened_in_the_browser(heroku: Heroku, made: App, tmp_path: Path):
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}\n')
    browser.chmod(0o755)
    opened = heroku.without(BROWSER=str(browser), PATH=f"{tmp_path}:{heroku.environment['PATH']}")
    opened("apps:open", "-a", made.name, "/hello")
    address = wait_until(lambda: seen.read_text() if seen.exists() else "", "the browser opens")
    assert urlsplit(address).path == "/hello"
    assert made.host in address


def test_stack_region_and_buildpacks(heroku: Heroku, made: App):
    stacks = heroku("apps:stacks", "-a", made.name)
    current = re.search(r"^\* (\S+)", stacks.out, re.MULTILINE).group(1)
    assert "done" in words(heroku("apps:stacks:set", current, "-a", made.name))
    unknown = heroku("stack:set", "cobol-60", "-a", made.name, code=2)
    assert "cobol-60" in unknown.err
    assert "no Buildpacks" in words(heroku("buildpacks", "-a", made.name))
    heroku("buildpacks:set", "heroku/python", "-a", made.name)
    heroku("buildpacks:add", "heroku/nodejs", "-a", made.name)
    listed = heroku("buildpacks", "-a", made.name).out
    assert listed.index("heroku/python") < listed.index("heroku/nodejs")
    heroku("buildpacks:remove", "heroku/python", "-a", made.name)
    assert "heroku/python" not in heroku("buildpacks", "-a", made.name).out
    heroku("buildpacks:clear", "-a", made.name)
    assert "no Buildpacks" in words(heroku("buildpacks", "-a", made.name))
    assert "No buildpacks found" in heroku("buildpacks:search", "cobol").out


def test_config_is_set_read_edited_and_unset(heroku: Heroku, made: App, tmp_path: Path):
    here = ("-a", made.name)
    done = heroku("config:set", "FOO=bar", "BAZ=a b=c", *here)
    assert re.search(r"Setting FOO, BAZ and restarting \S+\.\.\. done, v\d+", words(done)), done.text
    shown, as_json, as_shell, one, none = together(
        lambda: heroku("config", *here),
        lambda: heroku.json("config", *here),
        lambda: heroku("config", "-s", *here),
        lambda: heroku("config:get", "BAZ", *here),
        lambda: heroku("config:get", "NOPE", *here),
    )
    assert "FOO: bar" in words(shown)
    assert as_json == {"FOO": "bar", "BAZ": "a b=c"}
    assert set(as_shell.out.splitlines()) == {"FOO=bar", "BAZ='a b=c'"}
    assert (one.out, none.out) == ("a b=c\n", "\n")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i -e \'/^FOO=/d\' "$1"\necho EDITED=yes >> "$1"\n')
    editor.chmod(0o755)
    with heroku.without(EDITOR=str(editor), VISUAL=str(editor)).terminal("config:edit", *here) as terminal:
        terminal.wait_for("Update config on")
        terminal.send("y\n")
        terminal.wait_for("done")
        assert terminal.end() == 0
    assert heroku.json("config", *here) == {"BAZ": "a b=c", "EDITED": "yes"}
    assert re.search(r"done, v\d+", words(heroku("config:unset", "BAZ", *here)))
    assert heroku.json("config", *here) == {"EDITED": "yes"}


def test_people_get_access_and_an_app(heroku: Heroku, platform: Platform, made: App):
    person = make_person(platform)
    here = ("-a", made.name)
    assert "done" in words(heroku("access:add", person.email, *here))
    assert person.email in heroku("access", *here).out
    assert "done" in words(heroku("access:remove", person.email, *here))
    assert person.email not in heroku("access", *here).out
    stranger = heroku("access:add", f"new-{person.email}", *here)
    assert "Send them this link" in words(stranger)

    transferred = heroku("apps:transfer", person.email, *here)
    assert f"Initiating transfer of {made.name} to {person.email}... email sent" in words(transferred)
    theirs = as_somebody_else(heroku, person)
    accept(theirs, made)
    assert theirs.json("apps:info", *here)["app"]["owner"]["email"] == person.email
    mine = heroku("whoami").out.strip()
    assert mine in theirs("access", *here).out
    assert "done" in words(heroku("apps:leave", *here))
    assert mine not in theirs("access", *here).out
    theirs("destroy", *here, "--confirm", made.name)


def test_maintenance(heroku: Heroku, shipped: Shipped):
    here = ("-a", shipped.name)
    assert "Enabling maintenance mode" in words(heroku("maintenance:on", *here))
    wait_until(lambda: shipped.app.get().status == 503, "visitors are told")
    assert heroku("maintenance", *here).out == "on\n"
    assert "done" in words(heroku("maintenance:off", *here))
    wait_until(lambda: shipped.app.get().status == 200, "visitors are let in")


def test_domains(heroku: Heroku, made: App, new_app: Callable[[], App]):
    here, name, second = ("-a", made.name), f"www.{made.name}.example", new_app()
    heroku("create", second.name, "--no-remote")
    added = heroku("domains:add", name, *here)
    assert f"Adding {name} to {made.name}... done" in words(added)
    listed, shown, waited, taken = together(
        lambda: heroku("domains", *here),
        lambda: heroku("domains:info", name, *here),
        lambda: heroku("domains:wait", name, *here),
        lambda: heroku("domains:add", name, "-a", second.name, code=None),
    )
    assert made.host in listed.out
    assert name in listed.out
    assert f"hostname: {name}" in words(shown)
    assert waited.code == 0
    assert taken.code != 0
    assert "Error" in taken.err
    other = f"api.{made.name}.example"
    assert json.loads(heroku("domains:add", other, *here, "--json").out)["hostname"] == other
    assert "done" in words(heroku("domains:remove", other, *here))
    heroku("domains:clear", *here)
    assert name not in heroku("domains", *here).out


# By name, from another machine


@pytest.fixture
def remote(platform: Platform, tmp_path: Path) -> Iterator[Heroku]:
    """As somebody elsewhere has it: names below localhost.DOMAIN, port 443, the root certificate as the how-to says.
    Names and port lead to the platform in these programs alone; nothing of the machine changes."""
    domain, port = platform.env.heroku_domain, platform.env.https_port
    hosts = {name: {443: port} for name in (f"api.{domain}", f"git.{domain}", f"registry.{domain}", domain)}
    home = tmp_path / "home"
    script = platform.paas("heroku-env", "--remote", environment={"PAAS_HTTPS_PORT": "443"}).out
    settings = exports(script, home)
    ca = Path(settings["NODE_EXTRA_CA_CERTS"])
    ca.parent.mkdir(parents=True)
    ca.write_bytes(platform.get(f"dashboard.{platform.domain}", "/ca.pem").body)
    tunnel = Tunnel(hosts)
    git = {"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_1": "http.proxy", "GIT_CONFIG_VALUE_1": tunnel.url}
    heroku = Heroku(platform, tmp_path, settings | git, hosts)
    heroku.stand_in_for_docker(f"registry.{domain}", f"localhost:{platform.env.api_port}")
    yield heroku
    tunnel.close()
    assert heroku.strangers() == set()
    assert tunnel.asked <= set(hosts)


def test_by_name_an_app_is_created_pushed_and_run(remote: Heroku, new_app: Callable[[], App]):
    app = new_app()
    remote("apps:create", app.name, cwd=app.folder)
    domain = app.platform.env.heroku_domain
    assert f"https://git.{domain}/{app.name}.git" in remote.run(["git", "remote", "-v"], cwd=app.folder).out
    app.use("multi").set_version("far").commit()
    remote.run(["git", "push", "heroku", "main"], cwd=app.folder, seconds=240)
    here = ("-a", app.name)
    who, ps, run, logs, config = together(
        lambda: remote("whoami"),
        lambda: remote("ps", *here),
        lambda: remote("run", *here, "--", "echo from-afar"),
        lambda: remote("logs", *here),
        lambda: remote("config:set", "GREETING=Hi", *here),
    )
    assert "@" in who.out
    assert "web.1: up" in ps.out
    assert "from-afar" in run.out
    assert "web: version far listens" in logs.out
    assert "done, v" in words(config)
    wait_until(lambda: app.answers(version="far", greeting="Hi"), "the app is told")
    assert f"api.{domain}" in remote.hosts_tried()


def test_by_name_an_image_is_pushed_and_released(remote: Heroku, new_app: Callable[[], App]):
    app = new_app()
    here = ("-a", app.name)
    assert "Login Succeeded" in remote("container:login").text
    remote("apps:create", app.name, "--stack", "container", "--no-remote")
    shutil.copy(shutil.which("busybox") or "", app.folder / "busybox")
    (app.folder / "index.html").write_text("<h1>From an image</h1>")
    (app.folder / "Dockerfile").write_text(
        "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/busybox\nCOPY index.html /www/index.html\n"
        'CMD ["/bin/sh", "-c", "exec busybox httpd -f -p $PORT -h /www"]\n'
    )
    pushed = remote("container:push", "web", *here, cwd=app.folder, seconds=180)
    assert "Your image has been successfully pushed" in pushed.out
    released = remote("container:release", "web", *here, seconds=180)
    assert f"Releasing images web to {app.name}... done" in words(released)
    wait_until(lambda: "From an image" in app.get().text, "visitors see the image")
    remote("container:pull", "web", *here, seconds=180)
    remote("container:rm", "web", *here)
    remote("container:logout")
    remote.run(["docker", "image", "rm", "--force", f"registry.{app.platform.env.heroku_domain}/{app.name}/web"])


# Deploying and running


def test_git_pushes_through_the_api_door_and_clones(heroku: Heroku, shipped: Shipped, tmp_path: Path):
    assert "live" in shipped.pushed.err, shipped.pushed.text
    remote = heroku("git:remote", "-a", shipped.name, "-r", "again", cwd=shipped.app.folder)
    assert f"{shipped.name}.git" in remote.out
    again = heroku.run(["git", "push", "again", "main"], cwd=shipped.app.folder)
    assert "Everything up-to-date" in again.err
    heroku("git:clone", "-a", shipped.name, str(tmp_path / "clone"))
    assert (tmp_path / "clone" / "Procfile").read_text() == (shipped.app.folder / "Procfile").read_text()
    host = urlsplit(heroku.settings["HEROKU_HOST"]).netloc
    credentials = heroku("git:credentials", "get", text=f"protocol=https\nhost={host}\n\n")
    assert "password=" in credentials.out


def test_releases_are_listed_shown_and_rolled_back(heroku: Heroku, shipped: Shipped):
    here = ("-a", shipped.name)
    before = heroku.json("releases", *here)[0]["version"]
    heroku("config:set", "GREETING=Hi", *here)
    wait_until(lambda: shipped.app.answers(greeting="Hi"), "the app is told")
    listed, newest, one, output = together(
        lambda: heroku("releases", "-n", "2", *here),
        lambda: heroku("releases:info", *here),
        lambda: heroku("releases:info", f"v{before}", "--json", *here),
        lambda: heroku("releases:output", f"v{before}", *here, code=None),
    )
    assert f"v{before + 1}" in listed.out
    assert "GREETING" in listed.out
    assert f"=== Release v{before + 1}" in newest.out
    assert "GREETING" in newest.out
    assert json.loads(one.out)["version"] == before
    assert "no release output" in words(output) or output.code == 0
    back = heroku("releases:rollback", f"v{before}", *here)
    assert f"Rolling back {shipped.name} to v{before}... done, v{before + 2}" in words(back)
    wait_until(lambda: shipped.app.answers(greeting="Hello"), "the release from before")
    undone = heroku("rollback", *here)
    assert f"done, v{before + 3}" in words(undone)
    heroku("config:unset", "GREETING", *here)
    wait_until(lambda: shipped.app.answers(greeting="Hello"), "as it was")


def test_the_release_command_is_seen(heroku: Heroku, new_app: Callable[[], App]):
    app = new_app()
    heroku("create", app.name, cwd=app.folder)
    app.use("multi")
    with (app.folder / "Procfile").open("a") as file:
        file.write("release: echo the release command of $PAAS_RELEASE ran\n")
    app.commit()
    heroku.run(["git", "push", "heroku", "main"], cwd=app.folder, seconds=240)
    here = ("-a", app.name)
    assert "the release command of v" in heroku("releases:output", *here).out


def test_the_formation_is_shown_scaled_restarted_and_stopped(heroku: Heroku, shipped: Shipped):
    app, here = shipped.app, ("-a", shipped.name)
    scaled = heroku("ps:scale", "web=2", "worker=1", *here)
    assert re.search(r"done, now running web at 2:\S+, worker at 1:\S+", words(scaled)), scaled.text
    wait_until(lambda: len(app.instances("web")) == 2, "two of them")
    heroku("ps:wait", *here)
    shown, as_json, one, formation = together(
        lambda: heroku("ps", *here),
        lambda: heroku.json("ps", *here),
        lambda: heroku("ps", "worker", *here),
        lambda: heroku("ps:scale", *here),
    )
    assert re.search(r"^=== web \(\S+\): python web.py \(2\)", shown.out, re.MULTILINE)
    assert re.search(r"^web\.1: up \d{4}/\d\d/\d\d ", shown.out, re.MULTILINE), shown.out
    assert {dyno["name"] for dyno in as_json} == {"web.1", "web.2", "worker.1"}
    assert "web" not in one.out
    assert "web=2:" in formation.out
    relative = heroku("ps:scale", "web-1", "worker-1", *here)
    assert "web at 1" in words(relative)
    unknown = heroku("ps:scale", "nosuch=1", *here, code=2)
    assert "nosuch" in unknown.err
    assert "web" in heroku("ps:type", *here).out

    before = {c["Id"] for c in app.instances("web")}
    assert "done" in words(heroku("ps:restart", *here))
    wait_until(lambda: app.instances("web") and not before & {c["Id"] for c in app.instances("web")}, "they are new ones")
    before = {c["Id"] for c in app.instances("web")}
    heroku("ps:restart", "--process-type", "web", *here)
    wait_until(lambda: app.instances("web") and not before & {c["Id"] for c in app.instances("web")}, "they are new ones")
    before = {c["Id"] for c in app.instances("web")}
    heroku("ps:stop", "--dyno-name", "web.1", *here)
    wait_until(lambda: not before & {c["Id"] for c in app.instances("web")}, "it was stopped")


def test_a_command_runs_on_a_terminal(heroku: Heroku, shipped: Shipped):
    with heroku.terminal("run", "-a", shipped.name, "--", "sh") as terminal:
        terminal.wait_for("Running")
        terminal.wait_for(r"[$#] $")
        terminal.send("tput cols 2>/dev/null || stty size; echo $((20+3))\n")
        terminal.wait_for("^23$")
        terminal.send("trap 'echo caught' INT; sleep 60\n")
        terminal.wait_for("sleep 60")
        terminal.send("\x03")
        terminal.wait_for("^.*caught")
        terminal.send("exit\n")
        terminal.end()


def test_a_command_runs_with_pipes_and_exit_codes(heroku: Heroku, shipped: Shipped):
    here = ("-a", shipped.name)
    said, code, zero, piped = together(
        lambda: heroku("run", *here, "-e", "X=E1", "--", "echo hello-$X-$PAAS_INSTANCE"),
        lambda: heroku("run", "-x", *here, "--", 'sh -c "exit 7"', code=7),
        lambda: heroku("run", "-x", *here, "--", "echo fine", code=0),
        lambda: heroku("run", "--no-tty", *here, "--", "cat", text="one\ntwo\n"),
    )
    assert re.search(r"hello-E1-run\.\d+", said.out), said.text
    assert code.code == 7
    assert "fine" in zero.out
    assert "one\ntwo\n" in piped.out.replace("\r", "")


def test_a_detached_run_and_the_log(heroku: Heroku, shipped: Shipped):
    here = ("-a", shipped.name)
    marker = uuid.uuid4().hex
    with heroku.terminal("logs", "--tail", *here) as tail:
        tail.wait_for(r"app\[web\.1\]: web: version")
        detached = heroku("run:detached", *here, "--", f"echo detached-{marker}")
        name = re.search(r"run\.\d+", detached.text).group()
        tail.wait_for(rf"app\[{re.escape(name)}\]: detached-{marker}")
    recent, of_one, few, of_type, platforms = together(
        lambda: heroku("logs", "-n", "500", *here),
        lambda: heroku("logs", "-d", name, *here),
        lambda: heroku("logs", "-n", "1", *here),
        lambda: heroku("logs", "-p", "worker", "-n", "50", *here),
        lambda: heroku("logs", "-s", "app", "-n", "500", *here),
    )
    assert f"detached-{marker}" in recent.out
    assert all(f"[{name}]" in line for line in of_one.out.splitlines() if line)
    assert f"detached-{marker}" in of_one.out
    assert len(few.out.strip().splitlines()) == 1
    assert all("[worker." in line for line in of_type.out.splitlines() if line)
    assert all(re.match(r"\S+ app\[", line) for line in platforms.out.splitlines() if line)
    assert recent.out.splitlines()[0][:19] <= recent.out.splitlines()[-1][:19], "oldest first"


def test_drains(heroku: Heroku, made: App):
    here, url = ("-a", made.name), "https://user:secret@logs.example.com/x?y=z"
    assert "Successfully added drain" in heroku("drains:add", url, *here).out
    shown, as_json = together(lambda: heroku("drains", *here), lambda: heroku.json("drains", *here))
    assert "logs.example.com" in shown.out
    assert [drain["url"] for drain in as_json] == [url]
    assert "Successfully removed drain" in heroku("drains:remove", url, *here).out
    assert heroku.json("drains", *here) == []


def test_webhooks(heroku: Heroku, shipped: Shipped):
    here, url = ("-a", shipped.name), "https://hooks.example.com/paas"
    added = heroku("webhooks:add", "-i", "api:release", "-l", "notify", "-u", url, *here)
    assert "Signing Secret" in words(added)
    listed = heroku("webhooks", *here)
    assert url in listed.out
    identity = UUID.search(listed.out).group()
    assert "api:release" in heroku("webhooks:info", identity, *here).out
    heroku("webhooks:update", identity, "-i", "api:release,dyno", "-l", "sync", "-u", f"{url}/2", *here)
    assert f"{url}/2" in heroku("webhooks:info", identity, *here).out
    heroku("config:set", "WEBHOOK=1", *here)
    deliveries = wait_until(
        lambda: listed.out if "api:release" in (listed := heroku("webhooks:deliveries", *here)).out else "",
        "a delivery is tried", 60,
    )  # fmt: skip
    events = heroku("webhooks:events", *here)
    assert "release" in events.out
    delivery, event = together(
        lambda: heroku("webhooks:deliveries:info", UUID.search(deliveries).group(), *here),
        lambda: heroku("webhooks:events:info", UUID.search(events.out).group(), *here),
    )
    assert f"Webhook: {identity}" in words(delivery)
    assert shipped.name in event.out
    assert "done" in words(heroku("webhooks:remove", identity, *here))
    assert "has no webhooks" in words(heroku("webhooks", *here))


def test_a_pipeline_is_made_promoted_and_destroyed(heroku: Heroku, shipped: Shipped, made: App):
    name = f"p-{uuid.uuid4().hex[:8]}"
    created = heroku("pipelines:create", name, "-a", shipped.name, "-s", "staging")
    assert f"Creating {name} pipeline... done" in words(created)
    heroku("pipelines:add", name, "-a", made.name, "-s", "production")
    listed, shown = together(lambda: heroku("pipelines"), lambda: heroku("pipelines:info", name))
    assert name in listed.out
    assert re.search(rf"{shipped.name}\s+staging", shown.out), shown.out
    assert re.search(rf"{made.name}\s+production", shown.out), shown.out
    promoted = heroku("pipelines:promote", "-a", shipped.name, seconds=180)
    assert "Promotion successful" in promoted.text
    assert f"{made.name}: succeeded" in words(promoted)
    wait_until(lambda: made.answers(version="one"), "the other app runs the same code")
    heroku("pipelines:update", "-a", made.name, "-s", "staging")
    heroku("pipelines:rename", name, f"{name}-2")
    assert "done" in words(heroku("pipelines:remove", "-a", made.name))
    assert f"Destroying {name}-2 pipeline... done" in words(heroku("pipelines:destroy", f"{name}-2"))


def test_two_apps_are_compared(heroku: Heroku, shipped: Shipped, made: App):
    heroku("config:set", "ONLY_HERE=1", "-a", made.name)
    difference = heroku("apps:diff", shipped.name, made.name)
    assert "ONLY_HERE" in difference.out


REFUSED = (
    ("addons:create", "heroku-postgresql"),
    ("certs:auto:enable",),
    ("features:enable", "preboot"),
    ("labs:enable", "no-such-lab"),
    ("access:update", "somebody@example.com", "-p", "deploy"),
    ("apps:lock",),
    ("telemetry",),
    ("releases:retry",),
    ("ps:exec",),
    ("pg:reset", "--confirm", "x"),
)


def test_what_is_refused_is_refused_in_words(heroku: Heroku, made: App):
    def refusal(command: tuple[str, ...]) -> Callable[[], Result]:
        return lambda: heroku(*command, "-a", made.name, code=None)

    for command, result in zip(REFUSED, together(*map(refusal, REFUSED)), strict=True):
        assert result.code != 0, f"{command}: {result.text}"
        assert "Error: " in result.err, f"{command}: {result.text}"
        assert line_for(command[0], table()), command
        assert table()[line_for(command[0], table()) or ""] == "refused", command
