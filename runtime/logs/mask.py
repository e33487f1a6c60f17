"""Config vars in what apps and tools print: the name of the var stands in the place of its value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote, urlsplit

SECRET_NAME = re.compile(
    r"SECRET|TOKEN|PASSW|PASSPHRASE|API_?KEY|PRIVATE|CREDENTIAL|AUTH|DSN|SALT|SIGNING|_KEY$|_URL$|_PWD$|CANARY",
    re.IGNORECASE,
)
SHORTEST = 6
Secrets = list[tuple[str, str]]  # (value, mask), longest first


def named_secrets(config: Mapping[str, str]) -> Secrets:
    """Of the config vars whose name says that a log must not show them."""
    return _parts({name: value for name, value in config.items() if SECRET_NAME.search(name)})


def secrets_of(config: Mapping[str, str]) -> Secrets:
    """Of those, and of those whose value looks random. A plain word like `production` stays readable."""
    return _parts({name: value for name, value in config.items() if SECRET_NAME.search(name) or _looks_random(value)})


def masked(line: str, secrets: Iterable[tuple[str, str]]) -> str:
    for value, mask in secrets:
        line = line.replace(value, mask)
    return line


def _looks_random(value: str) -> bool:
    return len(value) >= 16 and " " not in value and bool(re.search(r"\d", value) and re.search(r"[A-Za-z]", value))


def _parts(config: Mapping[str, str]) -> Secrets:
    """The whole, each line of several, and the password in an address. What is the whole of one var and a part of
    another is called by the first."""
    found = [
        (part, f"[{name}]", part != value)
        for name, value in config.items()
        for part in {value, *value.splitlines(), *_passwords(value)}
        if len(part) >= SHORTEST
    ]
    found.sort(key=lambda each: (-len(each[0]), each[2], each))
    return [(part, mask) for part, mask, _ in found]


def _passwords(value: str) -> set[str]:
    try:
        password = urlsplit(value).password or ""
    except ValueError:  # brackets that are no IPv6 address
        return set()
    return {password, unquote(password)}
