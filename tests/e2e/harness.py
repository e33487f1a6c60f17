"""What the end-to-end tests hold in their hands: the platform, an app with its work tree, a push, steady load."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import sqlite3
import ssl
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlsplit

import docker
import httpx
import redis

from paas.core.processes import Sessions
from paas.env import load
from runtime.registry import Credentials, Registry
from runtime.registry.tokens import Access, TokenIssuer

CHECKOUT = Path(__file__).resolve().parents[2]
ACCEPT = "application/vnd.heroku+json; version=3"
SAMPLES = CHECKOUT / "tests" / "sample_apps"
VERSION_LINE = re.compile(r'(VERSION = "|<h1>Version )[^"<{]+')
T = TypeVar("T")
PROMPT_SECONDS = 30  # for what should take a moment


def wait_until(question: Callable[[], T], what: str, seconds: float = PROMPT_SECONDS, pause: float = 0.1) -> T:
    """The first answer that is true. After the deadline, an assertion with the last one."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"After {seconds:g} s still not: {what}. The last answer was {answer!r}.")
        time.sleep(pause)


@dataclass(frozen=True)
class Result:
    """A finished command."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Platform:
    """A running platform, found by PAAS_HOME. It is asked only through its doors, and its state is only looked at."""

    def __init__(self) -> None:
        self.env = load()
        self.home = self.env.home
        self.info: dict[str, Any] = self.json("host")
        self.domain: str = self.info["domain"]
        self.token: str = self.info["token"]
        self.port = urlsplit(self.info["http_url"]).port or 80
        self.engine = docker.DockerClient(base_url=os.environ.get("DOCKER_HOST") or self.env.docker_host)
        self.redis = redis.Redis.from_url(self.env.redis_url, decode_responses=True)

    def forget_pushes(self) -> None:
        """While somebody's Docker may push, for as long as its token is good, nothing is cleared away. For tests that run
        alone, as those whose tokens these were are over, and for those that clear caches, which does no push harm."""
        os.utime(self.home / "run" / "registry.lock", (0, 0))

    def paas(
        self,
        *arguments: str,
        check: bool = True,
        seconds: float = 90,
        text: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        started = time.monotonic()
        done = subprocess.run(
            [CHECKOUT / "bin" / "paas", *arguments], env={**os.environ, **(environment or {})},
            cwd=CHECKOUT, capture_output=True, text=True, timeout=seconds, input=text, check=False,
        )  # fmt: skip
        result = Result(done.returncode, done.stdout, done.stderr, time.monotonic() - started)
        if check and result.code != 0:
            raise AssertionError(f"paas {' '.join(arguments)} exited {result.code}:\n{result.text}")
        return result

    def json(self, *arguments: str) -> Any:
        return json.loads(self.paas(*arguments, "--json").out)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Look into the database without touching it. With Postgres the tests that look there are skipped."""
        with contextlib.closing(sqlite3.connect(f"file:{self.home}/paas.sqlite3?mode=ro", uri=True, timeout=20)) as db:
            return db.execute(sql, values).fetchall()

    def push_url(self, app: str, token: str | None = None) -> str:
        parts = urlsplit(self.info["git_url"])
        return f"{parts.scheme}://paas:{quote(token or self.token)}@{parts.netloc}{parts.path.rstrip('/')}/{app}.git"

    def get(self, host: str, path: str = "/", *, seconds: float = 10) -> Response:
        """By address with a Host header, so that no resolver of the machine plays a part."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request("GET", path, headers={"Host": f"{host}:{self.port}".removesuffix(":80")})
            answer = connection.getresponse()
            return Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    @cached_property
    def trusted(self) -> ssl.SSLContext:
        """Who knows the platform's own authority, and no other."""
        return ssl.create_default_context(cafile=str(self.env.ca_file))

    def http(self, token: str = "", *, seconds: float = 60) -> httpx.Client:
        """The API at `https://localhost`: with a token as its clients ask, without one as anybody who has an address."""
        headers = {"Accept": ACCEPT, "Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(
            base_url=self.env.api_local_url, headers=headers, verify=self.trusted, trust_env=False, timeout=seconds
        )

    def registry(self) -> Registry:
        """The bundled one, with all rights, by the port that the engine uses."""
        tokens = TokenIssuer(*(file.read_bytes() for file in self.env.registry_key))
        ours = Credentials(mint=lambda scopes: tokens.issue("tests", [Access.parse(scope) for scope in scopes]))
        return Registry(f"http://127.0.0.1:{self.env.registry_port}", credentials=ours)

    def containers(self, *labels: str) -> list[dict[str, Any]]:
        """As the engine lists them, by labels of this platform."""
        wanted = [f"paas.home={self.home}", *labels]
        return list(self.engine.api.containers(all=True, filters={"label": wanted}))

    def processes(self, name: str) -> list[int]:
        """Ids of the processes of one line of the Procfile, children included."""
        members = Sessions(self.env.run_dir / "sessions").members()
        return sorted(pid for pid, line in members.items() if line == name)


def git(
    *arguments: str, cwd: Path, check: bool = True, seconds: float = 60, environment: Mapping[str, str] | None = None
) -> Result:
    started = time.monotonic()
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env=git_environment() | dict(environment or {}),
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    result = Result(done.returncode, done.stdout, done.stderr, time.monotonic() - started)
    if check and result.code != 0:
        raise AssertionError(f"git {' '.join(arguments)} exited {result.code}:\n{result.text}")
    return result


def git_environment() -> dict[str, str]:
    """The same everywhere: nobody's configuration, no questions, no proxies, fixed dates and so fixed commit ids."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith("GIT_")}
    return kept | {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Alice",
        "GIT_AUTHOR_EMAIL": "alice@example.com",
        "GIT_COMMITTER_NAME": "Alice",
        "GIT_COMMITTER_EMAIL": "alice@example.com",
        "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
        "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
        "LC_ALL": "C.UTF-8",
    }


class Push:
    """A `git push` as it happens: each line of its output with the time at which it came."""

    def __init__(
        self,
        folder: Path,
        url: str,
        *refspecs: str,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.started = time.monotonic()
        self.lines: list[tuple[float, str]] = []
        self.ended: float | None = None
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            ["git", "push", *options, url, *(refspecs or ("main:main",))],
            cwd=folder, env=git_environment() | dict(environment or {}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with stream:
            for raw in stream:
                text = raw.decode(errors="replace").rstrip()
                with self._news:
                    self.lines.append((time.monotonic() - self.started, text))
                    self._news.notify_all()
        with self._news:
            self.ended = time.monotonic() - self.started
            self._news.notify_all()

    def wait(self, seconds: float = 240) -> Push:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._reader.join(5)
            raise AssertionError(f"The push did not end within {seconds:g} s:\n{self.text}") from None
        self._reader.join(10)
        return self

    def wait_for(self, pattern: str, seconds: float = 120) -> str:
        """The first line that matches."""
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                for _, line in self.lines:
                    if re.search(pattern, line):
                        return line
                if self.ended is not None or not self._news.wait(max(0, deadline - time.monotonic())):
                    raise AssertionError(f"No line of the push matched {pattern!r}:\n{self.text}")

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT to git and its helper."""
        os.killpg(self._process.pid, signal.SIGINT)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def code(self) -> int:
        return self._process.wait(0)

    @property
    def seconds(self) -> float:
        return self.ended if self.ended is not None else time.monotonic() - self.started

    @property
    def text(self) -> str:
        with self._news:
            return "\n".join(f"{at:7.2f}  {line}" for at, line in self.lines)

    @property
    def remote(self) -> list[str]:
        """What the platform said, without git's prefix."""
        with self._news:
            return [
                line.removeprefix("remote:").removeprefix(" ") for _, line in self.lines if line.startswith("remote:")
            ]

    @property
    def complaints(self) -> list[str]:
        """The lines that say what went wrong and what to do."""
        return [line.strip().removeprefix("!").strip() for line in self.remote if line.strip().startswith("!")]

    @property
    def refusal(self) -> str:
        """Git's own last word: the reason in the brackets behind `remote rejected`."""
        with self._news:
            found = [re.search(r"! \[remote rejected\].*\((.*)\)$", line) for _, line in self.lines]
        return next((match.group(1) for match in found if match), "")

    def succeeded(self) -> Push:
        assert self.wait().code == 0, f"The push failed:\n{self.text}"
        return self

    def failed(self) -> Push:
        assert self.wait().code != 0, f"The push should have failed:\n{self.text}"
        return self


class App:
    """An app on the platform and the work tree from which it is pushed."""

    def __init__(self, platform: Platform, folder: Path, name: str | None = None) -> None:
        self.platform = platform
        self.name = name or f"t-{uuid.uuid4().hex[:10]}"
        self.folder = folder
        self.pushes: list[Push] = []
        self.host = f"{self.name}.{platform.domain}"
        folder.mkdir(parents=True, exist_ok=True)
        git("init", "-q", "-b", "main", cwd=folder)

    # The work tree

    def use(self, sample: str) -> App:
        """Replace the work tree by a sample app."""
        for path in self.folder.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(SAMPLES / sample, self.folder, dirs_exist_ok=True)
        return self

    def set_version(self, version: str) -> App:
        """In every file that has one: a one-line change each."""
        for path in self.folder.rglob("*"):
            if path.is_file() and path.suffix in {".py", ".js", ".html"} and ".git" not in path.parts:
                before = path.read_text()
                after = VERSION_LINE.sub(lambda match: match.group(1) + version, before)
                if after != before:
                    path.write_text(after)
        return self

    def edit(self, path: str, old: str, new: str) -> App:
        file = self.folder / path
        before = file.read_text()
        assert old in before, f"{path} has no {old!r}"
        file.write_text(before.replace(old, new))
        return self

    def use_slow_build(self, seconds: int) -> App:
        """A build that takes so long, and is like no other one: its result can't come from a cache."""
        self.use("slow-build").edit("build.js", "|| 4", f"|| {seconds}")
        return self.edit("build.js", "let tick = 0;", f"let tick = 0; // {uuid.uuid4()}")

    def commit(self, message: str = "Change.") -> str:
        git("add", "-A", cwd=self.folder)
        git("commit", "-q", "--allow-empty", "-m", message, cwd=self.folder)
        return git("rev-parse", "HEAD", cwd=self.folder).out.strip()

    def back_to(self, commit: str) -> None:
        git("reset", "-q", "--hard", commit, cwd=self.folder)
        git("clean", "-q", "-fdx", cwd=self.folder)

    # The platform

    def start_push(self, *refspecs: str, token: str | None = None, options: Sequence[str] = ()) -> Push:
        self.pushes.append(Push(self.folder, self.platform.push_url(self.name, token), *refspecs, options=options))
        return self.pushes[-1]

    def push(self, *refspecs: str, options: Sequence[str] = ()) -> Push:
        """Push what is committed and wait for the end, good or bad."""
        return self.start_push(*refspecs, options=options).wait()

    def deploy(self, sample: str | None = None, version: str | None = None, message: str = "Change.") -> Push:
        """Use, change, commit, push; must succeed."""
        if sample:
            self.use(sample)
        if version:
            self.set_version(version)
        self.commit(message)
        return self.push().succeeded()

    def paas(self, command: str, *arguments: str, check: bool = True, seconds: float = 90) -> Result:
        return self.platform.paas(command, "-a", self.name, *arguments, check=check, seconds=seconds)

    def json(self, command: str, *arguments: str) -> Any:
        return self.platform.json(command, "-a", self.name, *arguments)

    def get(self, path: str = "/") -> Response:
        return self.platform.get(self.host, path)

    def answers(self, **expected: str) -> bool:
        """Whether the JSON page says so."""
        answer = self.get()
        return answer.status == 200 and expected.items() <= answer.json.items()

    def releases(self) -> list[dict[str, Any]]:
        """Oldest first; `version` as a number."""
        rows = [{**row, "version": int(str(row["version"]).removeprefix("v"))} for row in self.json("releases")]
        return sorted(rows, key=lambda row: row["version"])

    def builds(self) -> list[dict[str, Any]]:
        """Oldest first."""
        return sorted(self.json("builds"), key=lambda row: int(row["number"]))

    def instances(self, process: str = "") -> list[dict[str, Any]]:
        """The running ones, as the engine lists them."""
        labels = [f"paas.app={self.name}", "paas.kind=instance"] + [f"paas.process={process}"] * bool(process)
        return [c for c in self.platform.containers(*labels) if c["State"] == "running"]

    def runs(self) -> list[dict[str, Any]]:
        """Containers of one-off runs, as the engine lists them."""
        return self.platform.containers(f"paas.app={self.name}", "paas.kind=run")

    def runs_end(self, seconds: float = PROMPT_SECONDS) -> None:
        wait_until(lambda: not self.runs(), "no container of a run is left", seconds)

    def image(self) -> tuple[str, list[dict[str, Any]]]:
        """Digest and layers of the newest release's image."""
        rows = self.platform.rows(
            "select i.digest, i.layers from releases_release r join apps_app a on a.id = r.app_id"
            " join releases_image i on i.id = r.image_id where a.name = ? order by r.version desc limit 1",
            self.name,
        )
        return rows[0][0], json.loads(rows[0][1])

    def leftovers(self) -> list[str]:
        """What should not be there once the app has come to rest: a line each."""
        found: list[str] = []
        platform = self.platform
        current = platform.rows(
            "select a.id, r.version from apps_app a left join releases_release r on r.id = a.current_release_id"
            " where a.name = ?",
            self.name,
        )
        app_id, version = current[0] if current else ("", None)
        for container in platform.containers(f"paas.app={self.name}"):
            labels = container["Labels"]
            fits = labels.get("paas.kind") == "instance" and labels.get("paas.release") == str(version)
            if not fits or container["State"] != "running":
                words = f"{labels.get('paas.kind')} {labels.get('paas.process')} of v{labels.get('paas.release')}"
                found.append(f"container {container['Names'][0]}: {words}, {container['State']}")
        label = {"label": [f"paas.app={self.name}"]}
        networks = [n["Name"] for n in platform.engine.api.networks(filters=label)]
        found += [f"network {name}" for name in networks[1 if current else 0 :]]
        found += [f"volume {v['Name']}" for v in platform.engine.api.volumes(filters=label)["Volumes"] or ()]
        if not current:
            return found
        for table, states in (("builds_build", ("pending", "building")), ("releases_release", ("pending", "releasing"))):
            rows = platform.rows(f"select status from {table} where app_id = ? and status in (?, ?)", app_id, *states)
            found += [f"row in {table}: {status}" for (status,) in rows]
        dashed = str(uuid.UUID(app_id))
        locks = platform.redis.scan_iter("paas:lock:*", count=1000)
        found += [f"lock {key}" for key in locks if app_id in key or dashed in key or self.name in key]
        objects = platform.home / "repositories" / f"{uuid.UUID(app_id).hex}.git" / "objects"
        found += [f"quarantine {path.name}" for path in objects.glob("tmp_objdir*")]
        return found

    def comes_to_rest(self, seconds: float = 20) -> None:
        """Nothing is left over, at the latest after draining and stopping."""
        deadline = time.monotonic() + seconds
        while (found := self.leftovers()) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not found, f"{self.name} left something behind:\n" + "\n".join(found)

    def destroy(self) -> None:
        for push in self.pushes:
            if push.is_running:
                push.interrupt()
                push.wait(20)
        self.platform.paas("apps:destroy", self.name, "--confirm", self.name, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Load:
    """Visitors who keep coming while something changes: half on new connections, half on one that stays open."""

    app: App
    path: str = "/"
    rate: float = 50.0
    expected: int = 200
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._threads = [
            threading.Thread(target=self._visit, args=(keep_alive,), daemon=True) for keep_alive in (False, True)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)

    def _visit(self, keep_alive: bool) -> None:
        platform = self.app.platform
        headers = {"Host": f"{self.app.host}:{platform.port}".removesuffix(":80")}
        connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=10)
        pause = 2 / self.rate
        due = time.monotonic()
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                connection.request("GET", self.path, headers=headers)
                answer = connection.getresponse()
                body = answer.read()
                self.answers[body[:200].decode(errors="replace")] += 1
                if answer.status != self.expected:
                    self._complain(began, f"{answer.status} {body[:200]!r}")
            except (OSError, http.client.HTTPException) as exc:
                self._complain(began, repr(exc))
                connection.close()
            if not keep_alive:
                connection.close()
            due = max(due + pause, time.monotonic() - pause)
            self._stop.wait(max(0, due - time.monotonic()))
        connection.close()

    def _complain(self, began: float, what: str) -> None:
        self.failures.append(f"{began - self._began:.2f} s, after {time.monotonic() - began:.2f} s: {what}")

    @property
    def requests(self) -> int:
        return sum(self.answers.values())

    def saw_no_failure(self) -> None:
        assert self.requests > 20, f"Only {self.requests} requests were made: too few to say anything."
        shown = "\n".join(self.failures[:20])
        assert not self.failures, f"{len(self.failures)} of {self.requests} requests failed:\n{shown}"


@contextlib.contextmanager
def steady_load(app: App, path: str = "/") -> Iterator[Load]:
    """Fails at the end when a request inside has failed, or one of the first after it."""
    with Load(app, path) as load_:
        yield load_
        enough = load_.requests + 20
        wait_until(lambda: load_.requests >= enough, "visitors get answers", pause=0.02)
    load_.saw_no_failure()
