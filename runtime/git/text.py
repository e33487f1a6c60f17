"""Text of strangers on its way to somebody's terminal or page."""

from __future__ import annotations

import re
import unicodedata

MAX_LINE = 8000
_COLOUR = re.compile(r"\x1b\[[0-9;:]{0,32}m")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])?")
_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_RESET = "\x1b[0m"


def _is_harmless(character: str) -> bool:
    # Cc: controls. Cf: bidirectional overrides and other invisible ones; joiners are needed to write words and emoji.
    if character in "\t\u200c\u200d":
        return True
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def plain(text: str) -> str:
    """One line without control characters, escapes and colours."""
    text = " ".join(_ESCAPE.sub("", text).split())
    return "".join(filter(_is_harmless, text))


def short_commit(text: str) -> str:
    """The part of a commit's id that people compare; what is none, such as the version of an archive, stays whole."""
    return text[:8] if _ID.fullmatch(text) else text


def reason(text: str, limit: int = 400) -> str:
    """What may follow `ng <ref>`."""
    text = plain(text) or "refused"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def terminal_lines(text: str) -> list[str]:
    """The lines of a log event: colours stay, every other escape and control character goes."""
    return [_terminal_line(line) for line in re.split(r"\r?\n", text.removesuffix("\n"))]


def _terminal_line(line: str) -> str:
    # A progress bar rewrites its line: what was left standing is what counts.
    segments = [segment for segment in line.split("\r") if segment.strip()]
    line = segments[-1] if segments else ""
    if line.isascii() and line.isprintable():
        return line if len(line) <= MAX_LINE else line[:MAX_LINE] + "…"
    parts: list[str] = []
    end = 0
    colours = _COLOUR.findall(line)
    for match in _COLOUR.finditer(line):
        parts += [_strip(line[end : match.start()]), match.group()]
        end = match.end()
    parts.append(_strip(line[end:]))
    cleaned = "".join(parts)
    if len(cleaned) > MAX_LINE:
        cleaned = _strip(_COLOUR.sub("", cleaned))[:MAX_LINE] + "…"
        colours = []
    if colours and colours[-1] not in {"\x1b[m", _RESET}:
        cleaned += _RESET
    return cleaned


def _strip(text: str) -> str:
    return "".join(filter(_is_harmless, _ESCAPE.sub("", text)))
