"""Forms. What a name may look like is the services' affair; forms say what was missing, and keep what was typed."""

from __future__ import annotations

from django import forms


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


class BranchForm(forms.Form):
    deploy_branch = forms.CharField(
        label="Deploy branch", max_length=200, widget=text(), help_text="Pushes to other branches are refused."
    )
