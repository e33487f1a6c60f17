"""Forms. What a name may look like is the services' affair; forms say what was missing, and keep what was typed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django import forms

from runtime.errors import Conflict, InvalidInput


def text(*, mono: bool = True, **attributes: str) -> forms.TextInput:
    """An input for names and the like, which no keyboard should correct."""
    quiet = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
    return forms.TextInput(attrs={"class": "input-mono", **quiet, **attributes} if mono else {**quiet, **attributes})


class AppForm(forms.Form):
    name = forms.CharField(
        label="Name",
        max_length=30,
        widget=text(),
        help_text="Up to 30 lower-case letters, digits and single dashes. It becomes part of the address.",
    )


class RenameForm(forms.Form):
    name = forms.CharField(
        label="Name",
        max_length=30,
        widget=text(),
        help_text="The address and the git remote change with it, and the instances are replaced. The name it was made "
        "with stays its own: nobody else can take that.",
    )


class BranchForm(forms.Form):
    deploy_branch = forms.CharField(
        label="Deploy branch", max_length=200, widget=text(), help_text="Pushes to other branches are refused."
    )


PASSWORD_HELP = "At least 10 characters; none that many people use, and none like your name or e-mail."  # noqa: S105


class RunForm(forms.Form):
    command = forms.CharField(
        label="Command",
        max_length=4000,
        widget=text(placeholder="python manage.py migrate"),
        help_text="It runs in a new container of the current release, with its config, and without a terminal.",
    )


@contextmanager
def refusals_shown(form: forms.Form, field: str | None = None) -> Iterator[None]:
    """A service's `InvalidInput` or `Conflict` becomes an error of the form, or of one field of it."""
    try:
        yield
    except (InvalidInput, Conflict) as exc:
        form.add_error(field, str(exc))
