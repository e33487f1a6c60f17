from __future__ import annotations

import pytest

from runtime.buildpacks.procfile import parse_procfile
from runtime.errors import BuildFailed


def test_process_types_keep_their_order_and_the_release_command_stands_apart() -> None:
    procfile = parse_procfile(
        b"\xef\xbb\xbf# how it runs\r\nweb: gunicorn app:app --bind 0.0.0.0:$PORT\r\n\r\n"
        b"release:python manage.py migrate\nWorker_1 :  celery -A app worker   \nclock: echo a:b # c"
    )
    assert list(procfile.process_types.items()) == [
        ("web", "gunicorn app:app --bind 0.0.0.0:$PORT"),
        ("Worker_1", "celery -A app worker"),
        ("clock", "echo a:b # c"),
    ]
    assert procfile.release_command == "python manage.py migrate"


def test_an_empty_procfile_declares_nothing() -> None:
    assert parse_procfile(b"\n# nothing\n").process_types == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"web: ok\nthis line has no colon", 'line 2: "this line has no colon"'),
        (b"web: a\nweb: b", 'line 2: "web" was declared in line 1'),
        (b"web:\n", 'line 1: "web" has no command'),
        (b"w b: run", "line 1"),
        (b"-web: run", 'line 1: "-web" is no name'),
        (b"a" * 31 + b": run", "no name for a process type"),
        (b"web: ok\nworker: \xff", "line 2: it is not UTF-8"),
        (b"web: a\0b", "zero byte"),
        (b"../web: run", "line 1"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(content: bytes, words: str) -> None:
    with pytest.raises(BuildFailed) as failed:
        parse_procfile(content)
    assert failed.value.id == "procfile_invalid"
    assert words in failed.value.message
    assert "web: gunicorn app:app" in failed.value.hint
