"""What people say over SSH without any command line of ours, and whose key is whose."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.utils import timezone

from paas.accounts.models import SSHKey, User
from paas.accounts.services import add_key, deactivate_user
from paas.accounts.throttle import TooManyAttempts
from paas.apps.models import App, Role
from paas.apps.services import add_collaborator
from paas.convergence.models import Instance
from paas.terminals import line
from paas.terminals.commands import HELP, Commands, Pools
from paas.terminals.platform import PlatformHost
from paas.terminals.ssh import Request
from runtime.errors import Forbidden, InvalidInput, NotFound, UserError
from runtime.logs.record import Line, Source
from runtime.logs.store import LogStore
from tests.factories import make_app, make_image, make_live, make_public_key, make_release, make_user
from tests.unit.paas.terminals.client import Client

pytestmark = pytest.mark.django_db


class OwnThread:
    """Work is done in the thread of the test, and so in its transaction."""

    is_full = False

    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await sync_to_async(function)(*args, **kwargs)


def pools() -> Pools:
    return Pools(OwnThread(), OwnThread())  # type: ignore[arg-type]


def say(user: User, command: str, *, terminal: str | None = None) -> tuple[int, str, str]:
    """Exit status, output and errors."""

    async def scene() -> tuple[int, Client]:
        client = Client()
        return await Commands(user, Request(command, line.Line(client), terminal), pools()).run(), client

    status, client = async_to_sync(scene)()
    out, err = (b"".join(data for data, is_error in client.got if is_error is which).decode() for which in (False, True))
    return status, out, err


@pytest.fixture
def app() -> App:
    app = make_app(owner=make_user("alice"))
    make_live(make_release(app, image=make_image(app)))
    return app


def test_the_list_of_apps_holds_those_that_one_may_see(app: App):
    status, out, _ = say(app.owner, "apps")
    assert (status, out.splitlines()[1].split()) == (0, ["hello", "v1", f"http://hello.{settings.ENV.domain}"])
    status, out, err = say(make_user("charlie"), "apps")
    assert (status, out, err) == (0, "", "No apps yet. Push one.\n")


def test_instances_are_told_with_what_they_run(app: App):
    assert say(app.owner, "ps -a hello") == (0, "", "Nothing runs.\n")
    at = datetime(2026, 11, 25, 9, tzinfo=UTC)
    Instance.objects.create(app=app, process="web", index=1, state="up", release_version=1, since=at)
    status, out, _ = say(app.owner, "ps --app hello")
    assert status == 0
    assert out.splitlines()[1].split() == ["web.1", "up", "v1", "2026-11-25", "09:00:00", "gunicorn", "app:app"]


def test_releases_are_told_newest_first_and_as_many_as_asked_for(app: App):
    make_live(make_release(app, image=make_image(app)))
    status, out, _ = say(app.owner, "releases -a hello -n 1")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["release", "v2"]


def test_lines_of_the_log_are_told_without_colours_unless_there_is_a_terminal(app: App):
    at = datetime(2026, 11, 25, 9, tzinfo=UTC)
    said = [Line(at, Source.APP, "web.1", f"\x1b[32mline {n}\x1b[0m", 1) for n in range(3)]
    LogStore(settings.ENV.app_logs).append(str(app.pk), said)
    status, out, _ = say(app.owner, "logs -a hello -n 2")
    assert (status, out) == (
        0,
        "2026-11-25T09:00:00.000000+00:00 app[web.1]: line 1\n2026-11-25T09:00:00.000000+00:00 app[web.1]: line 2\n",
    )
    _, out, _ = say(app.owner, "logs -a hello -n 1", terminal="xterm")
    assert out.endswith("app[web.1]: \x1b[32mline 2\x1b[0m\r\n")
    assert say(app.owner, "logs -a hello --source router")[1] == ""


def test_there_is_help_and_no_shell(app: App):
    assert say(app.owner, "help") == (0, f"{HELP}\n", "")
    status, out, err = say(app.owner, "")
    assert (status, out) == (1, "")
    assert err.startswith("Hello alice@example.com. There is no shell here.\n")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("bash", "There is no command 'bash'"),
        ("scp -t /", "There is no command 'scp'"),
        ("ps", "Missing option '-a'"),
        ("ps -a", "requires an argument"),
        ("ps -a hello more", "unexpected extra argument"),
        ("logs -a hello --rm", "No such option"),
        ("logs -a hello -n many", "not a valid integer"),
        ("logs -a hello --source moon", "is not one of"),
        ("run -a hello", "There is no command."),
        ("run -a 'hello", "can't be read"),
        ("apps --help", "No such option"),
    ],
)
def test_what_is_no_command_is_refused_in_words(app: App, command: str, words: str):
    with pytest.raises(InvalidInput) as refusal:
        say(app.owner, command)
    assert words in refusal.value.message


@pytest.mark.parametrize("command", ["ps", "releases", "logs", "run"])
def test_the_app_of_others_does_not_exist(app: App, command: str):
    with pytest.raises(NotFound, match="No app named 'hello'"):
        say(make_user("charlie"), f"{command} -a hello" + (" ls" if command == "run" else ""))


def test_a_command_in_the_app_takes_a_developer(app: App):
    viewer = make_user("bob")
    add_collaborator(app, viewer, Role.VIEWER, by=app.owner)
    with pytest.raises(Forbidden, match="this takes developer"):
        say(viewer, "run -a hello ls")
    assert say(viewer, "ps -a hello")[0] == 0


# Keys


@pytest.fixture
def key() -> SSHKey:
    user = make_user("alice")
    return add_key(user, text=make_public_key(), by=user)


def test_a_key_is_its_persons_until_it_is_removed_or_they_are_deactivated(key: SSHKey):
    host = PlatformHost(pools())
    assert host.identify(key.fingerprint) == key
    assert host.identify("SHA256:nobodys") is None
    deactivate_user(key.user, by=make_user("root", is_admin=True))
    assert host.identify(key.fingerprint) is None


def test_when_a_key_was_used_is_written_down_once_a_minute(key: SSHKey):
    host = PlatformHost(pools())
    host.welcome(key, "192.0.2.1")
    key.refresh_from_db()
    first = key.last_used_at
    assert first is not None
    host.welcome(key, "192.0.2.1")
    key.refresh_from_db()
    assert key.last_used_at == first
    SSHKey.objects.update(last_used_at=timezone.now() - timedelta(minutes=2))
    key.refresh_from_db()
    host.welcome(key, "192.0.2.1")
    key.refresh_from_db()
    assert key.last_used_at > first


def test_an_address_that_never_signs_in_has_to_wait(key: SSHKey):
    host = PlatformHost(pools())
    for _ in range(21):
        host.check_address("192.0.2.1")
    with pytest.raises(TooManyAttempts):
        host.check_address("192.0.2.1")
    host.check_address("192.0.2.2")


def test_one_that_does_may_come_as_often_as_it_likes(key: SSHKey):
    host = PlatformHost(pools())
    for _ in range(40):
        host.check_address("192.0.2.1")
        host.welcome(key, "192.0.2.1")


@pytest.mark.parametrize(
    ("fingerprints", "words"),
    [
        ([], "No SSH key was offered."),
        (["SHA256:abc"], "The key SHA256:abc belongs to nobody here."),
        (["SHA256:abc", "SHA256:def"], "None of your 2 SSH keys belongs to anybody here."),
    ],
)
def test_somebody_unknown_is_told_what_is_missing_and_where_to_add_it(fingerprints: list[str], words: str):
    said = PlatformHost(pools()).refusal(fingerprints)
    assert words in said
    assert said.endswith("/account/keys")


def test_git_opens_the_same_doors_as_over_http(key: SSHKey):
    host = PlatformHost(pools())
    make_app("others")
    assert host.open(key, "brand-new", "git-receive-pack").handler is not None
    assert App.objects.get(name="brand-new").owner == key.user
    with pytest.raises(NotFound):
        host.open(key, "others", "git-upload-pack")
    with pytest.raises(UserError):
        host.open(key, "others", "git-receive-pack")
