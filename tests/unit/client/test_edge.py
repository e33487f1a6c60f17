"""The command line itself: which app is meant, what is told of a slip, exit codes, completion, its own limits."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import click
import httpx
import paas_client
import pytest
from click.shell_completion import ShellComplete
from paas_client import main as client
from paas_client.api import Api, cannot_connect
from paas_client.errors import PlatformProblem, UserProblem
from paas_client.session import Session

from tests.factories import make_app, make_user
from tests.unit.client.conftest import URL, RootsDoor

SOURCES = sorted(Path(paas_client.__file__).parent.rglob("*.py"))


@pytest.mark.django_db
def test_the_app_is_that_of_the_git_remote_unless_another_is_named(paas, app, tmp_path, monkeypatch):
    make_app("other", owner=app.owner)
    assert "Which app?" in paas("apps:branch", code=1).err
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert "git:remote" in paas("apps:branch", code=1).err
    said = paas("git:remote", "-a", "hello")
    assert "The git remote paas was added" in said.err
    assert paas("apps:branch").out == "main\n"
    paas("apps:branch", "-a", "other", "trunk")
    monkeypatch.setenv("PAAS_APP", "other")
    assert paas("apps:branch").out == "trunk\n"
    monkeypatch.delenv("PAAS_APP")
    paas("git:remote", "-a", "other", "-r", "second")
    assert paas("apps:branch").out == "main\n", "the remote called paas wins"
    subprocess.run(["git", "remote", "remove", "paas"], cwd=tmp_path, check=True)
    assert paas("apps:branch").out == "trunk\n"
    paas("remote:add", "hello", "-r", "third")
    assert "several apps: other (second), hello (third)" in paas("apps:branch", code=1).err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(["ps:scal"], "ps:scale"), (["scale"], "ps:scale"), (["config", "set"], "config:set"), (["relaeses"], "releases")],
)
def test_a_slip_is_met_with_what_was_meant(laptop, monkeypatch, typed, meant):
    monkeypatch.setenv("PAAS_APP", "hello")
    assert f"Did you mean {meant}" in laptop(*typed, code=1).err


def test_without_a_login_one_is_told_how_to(laptop):
    said = laptop("apps", code=1)
    assert said.err.splitlines() == [
        " !     You are not logged in to any platform.",
        " !     paas login https://api.example.com",
    ]


@pytest.mark.django_db
def test_apps_and_commands_are_completed(admin, transport):
    make_app("hello", owner=make_user("alice"))
    session = Session(RootsDoor(admin, transport))

    def completions(words, incomplete):
        found = ShellComplete(client.paas, {"obj": session}, "paas", "_PAAS_COMPLETE").get_completions(words, incomplete)
        return [item.value for item in found]

    assert completions(["ps", "-a"], "he") == ["hello"]
    assert completions(["apps:destroy"], "") == ["hello"]
    assert completions([], "ps:s") == ["ps:scale", "ps:start", "ps:stop"]


def test_bash_completes_words_with_a_colon(laptop, tmp_path):
    script = laptop("completion", "bash").out
    answers = '#!/bin/sh\necho "$COMP_WORDS/$COMP_CWORD" >&2\nprintf "plain,ps:scale\\nplain,ps:start"\n'
    (tmp_path / "paas").write_text(answers)
    (tmp_path / "paas").chmod(0o700)
    line = "paas ps:sta"
    asked = f"{script}\nCOMP_LINE='{line}' COMP_POINT={len(line)}\n_paas_completion ./paas\n"
    asked += "printf '%s\\n' \"${COMPREPLY[@]}\""
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "scale\nstart\n", "bash puts the answer behind the colon"
    assert done.stderr == "paas ps:sta/1\n"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_there_is_a_script_for_each_shell(laptop, shell):
    assert "_PAAS_COMPLETE" in laptop("completion", shell).out


class Answers(httpx.BaseTransport):
    """A platform that gives these answers, one after another."""

    def __init__(self, *answers: httpx.Response | httpx.TransportError) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.tokens: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.tokens.append(request.headers.get("Authorization", "").removeprefix("Bearer "))
        answer = self.answers.pop(0)
        if isinstance(answer, httpx.TransportError):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("paas_client.api.time.sleep", lambda _: None)


def test_what_may_be_repeated_is_repeated_and_nothing_else():
    busy = httpx.Response(503, json={"id": "service_unavailable", "message": "Busy."})
    fine = httpx.Response(200, json=[])
    for send, answers, asked in (
        (lambda api: api.get("/apps"), (busy, busy, fine), 3),
        (lambda api: api.get("/apps"), (httpx.ReadError("lost"), fine), 2),
        (lambda api: api.post("/apps", {}), (busy, fine), 2),  # with an idempotency key
        (lambda api: api.patch("/apps/x", {}), (httpx.Response(429, headers={"Retry-After": "1"}), fine), 2),
    ):
        transport = Answers(*answers)
        send(Api(URL, token="t", transport=transport))
        assert len(transport.requests) == asked
    for answer in (busy, httpx.ReadError("lost")):
        transport = Answers(answer)
        with pytest.raises(PlatformProblem):
            Api(URL, token="t", transport=transport).patch("/apps/x", {})
        assert len(transport.requests) == 1


def test_a_token_that_ran_out_is_replaced_once_where_nobody_has_to_be_asked():
    refused, fine = httpx.Response(401, json={"id": "unauthorized", "message": "No."}), httpx.Response(200, json=[])
    transport = Answers(refused, fine)
    api = Api(URL, token="old", transport=transport, renew=lambda: "new")
    api.get("/apps")
    assert transport.tokens == ["old", "new"]
    with pytest.raises(UserProblem):
        Api(URL, token="old", transport=Answers(refused, refused), renew=lambda: "new").get("/apps")


def test_a_list_is_followed_to_its_end_and_the_newest_are_asked_for():
    first = httpx.Response(206, json=[{"n": 3}, {"n": 2}], headers={"Next-Range": "version ]2..; order=desc,max=2"})
    transport = Answers(first, httpx.Response(200, json=[{"n": 1}]))
    found = Api(URL, token="t", transport=transport).list("/x", order="version")
    assert [each["n"] for each in found] == [3, 2, 1]
    assert [request.headers["Range"] for request in transport.requests] == [
        "version ..; order=desc,max=1000",
        "version ]2..; order=desc,max=2",
    ]
    only = Answers(httpx.Response(206, json=[{"n": 3}], headers={"Next-Range": "x"}))
    assert len(Api(URL, token="t", transport=only).list("/x", order="version", newest=1)) == 1


def test_a_failure_of_the_platform_names_the_request_and_exits_with_70(transport):
    answer = httpx.Response(500, text="<h1>Oops</h1>", headers={"Request-Id": "abc-1"})
    problem = Api(URL, transport=transport).problem(answer)
    assert (problem.exit_code, "abc-1" in problem.hint) == (70, True)
    gone = Api(URL, token="t", transport=transport).problem(
        httpx.Response(401, json={"id": "unauthorized", "message": "No."})
    )
    assert (gone.exit_code, gone.message) == (1, "Your login is not valid any more.")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("[Errno -2] Name or service not known", "not known to DNS"),
        ("[Errno 111] Connection refused", "refuses the connection"),
    ],
)
def test_what_is_in_the_way_of_a_connection_is_said(cause, words):
    assert words in cannot_connect(URL, httpx.ConnectError(cause)).message


def test_the_client_needs_nothing_but_click_httpx_and_the_standard_library():
    import sys

    allowed = {"click", "httpx", "certifi", "paas_client"} | sys.stdlib_module_names
    used = set()
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                used |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                used.add((node.module or "").partition(".")[0])
    assert used <= allowed


def test_every_command_is_found_by_its_name_and_has_help_and_a_platform_option():
    context = click.Context(client.paas, obj=Session())
    for name in client.paas.sources:
        command = client.paas.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.help
        assert "--platform" in [option for each in command.params for option in each.opts], name


def test_a_problem_of_the_user_and_one_of_the_platform_have_their_exit_codes():
    assert (UserProblem("x").exit_code, PlatformProblem("x").exit_code) == (1, 70)
