"""What all bodies and answers have in common."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, PlainSerializer

from paas.accounts.models import User
from paas.apps.models import App
from paas.core.events import moment

# Of what has an id in the API and no row: regions, stacks, sizes. The same on every platform.
NAMES = UUID("8a2f0f3c-6d0e-5c0b-9a55-3f1f6f0f7d11")


class Body(BaseModel):
    """What comes in. Fields that we don't have are left out, as Heroku's clients send more than ours."""

    model_config = ConfigDict(extra="ignore")

    def changed(self) -> dict[str, Any]:
        """Only what was sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Answer(BaseModel):
    """What goes out. Made by keyword from values of the right types."""


Time = Annotated[datetime, PlainSerializer(moment, return_type=str)]


class NamedRef(Answer):
    id: UUID
    name: str


class UserRef(Answer):
    id: UUID
    email: str


def app_ref(app: App) -> NamedRef:
    return NamedRef(id=app.pk, name=app.name)


def user_ref(user: User) -> UserRef:
    return UserRef(id=user.pk, email=user.email)


def made_up_id(kind: str, name: str) -> UUID:
    return uuid5(NAMES, f"{kind}:{name}")


def made_up(kind: str, name: str) -> NamedRef:
    """`made_up("stack", "debian-13")`."""
    return NamedRef(id=made_up_id(kind, name), name=name)


def names_of(kind: str, name: str) -> tuple[str, str]:
    """How a client may call it, in lower case: by name, or by the id that it has here."""
    return name.lower(), str(made_up_id(kind, name))
