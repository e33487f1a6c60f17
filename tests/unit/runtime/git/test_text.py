from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.git.text import MAX_LINE, plain, reason, terminal_lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("hello", ["hello"]),
        ("", [""]),
        ("two\nlines\n", ["two", "lines"]),
        ("dos\r\nlines", ["dos", "lines"]),
        ("tab\tstays", ["tab\tstays"]),
        ("10%\r50%\r100%", ["100%"]),
        ("100%\r", ["100%"]),
        ("bell\x07 back\x08space nul\x00 del\x7f", ["bell backspace nul del"]),
        ("\x1b[31mred\x1b[0m", ["\x1b[31mred\x1b[0m"]),
        ("\x1b[1;38;5;208mopen", ["\x1b[1;38;5;208mopen\x1b[0m"]),
        ("\x1b[2J\x1b[10;10Hmoved", ["moved"]),
        ("\x1b]0;title\x07after", ["after"]),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", ["link"]),
        ("\x1bPdevice\x1b\\control", ["control"]),
        ("\x9b31mC1", ["31mC1"]),
        ("bidi \u202eevil\u202c \u2066x\u2069", ["bidi evil x"]),
        ("fünf 日本語 👩‍💻", ["fünf 日本語 👩‍💻"]),
        ("half \x1b", ["half "]),
        ("half \x1b[3", ["half 3"]),
    ],
)
def test_what_reaches_a_terminal(text: str, lines: list[str]) -> None:
    assert terminal_lines(text) == lines


def test_long_lines_are_cut() -> None:
    (line,) = terminal_lines("x" * 100_000)
    assert line == "x" * MAX_LINE + "…"
    (line,) = terminal_lines("\x1b[31m" + "ü" * 100_000)
    assert line == "ü" * MAX_LINE + "…"


@given(st.text())
def test_no_escape_but_colours_ever_passes(text: str) -> None:
    import re

    for line in terminal_lines(text):
        bare = re.sub(r"\x1b\[[0-9;:]*m", "", line)
        assert all(character == "\t" or ord(character) >= 32 for character in bare)


def test_a_reason_is_one_plain_line() -> None:
    assert reason("first\n  second\x1b[31m\x07") == "first second"
    assert reason("") == "refused"
    assert len(reason("x" * 10_000)) == 400
    assert plain("\x1b[1mbold\x1b[0m\tname") == "bold name"
