"""Values of config vars in what is printed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.logs.mask import masked, named_secrets, secrets_of


def test_secrets_are_masked_and_plain_words_are_not():
    secrets = secrets_of(
        {"API_KEY": "abc123xyz", "NODE_ENV": "production", "PIN": "12", "SEED": "9f8e7d6c5b4a39281706", "DEBUG": "true"}
    )
    line = "key abc123xyz in production with 9f8e7d6c5b4a39281706, 12 and true"
    assert masked(line, secrets) == "key [API_KEY] in production with [SEED], 12 and true"


def test_each_line_of_a_secret_of_several_lines_is_masked():
    secrets = secrets_of({"PRIVATE_KEY": "-----BEGIN-----\nMIIEvQIBADAN\n-----END-----"})
    assert masked("saw MIIEvQIBADAN", secrets) == "saw [PRIVATE_KEY]"


def test_the_password_in_an_address_is_masked_by_itself_too():
    secrets = named_secrets({"A_URL": "postgres://shop:p%40ssw0rd@db:5432/shop", "PLAIN": "p4ssw0rd-or-not-x"})
    assert masked("p%40ssw0rd, p@ssw0rd and p4ssw0rd-or-not-x", secrets) == "[A_URL], [A_URL] and p4ssw0rd-or-not-x"


def test_what_is_the_whole_of_one_var_is_called_by_that():
    secrets = named_secrets({"A_URL": "x://shop:hush-hush@db", "B_KEY": "one\nhush-hush", "Z_TOKEN": "hush-hush"})
    assert masked("it is hush-hush", secrets) == "it is [Z_TOKEN]"


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=40), max_size=4), st.text(max_size=60))
def test_whatever_the_values_are_no_line_is_too_much(config, line):
    assert isinstance(masked(line, secrets_of(config)), str)
