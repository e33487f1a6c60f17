"""What differs between two states of an app. Pure values: the pages, the command line and the tests show the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from runtime.git.history import Course, History
from runtime.git.text import short_commit

MASKED = "••••••"


class Turn(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs, in words. None: it is not there on this side."""

    subject: str
    before: str | None
    after: str | None

    @property
    def turn(self) -> Turn:
        return Turn.ADDED if self.before is None else Turn.REMOVED if self.after is None else Turn.CHANGED


@dataclass(frozen=True, slots=True)
class ImageFacts:
    digest: str
    size_bytes: int
    commit: str = ""
    subject: str = ""
    stack: str = ""
    buildpacks: tuple[str, ...] = ()
    layers: tuple[Mapping[str, Any], ...] = ()  # {"kind", "digest", "size"}


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a release holds, or would hold."""

    title: str
    image: ImageFacts | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    process_types: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[Mapping[str, Any]] = ()
    limits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    health: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LayerChange:
    kind: str
    digest: str
    size_bytes: int
    turn: Turn | None  # None: it is the same on both sides


@dataclass(frozen=True, slots=True)
class Diff:
    before: Contents
    after: Contents
    history: History | None  # None: the image is the same, or one side has none
    config: tuple[Change, ...]  # values are masked
    processes: tuple[Change, ...]
    ports: tuple[Change, ...]
    limits: tuple[Change, ...]
    health: tuple[Change, ...]
    layers: tuple[LayerChange, ...]

    @property
    def has_other_image(self) -> bool:
        return _digest(self.before) != _digest(self.after)

    @property
    def is_empty(self) -> bool:
        return not (self.has_other_image or self.config or self.processes or self.ports or self.limits or self.health)

    @property
    def groups(self) -> tuple[tuple[str, tuple[Change, ...]], ...]:
        """All but the image, by subject; empty ones too."""
        return (
            ("config", self.config),
            ("process", self.processes),
            ("port", self.ports),
            ("limit", self.limits),
            ("health", self.health),
        )

    @property
    def code(self) -> str:
        """Where the code goes, in words; "" when it stays."""
        if not self.has_other_image:
            return ""
        old, new = self.before.image, self.after.image
        if old is None or new is None:
            return f"{_commit(old)} → {_commit(new)}"
        return f"{_commit(old)} → {_commit(new)}, {_course(self.history)}"

    @property
    def size(self) -> str:
        """How the image changes in size, and how much of it is the same; "" when it stays."""
        if not self.has_other_image:
            return ""
        old, new = self.before.image, self.after.image
        sizes = f"{_size(old.size_bytes) if old else 'no image'} → {_size(new.size_bytes) if new else 'no image'}"
        same = [layer for layer in self.layers if layer.turn is None]
        other = [layer for layer in self.layers if layer.turn is Turn.ADDED]
        return sizes + f", {_counted(same, 'the same')}, {_counted(other, 'other')}" * bool(old and new)

    def lines(self) -> Iterator[str]:
        """As plain text, a line for each thing that differs."""
        if self.code:
            yield f"code: {self.code}"
        if self.history is not None:
            for sign, commits, count in (
                ("+", self.history.added, self.history.added_count),
                ("-", self.history.removed, self.history.removed_count),
            ):
                for commit in commits:
                    yield f"  {sign} {commit.id[:8]} {commit.subject} ({commit.author}, {commit.at:%Y-%m-%d})"
                if count > len(commits):
                    yield f"  {sign} and {count - len(commits)} more"
        for title, changes in self.groups:
            for change in changes:
                words = {
                    Turn.ADDED: f"added: {change.after}",
                    Turn.REMOVED: f"removed: {change.before}",
                    Turn.CHANGED: f"{change.before} → {change.after}",
                }
                masked = title == "config" and {change.before, change.after} <= {MASKED, None}
                yield f"{title} {change.subject}{' ' if masked else ': '}{change.turn if masked else words[change.turn]}"
        if self.size:
            yield f"image: {self.size}"
        if self.is_empty:
            yield "nothing differs"


def compare(before: Contents, after: Contents, history: History | None = None) -> Diff:
    return Diff(
        before=before,
        after=after,
        history=history,
        config=_changes(before.config, after.config, lambda _: MASKED),
        processes=_changes(
            before.process_types, after.process_types, lambda command: command or "the image's own command"
        ),
        ports=_changes(_by_public_port(before.ports), _by_public_port(after.ports), str),
        limits=_changes(_flat_limits(before.limits), _flat_limits(after.limits), str),
        health=_changes(before.health, after.health, health_in_words),
        layers=_layers(before.image, after.image),
    )


def config_values(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    """The config vars that differ with their values, for those who may read them."""
    return _changes(before, after, str)


def health_in_words(check: Mapping[str, Any]) -> str:
    kind = check.get("kind")
    port = f" on port {check['port']}" if check.get("port") else ""
    words = {
        "http": f"GET {check.get('path', '/')}{port}",
        "tcp": f"answers{port or ' on its port'}",
        "uptime": f"stays up for {check.get('uptime_seconds', 2):g} s",
        "image": "the image's own check",
    }.get(str(kind), str(kind))
    timeout = f", {check['timeout_seconds']:g} s each" if check.get("timeout_seconds") else ""
    start = f", within {check['start_seconds']:g} s" if check.get("start_seconds") else ""
    return words + timeout + start


def port_in_words(port: Mapping[str, Any]) -> str:
    return f"{port['process']} on port {port['port']}"


def limit_in_words(name: str, value: int) -> str:
    if name == "memory_bytes":
        return f"{value / 1024**2:g} MiB" if value else "no limit"
    return f"{value / 1024:g} shares" if value != 1024 else "1 share"


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], words: Any) -> tuple[Change, ...]:
    return tuple(
        Change(
            name,
            words(before[name]) if name in before else None,
            words(after[name]) if name in after else None,
        )
        for name in sorted(before.keys() | after.keys())
        if name not in before or name not in after or before[name] != after[name]
    )


def _command(text: str) -> str:
    return text or "the image's own command"


def _by_public_port(ports: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {
        (
            f"{port['public_address']}:{port['public_port']}/{port['protocol']}"
            if port.get("public_port")
            else f"{port['process']}/{port['protocol']}"
        ): port_in_words(port)
        for port in ports
    }


def _flat_limits(limits: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    words = {"memory_bytes": "memory", "cpu_shares": "CPU"}
    return {
        f"{process} {words.get(name, name)}": limit_in_words(name, value)
        for process, limit in limits.items()
        for name, value in limit.items()
    }


def _layers(before: ImageFacts | None, after: ImageFacts | None) -> tuple[LayerChange, ...]:
    old = {str(layer["digest"]): layer for layer in (before.layers if before else ())}
    new = {str(layer["digest"]): layer for layer in (after.layers if after else ())}
    found = []
    for digest, layer in (old | new).items():
        turn = Turn.REMOVED if digest not in new else Turn.ADDED if digest not in old else None
        found.append(LayerChange(str(layer.get("kind", "")), digest, int(layer.get("size", 0)), turn))
    return tuple(found)


def _digest(contents: Contents) -> str:
    return contents.image.digest if contents.image else ""


def _commit(image: ImageFacts | None) -> str:
    if image is None:
        return "no image"
    return short_commit(image.commit) or image.digest[7:19]


def _course(history: History | None) -> str:
    if history is None or history.course is Course.UNKNOWN:
        return "its commits are not in the repository"
    match history.course:
        case Course.SAME:
            return "the same commit, built anew"
        case Course.FORWARD:
            return f"forward by {_number(history.added_count, 'commit')}"
        case Course.BACK:
            return f"back by {_number(history.removed_count, 'commit')}"
        case Course.DIVERGED:
            return (
                f"the history diverged: {_number(history.removed_count, 'commit')} gone, "
                f"{_number(history.added_count, 'commit')} added"
            )


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _counted(layers: Sequence[LayerChange], word: str) -> str:
    size = sum(layer.size_bytes for layer in layers)
    return f"{_number(len(layers), 'layer')} {word}" + f" ({_size(size)})" * bool(layers)


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1000:.1f} kB"
