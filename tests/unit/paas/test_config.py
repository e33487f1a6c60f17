"""Config vars: what may be one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paas.config.services import MAX_TOTAL_BYTES, MAX_VALUE_BYTES, check_config
from runtime.errors import InvalidInput


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "Ä", "PORT", "PAAS_APP", "A" * 129, "A\n"])
def test_bad_names_are_refused(name):
    with pytest.raises(InvalidInput) as caught:
        check_config({name: "x"})
    assert caught.value.hint


@pytest.mark.parametrize("value", ["a\0b", "x" * (MAX_VALUE_BYTES + 1)])
def test_values_an_environment_cannot_carry_are_refused(value):
    with pytest.raises(InvalidInput):
        check_config({"A": value})


def test_the_whole_config_has_a_limit():
    with pytest.raises(InvalidInput, match="config would be"):
        check_config({f"A{n}": "x" * 30_000 for n in range(MAX_TOTAL_BYTES // 30_000 + 1)})


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=5))
def test_whatever_comes_it_is_accepted_or_refused_in_words(config):
    refusal = None
    try:
        check_config(config)
    except InvalidInput as exc:
        refusal = exc
    assert refusal is None or (refusal.message and refusal.hint)
