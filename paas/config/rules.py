"""What may be a config var."""

from __future__ import annotations

import re
from collections.abc import Mapping

from runtime.errors import InvalidInput

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
RESERVED_PREFIXES = ("PAAS_",)
RESERVED = frozenset({"PORT"})
# The shell that starts an app has its own idea of these, and the last four are variables of our launcher: an app would
# get another value than was set, or none.
SHELLS_OWN = frozenset(
    {
        "_", "BASH", "BASHOPTS", "BASHPID", "BASH_ARGV0", "BASH_COMMAND", "BASH_VERSION", "COMP_WORDBREAKS",
        "EPOCHREALTIME", "EPOCHSECONDS", "HISTCMD", "IFS", "LINENO", "OLDPWD", "OPTERR", "OPTIND", "PPID", "PS1", "PS2",
        "PWD", "RANDOM", "SHELLOPTS", "SHLVL", "SRANDOM",
        "command", "known", "profile", "type",
    }
)  # fmt: skip
MAX_VALUE_BYTES = 32 * 1024
MAX_TOTAL_BYTES = 64 * 1024
MAX_VARS = 500


def check_config(config: Mapping[str, str]) -> None:
    """Names as the shell and POSIX take them, sizes as a process environment takes them. Raises `InvalidInput`."""
    for name, value in config.items():
        check_name(name)
        check_value(name, value)
    if len(config) > MAX_VARS:
        raise InvalidInput(
            f"There would be {len(config):,} config vars; the limit is {MAX_VARS}.",
            hint="Remove some that are not in use.",
            id="config_too_large",
        )
    total = sum(len(name) + len(value.encode()) for name, value in config.items())
    if total > MAX_TOTAL_BYTES:
        raise InvalidInput(
            f"The config would be {total:,} bytes; the limit is {MAX_TOTAL_BYTES:,}.",
            hint="Keep large data in a file of the app or in a store.",
            id="config_too_large",
        )


def check_name(name: str) -> None:
    """Raises `InvalidInput`. Upper and lower case are two names, as everywhere on Linux."""
    if not NAME.fullmatch(name):
        shown = name if len(name) <= 40 else f"{name[:40]}…"
        raise InvalidInput(
            f"{shown!r} can't be the name of a config var.",
            hint="Use up to 128 letters, digits and underscores; begin with a letter or an underscore.",
            id="invalid_config_name",
        )
    if name in RESERVED or name.startswith(RESERVED_PREFIXES):
        raise InvalidInput(f"{name} is set by the platform.", hint="Choose another name.", id="reserved_config_name")
    if name in SHELLS_OWN:
        raise InvalidInput(
            f"{name} is set by the shell that starts the app.", hint="Choose another name.", id="reserved_config_name"
        )


def check_value(name: str, value: str) -> None:
    """Raises `InvalidInput`, which names the var and does not quote the value."""
    try:
        size = len(value.encode())
    except UnicodeEncodeError:  # a lone surrogate: bytes of a command line that are no UTF-8
        raise InvalidInput(
            f"The value of {name} is not UTF-8 text.",
            hint="Encode the value, for example with base64.",
            id="invalid_config_value",
        ) from None
    if "\0" in value:
        raise InvalidInput(
            f"The value of {name} contains a NUL character.",
            hint="An environment can't carry one; encode the value, for example with base64.",
            id="invalid_config_value",
        )
    if size > MAX_VALUE_BYTES:
        raise InvalidInput(
            f"The value of {name} is {size:,} bytes; the limit is {MAX_VALUE_BYTES:,}.",
            hint="Keep large data in a file of the app or in a store, and its address in the config.",
            id="config_too_large",
        )
