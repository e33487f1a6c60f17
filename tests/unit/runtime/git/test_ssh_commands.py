"""What git asks over SSH."""

from __future__ import annotations

import pytest

from runtime.errors import InvalidInput, NotFound
from runtime.git.ssh import GitCommand, parse_command


@pytest.mark.parametrize(
    ("text", "service", "name"),
    [
        ("git-receive-pack '/hello.git'", "git-receive-pack", "hello"),
        ("git-receive-pack 'hello.git'", "git-receive-pack", "hello"),
        ("git-upload-pack '/hello'", "git-upload-pack", "hello"),
        ("git upload-pack hello.git/", "git-upload-pack", "hello"),
        ("git-upload-pack '/my-app.2.git'", "git-upload-pack", "my-app.2"),
    ],
)
def test_the_name_of_the_app_is_read(text: str, service: str, name: str) -> None:
    assert parse_command(text) == GitCommand(service, name)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "apps", "gitreceive-pack 'a'", "git push", "run -a hello git-upload-pack"])
def test_what_is_not_gits_is_left_to_others(text: str) -> None:
    assert parse_command(text) is None


@pytest.mark.parametrize(
    "path",
    ["", "'/a/b.git'", "'../etc/passwd'", "'~/hello.git'", "--upload-pack=x", "a.git b.git", "'", "'a\nb'"],
)
def test_a_path_that_is_no_repository_is_refused(path: str) -> None:
    with pytest.raises(NotFound, match="Nothing here"):
        parse_command(f"git-upload-pack {path}")


def test_an_archive_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(InvalidInput, match="git upload-archive is not served here") as refusal:
        parse_command("git-upload-archive '/hello.git'")
    assert "git archive HEAD" in refusal.value.hint
