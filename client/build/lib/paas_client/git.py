"""Git remotes of the folder one is in: they say which app is meant."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from paas_client.errors import UserProblem


@dataclass(frozen=True)
class Remote:
    name: str
    url: str

    @property
    def host(self) -> str:
        """With its port where there is one."""
        return _place(self.url)[0]

    @property
    def app(self) -> str:
        return Path(_place(self.url)[1]).name.removesuffix(".git")


def _place(url: str) -> tuple[str, str]:
    """Host and path of `https://host/app.git`, `ssh://git@host:2222/app.git` or `git@host:app.git`."""
    if "://" in url:
        parts = urlsplit(url)
        return parts.netloc.rpartition("@")[2], parts.path
    host, colon, path = url.partition(":")
    return (host.rpartition("@")[2], path) if colon else ("", url)


def remotes() -> list[Remote]:
    """Of the repository around the current folder; none where there is none."""
    done = _git("config", "--get-regexp", r"^remote\..*\.url$")
    found = []
    for line in done.stdout.splitlines():
        key, _, url = line.partition(" ")
        found.append(Remote(key.removeprefix("remote.").removesuffix(".url"), url))
    return found


def app_of_remotes(hosts: set[str]) -> str | None:
    """The app whose remote leads to one of these hosts; the remote `paas` wins. Raises `UserProblem` when there are
    several."""
    ours = [remote for remote in remotes() if remote.host in hosts or remote.host.partition(":")[0] in hosts]
    chosen = [remote for remote in ours if remote.name == "paas"] or ours
    names = sorted({remote.app for remote in chosen})
    if len(names) > 1:
        several = ", ".join(f"{remote.app} ({remote.name})" for remote in chosen)
        raise UserProblem(f"This folder's git remotes lead to several apps: {several}.", hint="Say which: -a APP")
    return names[0] if names else None


def set_remote(name: str, url: str) -> str:
    """Says what was done: "added", "changed" or "kept". Raises `UserProblem` outside of a repository."""
    if _git("rev-parse", "--git-dir").returncode != 0:
        raise UserProblem(
            "This folder is no git repository.", hint="Make it one with: git init -b main", id="no_repository"
        )
    before = {remote.name: remote.url for remote in remotes()}.get(name)
    if before == url:
        return "kept"
    _checked("remote", *(["set-url", name, url] if before else ["add", name, url]))
    return "changed" if before else "added"


def configure(values: Mapping[str, str]) -> None:
    """In this repository alone."""
    for key, value in values.items():
        _checked("config", "--local", key, value)


def _checked(*arguments: str) -> None:
    done = _git(*arguments)
    if done.returncode != 0:
        raise UserProblem(f"git {arguments[0]} failed: {done.stderr.strip()}")


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(arguments, 127, "", "git is not installed")
