"""Config as `.env` text, both ways. What `format_env` writes, `parse_env` reads back as it was, whatever the values.

Values are literal: nothing is interpolated, `$HOME` stays `$HOME`. Three ways to write one:

    NAME=plain          up to the end of the line; blanks around it and a comment after it (` # …`) do not count
    NAME='as it is'     everything up to the next single quote, over several lines if need be; there are no escapes
    NAME="with \\n"      over several lines as well; \\n \\r \\t \\\\ \\" \\' \\$ and \\` stand for one character each

`export ` before a name and lines with a `#` first are left out. Lines may end as on any system. Unlike python-dotenv's
parser, a quoted value may end with a backslash, and every problem is found and has a line number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from paas.config.rules import check_name, check_value
from runtime.errors import InvalidInput

MAX_CHARACTERS = 512 * 1024
MOST_PROBLEMS = 20

_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?(?P<name>[^\s=#'\"]+)[ \t]*=(?=[ \t]*(?P<quote>['\"]?))")
_QUOTED = {
    "'": re.compile(r"[ \t]*'(?P<text>[^']*)'"),
    '"': re.compile(r'[ \t]*"(?P<text>(?:[^"\\]|\\.)*)"', re.DOTALL),
}
_AFTER_QUOTE = re.compile(r"(?:[ \t]+#[^\n]*|[ \t]*)(?:\n|\Z)")
_LINE = re.compile(r"([^\n]*)(?:\n|\Z)")
_COMMENT = re.compile(r"[ \t]#")
_ESCAPE = re.compile(r"\\([nrt\\\"'$`])")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_NEEDS_NO_QUOTES = re.compile(r"[A-Za-z0-9_./:@%+,-]*")


@dataclass(frozen=True, slots=True)
class EnvText:
    values: Mapping[str, str]
    notes: tuple[str, ...]  # what a person may not expect


class InvalidEnvText(InvalidInput):
    id = "invalid_env_text"


def parse_env(text: str) -> EnvText:
    """Raises `InvalidEnvText` with all problems, each with its line. None of them quotes a value."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidEnvText(f"The text has {len(text):,} characters; {MAX_CHARACTERS:,} are the limit.")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    values: dict[str, str] = {}
    lines: dict[str, list[int]] = {}
    problems: list[str] = []
    at = line = 0

    def go_to(position: int) -> None:
        nonlocal at, line
        line += text.count("\n", at, position)
        at = position

    while at < len(text):
        number = line + 1
        if blank := _BLANK.match(text, at):
            go_to(blank.end())
            continue
        match = _NAME.match(text, at)
        if match is None:
            problems.append(f"Line {number} is not NAME=value.")
            go_to(_end_of_line(text, at))
            continue
        name, quote = match["name"], match["quote"]
        go_to(match.end())
        if quote:
            quoted = _QUOTED[quote].match(text, at)
            if quoted is None:
                problems.append(f"Line {number}: the {quote} that begins the value is never closed.")
                break  # what is a line and what is a value from here on, nobody knows
            value = quoted["text"] if quote == "'" else _ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[1]), quoted["text"])
            go_to(quoted.end())
            rest = _AFTER_QUOTE.match(text, at)
            if rest is None:
                problems.append(f"Line {line + 1}: there is more after the {quote} that ends the value.")
            go_to(rest.end() if rest else _end_of_line(text, at))
        else:
            content = _LINE.match(text, at)
            assert content is not None
            value = _COMMENT.split(content[1], maxsplit=1)[0].strip(" \t")
            go_to(content.end())
        problems += _problems_of(number, name, value)
        values[name] = value
        lines.setdefault(name, []).append(number)
    if problems:
        shown, more = problems[:MOST_PROBLEMS], len(problems) - MOST_PROBLEMS
        raise InvalidEnvText("\n".join(shown + [f"And {more} more."] * (more > 0)), hint="Nothing was changed.")
    return EnvText(values, tuple(_note(name, numbers) for name, numbers in lines.items() if len(numbers) > 1))


def _end_of_line(text: str, at: int) -> int:
    match = _LINE.match(text, at)
    assert match is not None
    return match.end()


def _problems_of(number: int, name: str, value: str) -> list[str]:
    try:
        check_name(name)
        check_value(name, value)
    except InvalidInput as exc:
        # What stands where a name should be may be a piece of a secret that was pasted without its quotes.
        words = "the name has other characters than letters, digits and underscores, or begins with a digit."
        return [f"Line {number}: {words if exc.id == 'invalid_config_name' else exc.message}"]
    return []


def _note(name: str, numbers: list[int]) -> str:
    earlier = ", ".join(str(number) for number in numbers[:-1])
    return f"{name} is there more than once: line {numbers[-1]} counts, not {earlier}."


def format_env(config: Mapping[str, str]) -> str:
    return "".join(f"{name}={_quoted(value)}\n" for name, value in sorted(config.items()))


def _quoted(value: str) -> str:
    """In the form that most programs read alike: shells, Docker Compose, the dotenv libraries."""
    if _NEEDS_NO_QUOTES.fullmatch(value):
        return value
    if not re.search(r"['\\\r]", value):
        return f"'{value}'"
    return '"' + re.sub(r"([\\\"$`])", r"\\\1", value).replace("\r", "\\r") + '"'
