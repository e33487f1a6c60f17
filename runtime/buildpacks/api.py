"""What a buildpack is: it looks at the source, and says how an image is made of it. It runs nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from runtime.builder.api import SourceTree

#: What the stacks bring. The key is the stack's name, then the language.
STACK_VERSIONS: Mapping[str, Mapping[str, str]] = {"debian-13": {"python": "3.13", "node": "20"}}


@dataclass(frozen=True, slots=True)
class Match:
    buildpack: str
    reason: str  # the file that gave it away


@dataclass(frozen=True, slots=True)
class Settings:
    """What a plan may depend on besides the source."""

    stack: str = "debian-13"
    environment: Mapping[str, str] = field(default_factory=dict)  # config vars
    is_run_time: bool = True  # False: it only prepares files for the buildpack that gives the run-time


@dataclass(frozen=True, slots=True)
class Dependencies:
    """A step that needs the lock files alone, so its result is kept for as long as they stay the same.

    `script` runs in the language's run stack. It finds `files` under /in and an empty /app, and leaves in /app what is
    to become the layer. With `whole_source` it finds the source in /app, and all that it changes there is the layer."""

    title: str  # "Installing dependencies from requirements.txt"
    script: str
    files: Mapping[str, bytes]
    whole_source: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    config_names: frozenset[str] = frozenset()  # config vars that the step needs (credentials of a private index)
    hint: str = "Correct it, check that it installs on your machine, and push again."


@dataclass(frozen=True, slots=True)
class Generation:
    """A step that needs the whole source and the dependencies: what it changes under /app becomes a layer."""

    title: str
    script: str
    environment: Mapping[str, str] = field(default_factory=dict)
    failure_id: str = "build_script_failed"
    failed: str = "The build script failed"
    hint: str = "The log above has its output. Check that it runs on your machine, and push again."


@dataclass(frozen=True, slots=True)
class Plan:
    language: str  # which stack
    version: str  # part of every cache key: raise it when the same source would give other files
    using: str  # "Using Python 3.13"
    dependencies: Dependencies | None = None
    build_dependencies: Dependencies | None = None  # for `generations` alone; None: the same
    generations: tuple[Generation, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)  # of the image; PATH is put in front of the stack's
    process_types: Mapping[str, str] = field(default_factory=dict)  # for those that no Procfile declares
    tools: tuple[str, ...] = ()  # "npm": wanted by the processes themselves
    files: Mapping[str, bytes] = field(default_factory=dict)  # further files of the source layer, by absolute path
    notes: tuple[str, ...] = ()


class Buildpack(Protocol):
    name: str
    title: str  # "Python"
    looks_for: tuple[str, ...]

    def detect(self, source: SourceTree) -> Match | None: ...
    def plan(self, source: SourceTree, settings: Settings) -> Plan:
        """Raises `BuildFailed` when what the source asks for can't be had."""
        ...
