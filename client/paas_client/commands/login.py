"""login, logout, whoami, platforms: who one is, and where."""

from __future__ import annotations

import base64
import os
import platform as this_machine
import sys
import time
import webbrowser
from dataclasses import replace
from urllib.parse import urlsplit

import click

from paas_client import settings, tls
from paas_client.api import Api, Record, compact
from paas_client.errors import PlatformProblem, Problem, UserProblem
from paas_client.options import command, json_option
from paas_client.output import say, show, show_json, table
from paas_client.session import RemoteDoor, current
from paas_client.settings import Platform

DAYS = 90
BROWSER_SECONDS = 300
CA_PATH = "/ca.pem"


@command("login")
@click.argument("url", required=False)
@click.option("--name", help="What to call this platform from now on; its host name when left out.")
@click.option("--email", help="Log in with this e-mail and the password, in the terminal.")
@click.option("--token", help="Use this token; - reads it from stdin.")
@click.option("--browser/--no-browser", default=None, help="Log in on the dashboard; done where there is a display.")
@click.option("--days", type=click.IntRange(1, 3650), default=DAYS, show_default=True, help="How long it is valid.")
@click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), help="The platform's CA, got in another way.")
@click.option("--fingerprint", help="Of the platform's CA (SHA-256): then nobody is asked whether it is right.")
def login(  # noqa: PLR0917  # click passes them by name
    url: str | None,
    name: str | None,
    email: str | None,
    token: str | None,
    browser: bool | None,
    days: int,
    ca_file: str | None,
    fingerprint: str | None,
) -> None:
    """Log in to a platform, by its address: paas login https://api.example.com."""
    known = settings.load()
    address = settings.api_url(url) if url else _known_url(known)
    before = next((each for each in known.platforms.values() if each.url == address), None)
    chosen = name or (before.name if before else urlsplit(address).netloc.removeprefix("api."))
    _refuse_plain(address)
    ca = _ca(
        address, chosen, ca_file or os.environ.get("PAAS_CA_FILE") or (before.ca_file if before else ""), fingerprint
    )
    make = current().transport
    anonymous = Api(address, transport=make(ca))
    if token is not None:
        grant: Record = {"token": sys.stdin.readline().strip() if token == "-" else token}  # noqa: S105
    elif email is None and _wants_browser(browser):
        grant = _by_browser(anonymous, forced=bool(browser)) or _by_password(anonymous, None, days)
    else:
        grant = _by_password(anonymous, email, days)
    api = Api(address, token=grant["token"], transport=make(ca))
    account = api.get("/account")
    settings.save(
        known.with_platform(
            Platform(
                name=chosen,
                url=address,
                token=grant["token"],
                token_id=grant.get("id", ""),
                email=account["email"],
                ca_file=ca,
                git_host=_git_host(api),
            )
        )
    )
    say(f"Logged in to {chosen} as {account['email']}.")


def _known_url(known: settings.Settings) -> str:
    if url := os.environ.get("PAAS_URL"):
        return settings.api_url(url)
    if known.default:
        return known.platforms[known.default].url
    raise UserProblem("Which platform?", hint="paas login https://api.example.com", id="no_url")


def _refuse_plain(address: str) -> None:
    """Passwords and tokens would be there for everybody on the way to read."""
    if address.startswith("http://") and not settings.is_loopback(address):
        raise UserProblem(
            f"{address} is not encrypted: everybody on the way could read your password.",
            hint=f"Use https://{address.removeprefix('http://')}, or a tunnel: ssh -L 5443:localhost:5443 HOST, and then"
            " paas login https://localhost:5443",
            id="not_encrypted",
        )


def _ca(address: str, name: str, given: str, fingerprint: str | None) -> str:
    """The file of the CA to trust there, "" for those of the system."""
    if given and not fingerprint:
        return str(os.path.abspath(given))  # noqa: PTH100  # it may be a link that is meant to be followed later
    if address.startswith("http://") or (not fingerprint and _is_trusted(address)):
        return ""
    pem = tls.fetch_ca(address, CA_PATH, current().unchecked())
    if pem is None:
        raise UserProblem(
            f"The certificate of {address} can't be trusted, and it has no CA of its own to offer.",
            hint="Its operator has to mend that. If you have its CA as a file: --ca-file ca.pem",
            id="untrusted_certificate",
        )
    shown = tls.fingerprint(pem)
    if fingerprint:
        if not tls.same(fingerprint, shown):
            raise UserProblem(
                f"The CA of {address} has another fingerprint: {shown}.",
                hint="Somebody may be in between. Nothing was sent to it.",
                id="wrong_fingerprint",
            )
    else:
        say(f"{address} has a certificate of a CA that this machine does not know. The CA's fingerprint (SHA-256):")
        say(f"  {shown}")
        say("It has to be the one that `paas host` prints on the platform's machine.")
        click.confirm("Is it?", abort=True, err=True)
    file = settings.folder() / f"{name.replace('/', '_')}.ca.pem"
    settings.write_private(file, pem)
    return str(file)


def _is_trusted(address: str) -> bool:
    """Whether the CAs of this system vouch for it."""
    try:
        Api(address, transport=current().transport("")).send("GET", CA_PATH)
    except Problem as exc:
        if exc.id == "untrusted_certificate":
            return False
        if exc.id in ("connection_refused", "unknown_host", "no_answer", "no_tls"):
            raise
    return True


def _wants_browser(browser: bool | None) -> bool:
    if browser is not None:
        return browser
    has_display = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return has_display and sys.stdin.isatty() and not os.environ.get("SSH_CONNECTION")


def _by_browser(api: Api, *, forced: bool) -> Record | None:
    """None where the platform has no such login, or no browser opens."""
    try:
        begun = api.send("POST", "/auth", body={"description": _description()}).json()
    except UserProblem:
        if forced:
            raise
        return None
    page = api.url + begun["browser_url"] if begun["browser_url"].startswith("/") else begun["browser_url"]
    if not webbrowser.open(page) and not forced:
        return None
    say(f"Log in with your browser: {page}")
    deadline = time.monotonic() + BROWSER_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = api.send("GET", begun["cli_url"], headers={"Authorization": f"Bearer {begun['token']}"}, once=True)
        except PlatformProblem:
            time.sleep(1)  # nobody has confirmed yet; the platform holds each question for a while
            continue
        if "access_token" not in answer.json():
            raise UserProblem(str(answer.json().get("error") or "The login was refused."), id="login_refused")
        return {"token": answer.json()["access_token"]}
    raise UserProblem("Nobody logged in within five minutes.", hint="Again: paas login", id="login_timeout")


def _by_password(api: Api, email: str | None, days: int) -> Record:
    who = email or click.prompt("E-mail", err=True)
    password = click.prompt("Password", hide_input=True, err=True)
    basic = base64.b64encode(f"{who}:{password}".encode()).decode()
    body = {"description": _description(), "expires_in": days * 24 * 3600, "scope": ["global"]}
    headers = {"Authorization": f"Basic {basic}"}
    try:
        answer = api.send("POST", "/oauth/authorizations", body=body, headers=headers)
    except UserProblem as exc:
        if exc.id in ("second_step_needed", "two_factor"):
            code = click.prompt("Code of your authenticator, or a recovery code", err=True)
            headers["Heroku-Two-Factor-Code"] = code.strip()
            answer = api.send("POST", "/oauth/authorizations", body=body, headers=headers)
        else:
            raise
    made = answer.json()
    return {"token": made["access_token"]["token"], "id": made["id"]}


def _description() -> str:
    return f"paas on {this_machine.node() or 'a laptop'}"[:100]


def _git_host(api: Api) -> str:
    """Where remotes lead."""
    return urlsplit(str(api.get("/host")["git_url"])).netloc


@command("logout")
def logout() -> None:
    """Make the token of this login worthless, and forget it."""
    session = current()
    door = session.door
    if not isinstance(door, RemoteDoor):
        raise UserProblem("Root on the machine is not logged in, and needs not be.")
    known = settings.load()
    platform = door.platform
    if platform.token and platform.token_id:
        try:
            session.api.delete(f"/oauth/authorizations/{platform.token_id}")
        except UserProblem as exc:
            if exc.id not in ("unauthorized", "not_found"):
                raise
    if platform.name in known.platforms:
        forgotten = replace(known.platforms[platform.name], token="", token_id="")
        settings.save(settings.Settings(known.default, {**known.platforms, platform.name: forgotten}))
    say(f"Logged out of {platform.name}.")


@command("whoami")
@json_option
def whoami(as_json: bool) -> None:
    """Print the e-mail one is logged in with."""
    account = current().api.get("/account")
    if as_json:
        show_json(account)
        return
    show(account["email"])


@command("platforms")
@json_option
def platforms(as_json: bool) -> None:
    """List the platforms that you logged in to."""
    known = settings.load()
    rows = [
        compact({"name": each.name, "url": each.url, "email": each.email, "default": each.name == known.default})
        for each in known.platforms.values()
    ]
    if as_json:
        show_json(rows)
        return
    table(
        ((row["name"], row["url"], row["email"], "default" if row["default"] else "") for row in rows),
        ("platform", "address", "as", ""),
    )
    if not rows:
        say("None so far: paas login https://api.example.com")


@command("platforms:use")
@click.argument("name")
def use(name: str) -> None:
    """Choose the platform that commands talk to when none is named."""
    settings.save(settings.load().with_default(name))
    say(f"Commands talk to {name} from now on.")


COMMANDS = [login, logout, whoami, platforms, use]
