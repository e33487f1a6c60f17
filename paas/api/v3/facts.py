"""What is the same for everybody: the region, the stacks, the sizes of dynos."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from ninja import Router

from paas.accounts.models import Scope
from paas.api.auth import ApiRequest, TokenAuth, find_app
from paas.api.errors import missing
from paas.api.ranges import page_of
from paas.api.schemas import Answer, NamedRef, Time, made_up, made_up_id, names_of
from paas.apps.models import STACKS
from runtime.errors import InvalidInput

router = Router(tags=["Platform"], auth=TokenAuth(writing=Scope.READ, for_one_app=True))
REGION = "local"  # one machine is one region
GENERATION = "cedar"  # any other makes Heroku's CLI ask for what only their newer platform has
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
MIB, GIB = 1024**2, 1024**3


@dataclass(frozen=True, slots=True)
class Size:
    """What the limits of a process type are called in the API."""

    name: str
    memory_bytes: int
    cpu_shares: int
    is_dedicated: bool = False


# As large as Heroku's; the first of two equal ones names the limits. Shares are weights here, not cores.
SIZES = (
    Size("Standard-1X", 512 * MIB, 1024),
    Size("Standard-2X", GIB, 2048),
    Size("Performance-M", 2560 * MIB, 4096, is_dedicated=True),
    Size("Performance-L", 14 * GIB, 8192, is_dedicated=True),
    Size("Performance-L-RAM", 30 * GIB, 8192, is_dedicated=True),
    Size("Basic", 512 * MIB, 1024),
    Size("Eco", 512 * MIB, 1024),
)
CUSTOM = "Custom"
HEROKUS_STACKS = re.compile(r"cedar(-14)?|heroku-\d\d")  # what scripts and libraries ask for out of habit: our usual one


def size_name(memory_bytes: int, cpu_shares: int) -> str:
    for size in SIZES:
        if (size.memory_bytes, size.cpu_shares) == (memory_bytes, cpu_shares):
            return size.name
    return CUSTOM


def find_size(name: str) -> Size | None:
    """In any case, by name or id."""
    return next((each for each in SIZES if name.lower() in names_of("dyno-size", each.name)), None)


def size_limits(name: str) -> dict[str, int]:
    """What a size stands for. Raises `InvalidInput`."""
    size = find_size(name)
    if size is None:
        raise InvalidInput(
            f"There is no size {name[:40]!r}.",
            hint=f"Choose among {', '.join(each.name for each in SIZES)}, or set limits of your own: paas ps:limits.",
            id="unknown_size",
        )
    return {"memory_bytes": size.memory_bytes, "cpu_shares": size.cpu_shares}


def stack_name(identity: str) -> str:
    """Of a stack that is named by its id, or as one of Heroku's; anything else as it is, for the service to judge."""
    if HEROKUS_STACKS.fullmatch(identity):
        return STACKS[0]
    return next((name for name in STACKS if identity.lower() in names_of("stack", name)), identity)


class ProviderAnswer(Answer):
    name: str
    region: str


class RegionAnswer(Answer):
    country: str
    created_at: Time
    description: str
    id: UUID
    locale: str
    name: str
    private_capable: bool
    provider: ProviderAnswer
    updated_at: Time


class StackAnswer(Answer):
    created_at: Time
    default: bool
    id: UUID
    name: str
    state: str
    updated_at: Time


class SizeAnswer(Answer):
    architecture: str
    compute: int
    cost: None
    dedicated: bool
    generation: NamedRef
    id: UUID
    memory: float
    name: str
    precise_dyno_units: float
    private_space_only: bool


REGIONS = (
    RegionAnswer(
        country="Here",
        created_at=SINCE,
        description="This machine",
        id=made_up_id("region", REGION),
        locale="Here",
        name=REGION,
        private_capable=False,
        provider=ProviderAnswer(name="paas", region=REGION),
        updated_at=SINCE,
    ),
)
STACK_ANSWERS = tuple(
    StackAnswer(
        created_at=SINCE,
        default=name == STACKS[0],
        id=made_up_id("stack", name),
        name=name,
        state="public",
        updated_at=SINCE,
    )
    for name in STACKS
)
SIZE_ANSWERS = tuple(
    SizeAnswer(
        architecture="amd64",
        compute=size.cpu_shares // 1024,
        cost=None,
        dedicated=size.is_dedicated,
        generation=made_up("generation", GENERATION),
        id=made_up_id("dyno-size", size.name),
        memory=size.memory_bytes / GIB,
        name=size.name,
        precise_dyno_units=size.cpu_shares / 1024,
        private_space_only=False,
    )
    for size in SIZES
)


Fact = TypeVar("Fact", RegionAnswer, StackAnswer, SizeAnswer)


def _id(each: RegionAnswer | StackAnswer | SizeAnswer) -> UUID:
    return each.id


def _name(each: RegionAnswer | StackAnswer | SizeAnswer) -> str:
    return each.name


def _found(among: Iterable[Fact], kind: str, identity: str) -> Fact:
    for each in among:
        if identity.lower() in names_of(kind, each.name):
            return each
    raise missing(kind.replace("-", "_"))


@router.get("/regions", response=list[RegionAnswer])
def list_regions(request: ApiRequest) -> list[RegionAnswer]:
    return page_of(request, REGIONS, id=_id, name=_name)


@router.get("/regions/{region}", response=RegionAnswer)
def region_info(request: ApiRequest, region: str) -> RegionAnswer:
    return _found(REGIONS, "region", region)


@router.get("/stacks", response=list[StackAnswer])
def list_stacks(request: ApiRequest) -> list[StackAnswer]:
    return page_of(request, STACK_ANSWERS, id=_id, name=_name)


@router.get("/stacks/{stack}", response=StackAnswer)
def stack_info(request: ApiRequest, stack: str) -> StackAnswer:
    return _found(STACK_ANSWERS, "stack", stack)


@router.get("/apps/{identity}/available-stacks", response=list[StackAnswer])
def list_stacks_for_app(request: ApiRequest, identity: str) -> list[StackAnswer]:
    find_app(request, identity)
    return page_of(request, STACK_ANSWERS, id=_id, name=_name)


@router.get("/dyno-sizes", response=list[SizeAnswer])
def list_sizes(request: ApiRequest) -> list[SizeAnswer]:
    return page_of(request, SIZE_ANSWERS, id=_id, name=_name)


@router.get("/dyno-sizes/{size}", response=SizeAnswer)
def size_info(request: ApiRequest, size: str) -> SizeAnswer:
    return _found(SIZE_ANSWERS, "dyno-size", size)


@router.get("/apps/{identity}/available-dyno-sizes", response=list[SizeAnswer])
def list_sizes_for_app(request: ApiRequest, identity: str) -> list[SizeAnswer]:
    find_app(request, identity)
    return page_of(request, SIZE_ANSWERS, id=_id, name=_name)
