"""What people look up is there: every setting and every command."""

from paas import env as environment
from paas.cli.main import paas

REFERENCE = environment.CHECKOUT / "docs" / "reference"


def test_every_setting_is_in_the_reference():
    text = (REFERENCE / "environment.md").read_text()
    assert [variable.name for variable in environment.VARIABLES if f"`{variable.name}`" not in text] == []


def test_every_command_is_in_the_reference():
    text = (REFERENCE / "cli.md").read_text()
    assert [name for name in paas.sources if f"`{name}" not in text] == []
