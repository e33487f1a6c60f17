from __future__ import annotations

from runtime.builder.dockerfile import build_arguments, read_dockerfile
from runtime.engine.buildkit import Trace, encoded, fields


def read(text: str):
    return read_dockerfile(text.encode(), lambda image: f"REF/{image[5:]}" if image.startswith("paas/") else None)


def test_images_of_ours_are_replaced_and_said_so() -> None:
    made = read(
        "FROM paas/python AS page\nRUN true\nFROM --platform=linux/amd64 paas/node\nCOPY --from=page /a /a\n"
        "COPY --chown=1:1 --from=paas/static /b /b\nRUN --mount=type=bind,from=paas/go,target=/go true\n"
        "from alpine:3 as x\nFROM x\n"
    )
    assert made.text.splitlines() == [
        "FROM REF/python AS page",
        "RUN true",
        "FROM --platform=linux/amd64 REF/node",
        "COPY --from=page /a /a",
        "COPY --chown=1:1 --from=REF/static /b /b",
        "RUN --mount=type=bind,from=REF/go,target=/go true",
        "from alpine:3 as x",
        "FROM x",
    ]
    assert made.images == ("paas/python", "paas/node", "alpine:3")
    assert made.notes == ("FROM paas/python is REF/python", "FROM paas/node is REF/node")


def test_a_from_line_may_name_an_argument() -> None:
    made = read("ARG BASE=paas/python\nARG TAG\nFROM ${BASE}\nFROM ${OTHER:-paas/node} AS b\n")
    assert made.text.splitlines()[2:4] == ["FROM REF/python", "FROM REF/node AS b"]
    assert made.arguments == ("BASE", "TAG")


def test_the_line_that_chooses_a_syntax_is_left_out() -> None:
    made = read("# syntax=docker/dockerfile:1\n# escape=`\nFROM paas/python `\n  AS a\nRUN echo `\n  FROM paas/node\n")
    assert "syntax=" not in made.text
    assert "docker/dockerfile:1" in made.notes[0]
    assert "FROM REF/python" in made.text
    assert "  FROM paas/node" in made.text, "a continued line is no instruction"
    assert len(made.text.splitlines()) == 6, "line numbers in BuildKit's messages stay right"


def test_what_stands_in_a_here_document_is_no_instruction() -> None:
    made = read('FROM scratch\nRUN <<"END"\nFROM paas/python\nARG A\nEND\nARG B\n')
    assert "FROM paas/python" in made.text
    assert made.arguments == ("B",)


def test_run_lines_trust_what_the_host_trusts() -> None:
    made = read_dockerfile(
        b"FROM alpine AS a\nRUN --mount=type=cache,target=/c make \\\n  RUN\nrun <<END\nRUN not a line\nEND\n"
        b"FROM scratch \\\n  AS b\nCOPY --from=a /RUN /\n",
        lambda image: None,
        trust=True,
    )
    lines = made.text.splitlines()
    mount = "--mount=type=secret,id=paas.ca,target=/run/paas/ca-certificates.crt,mode=0444"
    assert lines[1].startswith("ARG SSL_CERT_FILE=/run/paas/ca-certificates.crt PIP_CERT=/run/paas/")
    assert lines[9] == lines[1], "each stage has its own"
    assert [line for line in lines if not line.startswith("ARG ")] == [
        "FROM alpine AS a",
        f"RUN {mount} --mount=type=cache,target=/c make \\",
        "  RUN",
        f"run {mount} <<END",
        "RUN not a line",
        "END",
        "FROM scratch \\",
        "  AS b",
        "COPY --from=a /RUN /",
    ]
    assert made.arguments == ()


def test_only_harmless_or_listed_config_vars_become_build_arguments() -> None:
    passed, kept = build_arguments(
        ["EDITION", "TOKEN", "LISTED", "UNSET"],
        {"EDITION": "second", "TOKEN": "0123456789", "LISTED": "0123456789", "OTHER": "x"},
        ["LISTED"],
        {"HTTPS_PROXY": "http://proxy", "UV_DEFAULT_INDEX": "http://index"},
    )
    assert passed == {"EDITION": "second", "LISTED": "0123456789", "HTTPS_PROXY": "http://proxy"}
    assert kept == ["TOKEN"]


def test_protobuf_survives_a_round_trip() -> None:
    message = encoded(1, b"x" * 300) + encoded(2, b"") + b"\x18\x96\x01"
    assert list(fields(message)) == [(1, b"x" * 300), (2, b""), (3, 150)]
    assert list(fields(b"\x0a\xff")) in ([(1, b"")], [])


def test_progress_reads_as_a_log() -> None:
    def vertex(digest: bytes, name: bytes, **more: bool) -> bytes:
        extra = (b"\x20\x01" if more.get("cached") else b"") + (encoded(5, b"") if more.get("started") else b"")
        return encoded(1, encoded(1, digest) + encoded(3, name) + extra)

    def output(digest: bytes, text: bytes) -> bytes:
        return encoded(3, encoded(1, digest) + b"\x18\x01" + encoded(4, text))

    trace = Trace()
    lines = [
        *trace.feed(vertex(b"a", b"[internal] load remote build context", started=True)),
        *trace.feed(vertex(b"b", b"[1/2] FROM x") + vertex(b"c", b"[2/2] RUN make", started=True)),
        *trace.feed(output(b"c", b"one\ntw") + output(b"c", b"o\nrest")),
        *trace.feed(vertex(b"c", b"[2/2] RUN make", started=True) + vertex(b"d", b"[3/3] COPY", cached=True)),
        *trace.rest(),
    ]
    assert lines == ["[2/2] RUN make", "one", "two", "[3/3] COPY (cached)", "rest"]
