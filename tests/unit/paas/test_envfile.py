"""Config as .env text: what is written is read back, and what can't be read is said with its line."""

from __future__ import annotations

import io
import shutil
import subprocess

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from paas.config.envfile import InvalidEnvText, format_env, parse_env
from paas.config.rules import MAX_VALUE_BYTES, SHELLS_OWN

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True).filter(
    lambda name: name != "PORT" and not name.startswith("PAAS_") and name not in SHELLS_OWN
)
NASTY = st.text(st.sampled_from(list("'\"\\$`#= \t\n\rnrt{}aä\ufeff\x0b\x0c\x1b\x85\u2028😀")), max_size=12)
VALUES = NASTY | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
CONFIGS = st.dictionaries(NAMES, VALUES, max_size=6)


def read(text):
    """The values, and the words of a refusal."""
    try:
        return parse_env(text).values, ""
    except InvalidEnvText as refusal:
        return {}, str(refusal.message)


@given(CONFIGS)
def test_what_is_exported_is_imported_as_it_was(config):
    text = format_env(config)
    assert parse_env(text).values == config


@given(CONFIGS)
def test_a_browser_or_an_editor_that_changes_the_line_ends_does_no_harm(config):
    text = format_env(config)
    assert parse_env("\ufeff" + text.replace("\n", "\r\n")).values == config


@given(CONFIGS)
def test_nothing_in_a_value_makes_a_line_that_is_read_as_another_var(config):
    assert parse_env("FIRST=1\n" + format_env(config) + "LAST=1\n").values == {"FIRST": "1", **config, "LAST": "1"}


@given(st.text(st.sampled_from(list("AB=1'\"\\ #\n\r\texport")), max_size=40) | st.text(max_size=80))
def test_any_text_is_read_or_refused_with_lines(text):
    found, refusal = read(text)
    assert all(line.startswith(("Line ", "And ")) for line in refusal.splitlines())
    assert parse_env(format_env(found)).values == found


@given(st.dictionaries(NAMES, st.text(st.sampled_from(list('ab $"`#=\n;&|*~')), max_size=12), max_size=4))
def test_other_programs_read_it_alike(config):
    """Those without a single quote, a backslash or a carriage return are literal for everybody."""
    text = format_env(config)
    assert dict(dotenv_values(stream=io.StringIO(text), interpolate=False)) == config


@pytest.mark.parametrize("value", ["it's $HOME", 'a "b" \\ `id` $(id)', "two\nlines", "end\\", "~", "a b"])
def test_a_shell_reads_it_as_it_is(value):
    script = format_env({"VALUE": value}) + 'printf "%s" "$VALUE"\n'
    shell = shutil.which("sh")
    assert shell is not None
    assert subprocess.run([shell], input=script, capture_output=True, text=True, check=True).stdout == value


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1", {"A": "1"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("A=1\rB=2", {"A": "1", "B": "2"}),
        ("\ufeffA=1", {"A": "1"}),
        ("export A=1\n  export\tB = 2 ", {"A": "1", "B": "2"}),
        ("# comment\n\n   # another\nA=1 # rest\nB=1#2\nC= # nothing\nD=#3", {"A": "1", "B": "1#2", "C": "", "D": "#3"}),
        ("A=\nB=''\nC=\"\"", {"A": "", "B": "", "C": ""}),
        ("A='$HOME ${X} \\n' # literal", {"A": "$HOME ${X} \\n"}),
        ('A="$HOME ${X}"', {"A": "$HOME ${X}"}),
        (r'A="\n\r\t\\\"\$\'\`\x\z"', {"A": "\n\r\t\\\"$'`\\x\\z"}),
        ("A='one\ntwo # three\n\nB=4'\nC=5", {"A": "one\ntwo # three\n\nB=4", "C": "5"}),
        ('A="one\r\ntwo"', {"A": "one\ntwo"}),
        ("A=  spaced out  ", {"A": "spaced out"}),
        ("A='  kept  '", {"A": "  kept  "}),
        ("A=x=y=z", {"A": "x=y=z"}),
        (r'A="C:\\"' + "\nB='C:\\'", {"A": "C:\\", "B": "C:\\"}),
        ("A=it's", {"A": "it's"}),
        ("export=1", {"export": "1"}),
        ("a=1\nA=2", {"a": "1", "A": "2"}),
        ("A=\u00a0x\u2028y", {"A": "\u00a0x\u2028y"}),
    ],
)
def test_the_ways_to_write_a_value(text, values):
    assert parse_env(text).values == values


def test_of_a_name_that_is_there_twice_the_last_one_counts_and_it_is_said():
    found = parse_env("A=1\nB=2\nA=3\n")
    assert found.values == {"A": "3", "B": "2"}
    assert found.notes == ("A is there more than once: line 3 counts, not 1.",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A=1\nrubbish", "Line 2 is not NAME=value."),
        ("\n\n=x", "Line 3 is not NAME=value."),
        ("export A", "Line 1 is not NAME=value."),
        ("A='one\ntwo\nB=1", "Line 1: the ' that begins the value is never closed."),
        ('\nA="one\\"', 'Line 2: the " that begins the value is never closed.'),
        ("A='one\ntwo' three", "Line 2: there is more after the ' that ends the value."),
        ("A='x'#y", "Line 1: there is more after the ' that ends the value."),
        ("PORT=1", "Line 1: PORT is set by the platform."),
        ("PAAS_APP=x", "Line 1: PAAS_APP is set by the platform."),
        ("A=a\0b", "Line 1: The value of A contains a NUL character."),
        ("A=\ud800", "Line 1: The value of A is not UTF-8 text."),
        (f"B=1\nA={'x' * (MAX_VALUE_BYTES + 1)}", "Line 2: The value of A is 32,769 bytes; the limit is 32,768."),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(text, problem):
    with pytest.raises(InvalidEnvText) as refused:
        parse_env(text)
    assert refused.value.message == problem


def test_all_problems_are_found_at_once_but_not_endlessly_many():
    with pytest.raises(InvalidEnvText) as refused:
        parse_env("A=1\nx y\n1B=2\nC='ok'\n" + "z z\n" * 30)
    lines = refused.value.message.splitlines()
    assert lines[0] == "Line 2 is not NAME=value."
    assert lines[1].startswith("Line 3: the name")
    assert (len(lines), lines[-1]) == (21, "And 12 more.")


@given(st.text(st.sampled_from(list("ABCabc+/=-")), min_size=12, max_size=30))
def test_no_problem_quotes_what_may_be_a_secret(secret):
    for text in (secret, f"1{secret}=", f"A='x' {secret}", f"A='{secret}", f"{secret}-=x"):
        assert secret not in read(text)[1]


def test_a_text_without_end_is_refused_before_it_is_read():
    with pytest.raises(InvalidEnvText, match="limit"):
        parse_env("A=1\n" * 200_000)
