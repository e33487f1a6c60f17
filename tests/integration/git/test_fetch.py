"""Clone and fetch of what was pushed."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Callable

from tests.integration.git.conftest import Clone, GitServer, ServerApp, both_ways

MakeClone = Callable[..., Clone]


@both_ways
def test_a_clone_has_what_was_pushed(app: ServerApp, clone: Clone, make_clone: MakeClone) -> None:
    clone.ok("push", "paas", "main")
    copy = make_clone(app.url)
    assert copy.head() == clone.head()
    assert (copy.path / "src/main.py").read_text() == "print('hello')\n"


@both_ways
def test_a_fetch_brings_what_is_new(app: ServerApp, clone: Clone, make_clone: MakeClone) -> None:
    clone.ok("push", "paas", "main")
    copy = make_clone(app.url)
    for _ in range(300):  # enough to have the client zip its list of what it has
        clone.ok("commit", "--quiet", "--allow-empty", "-m", "More")
    clone.ok("push", "paas", "main")
    copy.ok("fetch", "--quiet")
    assert copy.head("origin/main") == clone.head()


@both_ways
def test_a_shallow_clone_has_one_commit(app: ServerApp, clone: Clone, make_clone: MakeClone) -> None:
    clone.commit()
    clone.ok("push", "paas", "main")
    copy = make_clone(app.url, "--depth=1")
    assert copy.ok("rev-list", "--count", "HEAD") == "1"


@both_ways
def test_a_partial_clone_leaves_the_files_for_later(app: ServerApp, clone: Clone, make_clone: MakeClone) -> None:
    clone.ok("push", "paas", "main")
    copy = make_clone(app.url, "--filter=blob:none", "--no-checkout")
    assert "?" in copy.ok("rev-list", "--objects", "--missing=print", "HEAD")
    copy.ok("checkout", "--quiet", "main")
    assert (copy.path / "README").read_text() == "hello\n"


@both_ways
def test_an_empty_repository_can_be_cloned(app: ServerApp, make_clone: MakeClone) -> None:
    copy = make_clone(app.url)
    assert "refs/heads/main" in copy.ok("symbolic-ref", "HEAD")


@both_ways
def test_the_second_version_of_the_protocol_is_spoken(app: ServerApp, clone: Clone) -> None:
    clone.ok("push", "paas", "main")
    listed = clone.ok("-c", "protocol.version=2", "ls-remote", "paas")
    assert f"{clone.head()}\trefs/heads/main" in listed
    assert clone.ok("-c", "protocol.version=0", "ls-remote", "paas") == listed


def test_an_odd_protocol_header_counts_as_none(server: GitServer, app: ServerApp, clone: Clone) -> None:
    clone.ok("push", "paas", "main")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    authorization = "Basic " + base64.b64encode(b"alice:correct").decode()
    headers = {"Authorization": authorization, "Git-Protocol": "version=2; rm"}
    connection.request("GET", f"/{app.name}.git/info/refs?service=git-upload-pack", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.read().startswith(b"001e# service=git-upload-pack\n0000")
    connection.close()


def test_a_client_that_leaves_in_the_middle_ends_the_process(
    server: GitServer, app: ServerApp, clone: Clone, make_clone: MakeClone
) -> None:
    clone.ok("push", "paas", "main")
    for _ in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.putrequest("POST", f"/{app.name}.git/git-upload-pack")
        connection.putheader("Authorization", "Basic " + base64.b64encode(b"alice:correct").decode())
        connection.putheader("Content-Type", "application/x-git-upload-pack-request")
        connection.putheader("Content-Length", "1000")
        connection.endheaders()
        connection.send(b"0032want ")
        connection.close()
    assert make_clone(app.url).head() == clone.head()
