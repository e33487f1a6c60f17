"""Change config vars. A change is a new release; config has no table of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping

from django.db import transaction

from paas.accounts.models import User
from paas.apps.models import App
from paas.releases.models import Release, ReleaseKind
from paas.releases.selectors import wished_release
from paas.releases.services import create_change
from runtime.errors import InvalidInput

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
RESERVED_PREFIXES = ("PAAS_",)
RESERVED = frozenset({"PORT"})
MAX_VALUE_BYTES = 32 * 1024
MAX_TOTAL_BYTES = 64 * 1024


def check_config(config: Mapping[str, str]) -> None:
    """Names as the shell and POSIX take them, sizes as a process environment takes them. Raises `InvalidInput`."""
    for name, value in config.items():
        if not NAME.fullmatch(name):
            raise InvalidInput(
                f"{name!r} can't be the name of a config var.",
                hint="Use letters, digits and underscores; begin with a letter or an underscore.",
                id="invalid_config_name",
            )
        if name in RESERVED or name.startswith(RESERVED_PREFIXES):
            raise InvalidInput(f"{name} is set by the platform.", hint="Choose another name.", id="reserved_config_name")
        if "\0" in value:
            raise InvalidInput(
                f"The value of {name} contains a NUL character.",
                hint="An environment can't carry one; encode the value, for example with base64.",
                id="invalid_config_value",
            )
        if len(value.encode()) > MAX_VALUE_BYTES:
            raise InvalidInput(
                f"The value of {name} is {len(value.encode()):,} bytes; the limit is {MAX_VALUE_BYTES:,}.",
                hint="Keep large data in a file of the app or in a store, and its address in the config.",
                id="config_too_large",
            )
    total = sum(len(name.encode()) + len(value.encode()) for name, value in config.items())
    if total > MAX_TOTAL_BYTES:
        raise InvalidInput(
            f"The config would be {total:,} bytes; the limit is {MAX_TOTAL_BYTES:,}.",
            hint="Keep large data in a file of the app or in a store.",
            id="config_too_large",
        )


@transaction.atomic
def change_config(app: App, changes: Mapping[str, str | None], *, by: User) -> Release | None:
    """Set (text) or unset (None) several at once: one release. None when nothing changes. Raises `InvalidInput`."""
    App.objects.select_for_update().get(pk=app.pk)
    base = wished_release(app)
    before: dict[str, str] = dict(base.config) if base else {}
    after = {**before, **{name: value for name, value in changes.items() if value is not None}}
    for name, value in changes.items():
        if value is None:
            after.pop(name, None)
    if after == before:
        return None
    check_config(after)
    put = sorted(name for name in after if after[name] != before.get(name))
    gone = sorted(name for name in before if name not in after)
    words = [f"Set {', '.join(put)}"] * bool(put) + [f"Unset {', '.join(gone)}"] * bool(gone)
    return create_change(app, by=by, kind=ReleaseKind.CONFIG, description="; ".join(words), config=after)
