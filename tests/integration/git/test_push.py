"""What a developer sees who pushes with the ordinary git client."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.integration.git.conftest import Clone, GitServer, ServerApp, both_ways, interrupt, wait_until

pytestmark = both_ways
MakeClone = Callable[..., Clone]


def remote_lines(output: str) -> list[str]:
    return [line.removeprefix("remote: ").rstrip() for line in output.splitlines() if line.startswith("remote: ")]


def test_the_first_push_creates_the_branch_and_shows_the_log(app: ServerApp, clone: Clone) -> None:
    app.script(lines=["-----> Building", "       pip install"])
    output = clone.ok("push", "paas", "main")
    assert "[new branch]" in output
    assert {"-----> Building", "       pip install"} <= set(remote_lines(output))
    assert app.head() == clone.head()
    assert app.quarantines() == []
    app.fsck()


def test_a_second_push_sends_a_thin_pack_and_moves_the_branch(app: ServerApp, clone: Clone) -> None:
    clone.commit({"big": "".join(f"line {number}\n" for number in range(20_000))})
    clone.ok("push", "paas", "main")
    first = app.head()
    clone.commit({"big": "".join(f"line {number}\n" for number in range(20_000)) + "one more\n"})
    output = clone.ok("push", "paas", "main")
    received = re.search(r"received (\d+) bytes", output)
    assert received is not None
    assert int(received[1]) < 2000
    assert app.head() == clone.head() != first
    app.fsck()


def test_a_push_of_nothing_new_is_up_to_date(app: ServerApp, clone: Clone) -> None:
    clone.ok("push", "paas", "main")
    assert "Everything up-to-date" in clone.ok("push", "paas", "main")
    assert app.log().count("started") == 1


def test_a_quiet_push_succeeds(app: ServerApp, clone: Clone) -> None:
    clone.ok("push", "-q", "paas", "main")
    assert app.head() == clone.head()


def test_a_branch_can_be_deleted_where_the_platform_allows_it(app: ServerApp, clone: Clone) -> None:
    app.script(any_ref=True)
    clone.ok("push", "paas", "main")
    clone.ok("push", "paas", "main:other")
    assert "[deleted]" in clone.ok("push", "paas", ":other")
    assert app.head("refs/heads/other") is None
    assert app.head() == clone.head()


def test_deleting_another_branch_is_refused_with_the_platforms_words(app: ServerApp, clone: Clone) -> None:
    clone.ok("push", "paas", "main")
    app.script(any_ref=True)
    clone.ok("push", "paas", "main:other")
    app.script()
    result = clone.git("push", "paas", ":other")
    assert result.status == 1
    assert "[remote rejected] other (only main is deployed)" in result.output
    assert app.head("refs/heads/other") == clone.head()


def test_only_the_deploy_branch_is_taken(app: ServerApp, clone: Clone) -> None:
    result = clone.git("push", "paas", "main:feature")
    assert result.status == 1
    assert "! [remote rejected] main -> feature (only main is deployed)" in result.output
    assert app.files() == set()


def test_an_atomic_push_with_one_bad_ref_changes_nothing(app: ServerApp, clone: Clone) -> None:
    result = clone.git("push", "--atomic", "paas", "main", "main:feature")
    assert result.status == 1
    assert "atomic push failed" in result.output
    assert "only main is deployed" in result.output
    assert app.head() is None
    assert app.files() == set()


def test_without_atomic_the_good_ref_is_deployed_beside_a_bad_one(app: ServerApp, clone: Clone) -> None:
    result = clone.git("push", "paas", "main", "main:feature")
    assert result.status == 1
    assert "only main is deployed" in result.output
    assert app.head() == clone.head()
    assert app.head("refs/heads/feature") is None


def test_two_good_refs_in_one_push_are_refused(app: ServerApp, clone: Clone) -> None:
    app.script(any_ref=True)
    result = clone.git("push", "paas", "main", "main:other")
    assert result.status == 1
    assert "push one ref at a time" in result.output
    assert app.files() == set()


def test_an_annotated_tag_can_be_pushed(app: ServerApp, clone: Clone) -> None:
    app.script(any_ref=True)
    clone.ok("push", "paas", "main")
    clone.ok("tag", "-a", "v1", "-m", "One")
    assert "[new tag]" in clone.ok("push", "paas", "v1")
    assert app.head("refs/tags/v1") == clone.head("v1") != clone.head()


def test_a_push_from_a_shallow_clone_to_a_server_with_the_history(
    app: ServerApp, clone: Clone, make_clone: MakeClone
) -> None:
    for _ in range(3):
        clone.commit()
    clone.ok("push", "paas", "main")
    shallow = make_clone(app.url, "--depth=1")
    shallow.commit()
    shallow.ok("push", "origin", "main")
    assert app.head() == shallow.head()
    assert not (app.repository / "shallow").exists()
    app.fsck()


def test_a_push_from_a_shallow_clone_to_an_empty_server(app: ServerApp, clone: Clone, make_clone: MakeClone) -> None:
    for _ in range(3):
        clone.commit()
    shallow = make_clone(f"file://{clone.path}", "--depth=1")
    shallow.ok("push", app.url, "main")
    assert app.head() == clone.head()
    assert (app.repository / "shallow").read_text().split() == [clone.head()]
    shallow.commit()
    shallow.ok("push", app.url, "main")
    app.fsck()
    assert make_clone(app.url).head() == shallow.head()


def test_a_shallow_push_may_be_refused(app: ServerApp, clone: Clone, make_clone: MakeClone) -> None:
    clone.commit()
    app.script(allow_shallow=False)
    shallow = make_clone(f"file://{clone.path}", "--depth=1")
    result = shallow.git("push", app.url, "main")
    assert result.status == 1
    assert "shallow update not allowed" in result.output
    assert "git fetch --unshallow" in result.output
    assert app.files() == set()


def test_a_body_larger_than_the_clients_buffer_arrives_in_chunks(app: ServerApp, clone: Clone) -> None:
    clone.commit({"random": os.urandom(3 * 1024 * 1024)})
    clone.ok("push", "paas", "main")
    assert app.head() == clone.head()
    app.fsck()


def test_push_options_reach_the_platform(app: ServerApp, clone: Clone) -> None:
    output = clone.ok("push", "-o", "no-cache", "-o", "stack=debian-13", "paas", "main")
    assert "options ['no-cache', 'stack=debian-13']" in output


def test_too_many_push_options_are_refused(app: ServerApp, clone: Clone) -> None:
    options = [part for number in range(51) for part in ("-o", f"o{number}")]
    result = clone.git("push", *options, "paas", "main")
    assert result.status == 1
    assert "at most 50 push options" in result.output


def test_a_failed_deploy_rejects_the_push_with_its_reason_and_leaves_no_byte(app: ServerApp, clone: Clone) -> None:
    app.script(lines=["boom"], outcome="failed", reason="release command failed:\n exit 3\x1b[31m\x07")
    result = clone.git("push", "paas", "main")
    assert result.status == 1
    assert "! [remote rejected] main -> main (release command failed: exit 3)" in result.output
    assert "boom" in remote_lines(result.output)
    assert app.head() is None
    assert app.files() == set()


def test_a_push_that_is_superseded_says_so(app: ServerApp, clone: Clone) -> None:
    app.script(outcome="detached", reason="a newer push took its place")
    result = clone.git("push", "paas", "main")
    assert result.status == 1
    assert "(a newer push took its place)" in result.output


def test_log_lines_arrive_one_by_one_while_the_build_runs(app: ServerApp, clone: Clone) -> None:
    app.script(lines=[f"step {number}" for number in range(5)], pause=0.15)
    result = clone.git("push", "paas", "main")
    assert result.status == 0
    times = [seen for seen, line in result.lines if "step" in line]
    assert len(times) == 5
    assert times[-1] - times[0] > 0.3  # not all at the end
    assert len(set(times)) == len(times)


def test_a_hostile_log_line_cannot_drive_the_terminal(app: ServerApp, clone: Clone) -> None:
    app.script(lines=["\x1b]0;title\x07\x1b[2Jclean \x1b[32mgreen\x1b[0m \u202egnp.exe", "50%\r100%"])
    output = clone.ok("push", "paas", "main")
    assert "clean \x1b[32mgreen\x1b[0m gnp.exe" in output
    assert "100%" in output
    assert "50%" not in output
    assert "\x1b]" not in output
    assert "\x1b[2J" not in output


def test_ctrl_c_detaches_and_the_deploy_goes_on(app: ServerApp, clone: Clone) -> None:
    app.hold.touch()
    process = clone.start("push", "paas", "main")
    wait_until(lambda: "started" in app.log(), "the push starts")
    interrupt(process)
    assert process.returncode != 0
    wait_until(lambda: "watching ended" in app.log(), "the server notices that the client has left")
    assert app.head() is None
    assert len(app.quarantines()) == 1
    app.hold.unlink()
    wait_until(lambda: app.head() == clone.head(), "the job finishes the push")
    wait_until(lambda: not app.quarantines(), "the quarantine goes")
    app.fsck()


def test_nobody_sees_the_objects_before_the_push_is_finished(app: ServerApp, clone: Clone, make_clone: MakeClone) -> None:
    app.hold.touch()
    process = clone.start("push", "paas", "main")
    wait_until(lambda: "started" in app.log(), "the push starts")
    present = subprocess.run(
        ["git", "-C", str(app.repository), "cat-file", "-e", clone.head()], capture_output=True, check=False
    )
    assert present.returncode != 0
    assert clone.ok("ls-remote", "paas") == ""
    app.hold.unlink()
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_forced_push_replaces_history_where_it_is_allowed(app: ServerApp, clone: Clone) -> None:
    clone.commit()
    clone.ok("push", "paas", "main")
    clone.ok("reset", "--quiet", "--hard", "HEAD~1")
    clone.commit()
    assert clone.git("push", "paas", "main").status == 1
    assert "forced update" in clone.ok("push", "--force", "paas", "main")
    assert app.head() == clone.head()


def test_a_forced_push_is_refused_where_it_is_not_allowed(app: ServerApp, clone: Clone) -> None:
    clone.commit()
    clone.ok("push", "paas", "main")
    before, files = app.head(), app.files()
    clone.ok("reset", "--quiet", "--hard", "HEAD~1")
    clone.commit()
    app.script(allow_force=False)
    result = clone.git("push", "--force", "paas", "main")
    assert result.status == 1
    assert "(non-fast-forward: main has commits that yours does not" in result.output
    assert app.head() == before
    assert app.files() == files


def test_going_back_to_an_old_commit_sends_no_objects(app: ServerApp, clone: Clone) -> None:
    old = clone.head()
    clone.commit()
    clone.ok("push", "paas", "main")
    output = clone.ok("push", "--force", "paas", f"{old}:main")
    assert "received 32 bytes" in output
    assert app.head() == old


def test_of_eight_pushes_at_once_one_wins_and_the_others_are_told(
    app: ServerApp, clone: Clone, make_clone: MakeClone
) -> None:
    clone.ok("push", "paas", "main")
    rivals = [make_clone(app.url) for _ in range(8)]
    heads = [rival.commit({"rival": f"{number}\n"}) for number, rival in enumerate(rivals)]
    app.hold.touch()
    with ThreadPoolExecutor(8) as pool:
        pushes = [pool.submit(rival.git, "push", "origin", "main") for rival in rivals]
        wait_until(lambda: app.log().count("started") == 9, "all pushes are in")
        app.hold.unlink()
        results = [push.result() for push in pushes]
    won = [head for head, result in zip(heads, results, strict=True) if result.status == 0]
    assert won == [app.head()]
    assert sum("(fetch first: main has moved to" in result.output for result in results) == 7
    assert app.quarantines() == []
    app.fsck()


def test_a_queued_push_that_builds_on_the_one_before_is_taken(app: ServerApp, clone: Clone) -> None:
    """Both saw the same ref when they were sent; the second one descends from the first."""
    clone.ok("push", "paas", "main")
    clone.commit()
    app.hold.touch()
    first = clone.start("push", "paas", "main")
    wait_until(lambda: app.log().count("started") == 2, "the first push is in")
    clone.commit()
    second = clone.start("push", "paas", "main")
    wait_until(lambda: app.log().count("started") == 3, "the second push is in")
    app.hold.unlink()
    outputs = [process.communicate(timeout=30)[0] for process in (first, second)]
    # Whichever job finished first: the newest commit is what stands at the end.
    assert second.returncode == 0, outputs
    assert app.head() == clone.head()


def test_a_push_over_the_size_limit_says_so_and_leaves_nothing(app: ServerApp, clone: Clone) -> None:
    app.script(limits={"max_pack_bytes": 500_000})
    clone.commit({"random": os.urandom(2 * 1024 * 1024)})
    result = clone.git("push", "paas", "main")
    assert result.status == 1
    assert app.head() is None
    assert app.files() == set()
    clone.ok("config", "http.postBuffer", "8000000")
    result = clone.git("push", "paas", "main")
    assert "pack exceeds maximum allowed size (488 KiB)" in result.output


def test_a_client_with_a_sha256_repository_is_told_that_it_does_not_fit(
    app: ServerApp, clone: Clone, make_clone: MakeClone
) -> None:
    clone.ok("push", "paas", "main")
    files = app.files()
    other = make_clone(app.url, "--init", "--object-format=sha256")
    other.commit()
    result = other.git("push", "paas", "main")
    assert result.status != 0
    assert "hash algorithm" in result.output
    assert app.files() == files


def test_an_unknown_app_and_a_foreign_one_look_the_same(server: GitServer, app: ServerApp, clone: Clone) -> None:
    for url in (ServerApp(server, "nosuch", app.transport).url, app.address("charlie")):
        result = clone.git("push", url, "main")
        assert result.status == 128
        assert re.search(r"(remote:| ! {4}) No app named '\w+' that you may access.", result.output)
        assert re.search(r"(remote:| ! {4}) Create it: paas create", result.output)
        assert str(server.root) not in result.output


def test_a_viewer_is_told_why_not(app: ServerApp, clone: Clone) -> None:
    app.script(forbidden=True)
    result = clone.git("push", "paas", "main")
    assert result.status == 128
    assert re.search(r"(remote:| ! {4}) You may look at this app, not deploy it.", result.output)
    assert re.search(r"(remote:| ! {4}) Ask its owner.", result.output)


def test_the_address_works_without_its_ending(app: ServerApp, clone: Clone) -> None:
    clone.ok("push", app.url.removesuffix(".git"), "main")
    assert app.head() == clone.head()


def test_silence_is_bridged_with_keepalives(app: ServerApp, clone: Clone) -> None:
    app.script(lines=["late"], pause=1.5)
    trace = clone.path.parent / "trace"
    environment = {**clone.environment(), "GIT_TRACE_PACKET": str(trace)}
    subprocess.run(["git", "push", "paas", "main"], cwd=clone.path, env=environment, check=True, capture_output=True)
    packets = trace.read_text()
    assert len(re.findall(r"sideband< \\1\s*$", packets, re.MULTILINE)) >= 3, packets
