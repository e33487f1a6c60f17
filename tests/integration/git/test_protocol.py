"""What the ordinary client never sends or shows: bytes on the wire, evil packs, odd requests."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import socket
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integration.git.conftest import Clone, GitServer, ServerApp, wait_until

ZERO = "0" * 40
AUTHORIZATION = "Basic " + base64.b64encode(b"alice:correct").decode()
ALL = "report-status side-band-64k"


def pkt(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return f"{len(data) + 4:04x}".encode() + data


def packets(data: bytes) -> list[bytes | None]:
    result: list[bytes | None] = []
    while data:
        size = int(data[:4], 16)
        result.append(data[4:size] if size else None)
        data = data[max(size, 4) :]
    return result


def command(new: str, *, old: str = ZERO, ref: str | bytes = "refs/heads/main", capabilities: str = ALL) -> bytes:
    name = ref.encode() if isinstance(ref, str) else ref
    return pkt(f"{old} {new} ".encode() + name + b"\0 " + capabilities.encode()) + b"0000"


def make_pack(*objects: tuple[int, bytes, int] | tuple[int, bytes, int, bytes]) -> bytes:
    """(type, data, size[, base id]): whatever it says, as the format of packs writes it."""
    out = b"PACK" + struct.pack(">II", 2, len(objects))
    for kind, data, size, *base in objects:
        first, rest = (kind << 4) | (size & 15), size >> 4
        header = bytearray()
        while rest:
            header.append(first | 128)
            first, rest = rest & 127, rest >> 7
        header.append(first)
        out += bytes(header) + b"".join(base) + zlib.compress(data)
    return out + hashlib.sha1(out).digest()


def object_id(kind: str, data: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()


def commit_of(tree: str) -> bytes:
    return f"tree {tree}\nauthor A <a@b> 1600000000 +0000\ncommitter A <a@b> 1600000000 +0000\n\nEvil\n".encode()


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def report(self) -> str:
        """The status report, from band 1 or bare."""
        found = packets(self.body)
        if any(packet and packet[:1] in {b"\x01", b"\x02"} for packet in found):
            found = packets(b"".join(packet[1:] for packet in found if packet and packet[:1] == b"\x01"))
        return b"".join(packet for packet in found if packet).decode()


class Wire:
    def __init__(self, server: GitServer, app: ServerApp) -> None:
        self.server = server
        self.app = app

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            names = {"Authorization": AUTHORIZATION, **{key.replace("_", "-"): value for key, value in headers.items()}}
            connection.request(method, path, body=body, headers=names, encode_chunked=isinstance(body, Iterator))  # type: ignore[arg-type]
            response = connection.getresponse()
            return Answer(status=response.status, headers=response.headers, body=response.read())
        finally:
            connection.close()

    def push(self, body: object, **headers: str) -> Answer:
        kind = "application/x-git-receive-pack-request"
        return self.request("POST", f"/{self.app.name}.git/git-receive-pack", body, Content_Type=kind, **headers)

    def nothing_was_left(self) -> None:
        assert self.app.files() == set()
        assert self.app.quarantines() == []
        assert self.app.log() == []
        assert self.app.head() is None


@pytest.fixture
def wire(server: GitServer, app: ServerApp) -> Wire:
    return Wire(server, app)


def whole_pack(clone: Clone) -> bytes:
    return clone.pack("HEAD", revs=True)


def test_the_advertisement_names_refs_and_not_head(wire: Wire, app: ServerApp, clone: Clone) -> None:
    clone.ok("push", "paas", "main")
    answer = wire.request("GET", f"/{app.name}.git/info/refs?service=git-receive-pack")
    assert answer.headers["Content-Type"] == "application/x-git-receive-pack-advertisement"
    assert "no-cache" in answer.headers["Cache-Control"]
    first, _, ref, *_ = packets(answer.body)
    assert first == b"# service=git-receive-pack\n"
    assert ref is not None
    assert ref.startswith(f"{clone.head()} refs/heads/main\0".encode())
    assert b"push-options" in ref
    assert b"HEAD" not in answer.body


def test_the_probe_before_a_large_body_is_answered(wire: Wire) -> None:
    answer = wire.push(b"0000")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["X-Accel-Buffering"] == "no"


def test_a_client_without_side_band_gets_the_bare_report(wire: Wire, app: ServerApp, clone: Clone) -> None:
    app.script(lines=["not shown"])
    answer = wire.push(command(clone.head(), capabilities="report-status") + whole_pack(clone))
    assert answer.body == pkt("unpack ok\n") + pkt("ok refs/heads/main\n") + b"0000"
    assert app.head() == clone.head()


def test_a_client_without_report_gets_lines_and_an_end(wire: Wire, app: ServerApp, clone: Clone) -> None:
    app.script(lines=["shown"])
    answer = wire.push(command(clone.head(), capabilities="side-band-64k") + whole_pack(clone))
    assert packets(answer.body)[-2:] == [b"\x02shown\n", None]
    assert app.head() == clone.head()


def test_a_client_with_neither_gets_nothing(wire: Wire, app: ServerApp, clone: Clone) -> None:
    answer = wire.push(command(clone.head(), capabilities="") + whole_pack(clone))
    assert (answer.status, answer.body) == (200, b"")
    assert app.head() == clone.head()


def test_keepalives_are_empty_packets_of_band_1(wire: Wire, app: ServerApp, clone: Clone) -> None:
    app.script(lines=["late"], pause=0.8)
    answer = wire.push(command(clone.head()) + whole_pack(clone))
    assert b"0005\x01" in answer.body
    assert "ok refs/heads/main" in answer.report()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_zipped_body_is_unpacked(wire: Wire, app: ServerApp, clone: Clone, chunked: bool) -> None:
    body = gzip.compress(command(clone.head()) + whole_pack(clone))
    pieces = iter([body[:100], body[100:]])
    answer = wire.push(pieces if chunked else body, Content_Encoding="gzip")
    assert "ok refs/heads/main" in answer.report()
    assert app.head() == clone.head()


def test_a_body_that_only_claims_to_be_zipped(wire: Wire) -> None:
    answer = wire.push(b"not gzip at all", Content_Encoding="gzip")
    assert answer.status == 400
    wire.nothing_was_left()


def test_a_command_that_changes_nothing_is_fine_and_deploys_nothing(wire: Wire, app: ServerApp, clone: Clone) -> None:
    clone.ok("push", "paas", "main")
    head = clone.head()
    assert "ok refs/heads/main" in wire.push(command(head, old=head) + make_pack()).report()
    assert app.log().count("started") == 1


def test_a_stale_old_value_is_refused(wire: Wire, app: ServerApp, clone: Clone) -> None:
    clone.commit()
    clone.ok("push", "paas", "main")
    clone.ok("checkout", "--quiet", "-b", "other", "HEAD~1")
    other = clone.commit()
    answer = wire.push(command(other, old=clone.head("HEAD~1")) + clone.pack(other, "^main", revs=True))
    assert "ng refs/heads/main fetch first: main has moved to" in answer.report()
    assert app.quarantines() == []


def test_a_missing_file_is_noticed(wire: Wire, clone: Clone) -> None:
    tree = clone.plumb("mktree", "--missing", data=f"100644 blob {'1' * 40}\tfile\n".encode())
    commit = clone.plumb("commit-tree", tree, "-m", "Hole")
    answer = wire.push(command(commit) + clone.pack(commit, tree))
    assert f"unpack did not receive expected object {'1' * 40}" in answer.report()
    wire.nothing_was_left()


def test_a_missing_parent_is_noticed(wire: Wire, clone: Clone) -> None:
    clone.commit()
    clone.commit()
    answer = wire.push(command(clone.head()) + clone.pack("HEAD", "^HEAD~1", revs=True))
    assert "ng refs/heads/main" in answer.report()
    wire.nothing_was_left()


def test_a_ref_to_something_that_does_not_exist_is_refused(wire: Wire) -> None:
    assert "ng refs/heads/main missing necessary objects" in wire.push(command("1" * 40) + make_pack()).report()
    wire.nothing_was_left()


def test_a_branch_that_is_a_file_is_refused(wire: Wire, clone: Clone) -> None:
    blob = clone.head("HEAD:README")
    assert "ng refs/heads/main a branch must be a commit" in wire.push(command(blob) + clone.pack(blob)).report()
    wire.nothing_was_left()


EVIL = {
    "git folder": [(b"40000", b".git", b"tree")],
    "git folder in capitals": [(b"40000", b".GIT", b"tree")],
    "git folder, Windows' short name": [(b"40000", b"git~1", b"tree")],
    "parent": [(b"40000", b"..", b"tree")],
    "self": [(b"40000", b".", b"tree")],
    "slash": [(b"100644", b"../x", b"blob")],
    "absolute": [(b"100644", b"/etc/x", b"blob")],
    "empty name": [(b"100644", b"", b"blob")],
    "twice": [(b"100644", b"a", b"blob"), (b"100644", b"a", b"blob")],
    "unsorted": [(b"100644", b"b", b"blob"), (b"100644", b"a", b"blob")],
    "mode 0": [(b"0", b"a", b"blob")],
    "linked .gitmodules": [(b"120000", b".gitmodules", b"blob")],
}


@pytest.mark.parametrize("entries", EVIL.values(), ids=EVIL.keys())
def test_an_evil_tree_is_refused(wire: Wire, entries: list[tuple[bytes, bytes, bytes]]) -> None:
    blob = b"content\n"
    inner = b"100644 file\0" + bytes.fromhex(object_id("blob", blob))
    ids = {b"blob": bytes.fromhex(object_id("blob", blob)), b"tree": bytes.fromhex(object_id("tree", inner))}
    tree = b"".join(mode + b" " + name + b"\0" + ids[kind] for mode, name, kind in entries)
    commit = commit_of(object_id("tree", tree))
    pack = make_pack(
        (1, commit, len(commit)), (2, tree, len(tree)), (2, inner, len(inner)), (3, blob, len(blob)),
    )  # fmt: skip
    answer = wire.push(command(object_id("commit", commit)) + pack)
    assert "ng refs/heads/main unpacker error" in answer.report()
    assert str(wire.server.root).encode() not in answer.body
    wire.nothing_was_left()


def bomb(copies: int, count: int = 1) -> bytes:
    """Deltas that each copy the same 64 KiB over and over."""
    base = bytes(65_536)
    objects: list[tuple[int, bytes, int] | tuple[int, bytes, int, bytes]] = [(3, base, len(base))]
    for number in range(count):
        end = bytes([1, number])  # makes each of them another object
        delta = varint(len(base)) + varint(copies * 65_536 + 1) + b"\x80" * copies + end
        objects.append((7, delta, len(delta), bytes.fromhex(object_id("blob", base))))
    return make_pack(*objects)


def test_a_pack_that_swells_in_memory_is_stopped(wire: Wire, app: ServerApp) -> None:
    app.script(limits={"max_memory_bytes": 300_000_000})
    pack = bomb(16_384)
    assert len(pack) < 20_000
    assert "unpack pack needs too much memory" in wire.push(command("1" * 40) + pack).report()
    wire.nothing_was_left()


def test_a_pack_that_takes_for_ever_is_stopped(wire: Wire, app: ServerApp) -> None:
    app.script(limits={"max_cpu_seconds": 1})
    assert "unpack pack takes too long to unpack" in wire.push(command("1" * 40) + bomb(2_000, 60)).report()
    wire.nothing_was_left()


@pytest.mark.parametrize("damage", ["cut", "no pack", "checksum", "header", "nothing"])
def test_a_damaged_pack_is_refused(wire: Wire, clone: Clone, damage: str) -> None:
    pack = whole_pack(clone)
    sent = {
        "cut": pack[:-30],
        "no pack": b"GIF89a" + pack,
        "checksum": pack[:-1] + bytes([pack[-1] ^ 1]),
        "header": pack[:12],
        "nothing": b"",
    }[damage]
    answer = wire.push(command(clone.head()) + sent)
    assert "ng refs/heads/main unpacker error" in answer.report()
    assert "unpack ok" not in answer.report()
    wire.nothing_was_left()


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        (b"HEAD", "funny refname"),
        (b"refs/heads/../../x", "funny refname"),
        (b"refs/heads/a.lock", "funny refname"),
        (b"refs/heads/a b", "funny refname"),
        (b"refs/heads/a@{1}", "funny refname"),
        (b"refs/heads//a", "funny refname"),
        (b"refs/heads/" + b"a" * 400, "funny refname"),
        (b"refs/replace/" + b"1" * 40, "refs/replace is not taken here"),
        (b"refs/heads/\xff", "the name of the ref is not UTF-8"),
    ],
)
def test_an_odd_ref_is_refused(wire: Wire, app: ServerApp, clone: Clone, ref: bytes, reason: str) -> None:
    app.script(any_ref=True)
    answer = wire.push(command(clone.head(), ref=ref) + whole_pack(clone))
    assert b"ng " + ref + b" " + reason.encode() in answer.body
    wire.nothing_was_left()


def test_too_many_commands_are_refused(wire: Wire, clone: Clone) -> None:
    head = clone.head()
    lines = command(head)[:-4] + b"".join(pkt(f"{ZERO} {head} refs/heads/b{n}") for n in range(201)) + b"0000"
    answer = wire.push(lines + whole_pack(clone))
    assert "ng refs/heads/b200 at most 200 refs in one push" in answer.report()
    wire.nothing_was_left()


@pytest.mark.parametrize(
    "body",
    [
        b"zzzz",
        b"0003",
        b"0010garbage line",
        pkt("push-cert\0 x") + b"0000",
        pkt(f"{ZERO} {ZERO} r\0 no-such-capability"),
    ],
)
def test_what_is_no_git_is_a_bad_request(wire: Wire, body: bytes) -> None:
    answer = wire.push(body + b"0000")
    assert answer.status in {400, 408}
    assert answer.headers["Content-Type"].startswith("text/plain")
    wire.nothing_was_left()


def test_an_upload_that_breaks_off_leaves_nothing(wire: Wire, server: GitServer, app: ServerApp, clone: Clone) -> None:
    with stalled_upload(server, app, command(clone.head()) + whole_pack(clone)[:-40]):
        wait_until(app.quarantines, "the pack begins to arrive")
    wait_until(lambda: not app.quarantines(), "the quarantine goes")
    wire.nothing_was_left()


def test_an_upload_that_stalls_does_not_hold_its_thread(
    wire: Wire, server: GitServer, app: ServerApp, clone: Clone
) -> None:
    app.script(limits={"body_timeout_seconds": 1})
    with stalled_upload(server, app, command(clone.head()) + whole_pack(clone)[:-40]) as connection:
        connection.settimeout(10)
        assert b" 408 " in connection.recv(1000)
    wire.nothing_was_left()


def stalled_upload(server: GitServer, app: ServerApp, begin: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    head = (
        f"POST /{app.name}.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: {AUTHORIZATION}\r\n"
        "Content-Type: application/x-git-receive-pack-request\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    # Enough for a block, which the server passes on before it asks for more.
    body = begin + bytes(200_000)
    connection.sendall(head.encode() + f"{len(body):x}\r\n".encode() + body + b"\r\n")
    return connection


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("HEAD", "/", 404),
        ("GET", "/{app}.git", 404),
        ("GET", "/{app}.git/HEAD", 404),
        ("GET", "/{app}.git/objects/info/packs", 404),
        ("GET", "/{app}.git/../etc/passwd", 404),
        ("GET", "/a/b.git/info/refs?service=git-upload-pack", 404),
        ("GET", "/nosuch.git/info/refs?service=git-upload-pack", 404),
        ("GET", "/..git/info/refs?service=git-upload-pack", 404),
        ("GET", "/{app}.git/info/refs", 403),
        ("GET", "/{app}.git/info/refs?service=git-archive", 403),
        ("POST", "/{app}.git/info/refs?service=git-upload-pack", 405),
        ("GET", "/{app}.git/git-upload-pack", 405),
        ("POST", "/{app}.git/git-upload-pack", 415),
        ("HEAD", "/{app}.git/info/refs?service=git-upload-pack", 200),
    ],
)
def test_other_requests_get_a_clean_answer(wire: Wire, method: str, path: str, status: int) -> None:
    answer = wire.request(method, path.format(app=wire.app.name))
    assert answer.status == status
    assert str(wire.server.root).encode() not in answer.body
    if status != 200:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("header", ["", "Bearer x", "Basic !!!", "Basic " + base64.b64encode(b"no colon").decode()])
def test_without_a_password_the_client_is_asked_for_one(wire: Wire, header: str) -> None:
    answer = wire.request("GET", f"/{wire.app.name}.git/info/refs?service=git-upload-pack", Authorization=header)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="tests", charset="UTF-8"'


def test_a_wrong_password_is_called_that(server: GitServer, app: ServerApp, clone: Clone) -> None:
    result = clone.git("push", server.address(app.name, password="wrong"), "main")
    assert result.status == 128
    assert "This token is wrong, or it has expired." in result.output
    assert "Authentication failed" in result.output
