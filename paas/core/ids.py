"""What stands in an address for a thing."""

from __future__ import annotations

from uuid import UUID

NOTHING = UUID(int=0)


def uuid_of(text: str | UUID) -> UUID:
    """`NOTHING`, an id that no row has, for what is no id."""
    try:
        return text if isinstance(text, UUID) else UUID(text)
    except ValueError:
        return NOTHING
