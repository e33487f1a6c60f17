"""The config as it is, what a change would make of it, and how it came to be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from paas.apps.models import App
from paas.config.rules import check_config
from paas.releases.models import Release, ReleaseKind, ReleaseStatus
from paas.releases.selectors import wished_release
from runtime.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Config:
    """Of the release that a change would be made from; version 0 when there is none yet."""

    values: Mapping[str, str]
    version: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Names only."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        put = sorted([*self.added, *self.changed])
        words = [f"Set {', '.join(put)}"] * bool(put) + [f"Unset {', '.join(self.removed)}"] * bool(self.removed)
        return "; ".join(words)


@dataclass(frozen=True, slots=True)
class Step:
    """A release that changed the config."""

    release: Release
    difference: Difference

    @property
    def words(self) -> list[tuple[str, tuple[str, ...]]]:
        names = self.difference
        turns = (("Added", names.added), ("Changed", names.changed), ("Removed", names.removed))
        return [(word, which) for word, which in turns if which]


def present_config(app: App) -> Config:
    release = wished_release(app)
    return Config(dict(release.config), release.version) if release else Config({}, 0)


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> Difference:
    both = sorted(before.keys() & after.keys())
    return Difference(
        added=tuple(sorted(after.keys() - before.keys())),
        changed=tuple(name for name in both if before[name] != after[name]),
        removed=tuple(sorted(before.keys() - after.keys())),
        unchanged=tuple(name for name in both if before[name] == after[name]),
    )


def changed_config(
    before: Mapping[str, str],
    changes: Mapping[str, str | None],
    *,
    replace: bool = False,
    keep: Collection[str] = (),
) -> dict[str, str]:
    """What comes of it: text sets a var, None removes it; with `replace` all go that are neither named nor to `keep`.
    Raises `InvalidInput`."""
    unknown = sorted(set(keep) - before.keys())
    if unknown:
        raise InvalidInput(
            f"{unknown[0]} has no value yet that could stay as it is.",
            hint="Write its value, or leave it out.",
            id="config_var_not_found",
        )
    kept = {name: value for name, value in before.items() if not replace or name in keep}
    after = {name: value for name, value in {**kept, **changes}.items() if value is not None}
    check_config(after)
    return after


def config_history(app: App, *, count: int = 20) -> list[Step]:
    """The last changes, newest first; not more of them than can be decrypted in a moment. A release that failed changed
    nothing for the next one: that was made from the one before it."""
    may_change = (ReleaseKind.INITIAL, ReleaseKind.CONFIG, ReleaseKind.ROLLBACK)  # all others carry it over
    fields = ("app", "version", "kind", "status", "config", "description", "created_at", "created_by__email")
    releases = list(
        app.releases.filter(kind__in=may_change)
        .select_related("created_by")
        .only(*fields)
        .order_by("-version")[: count + 5]
    )
    is_all = len(releases) < count + 5
    steps: list[Step] = []
    for place, release in enumerate(releases):
        earlier = next((r for r in releases[place + 1 :] if r.status != ReleaseStatus.FAILED), None)
        if earlier is None and not is_all:
            break
        changed = difference(earlier.config if earlier else {}, release.config)
        if changed:
            steps.append(Step(release, changed))
    return steps[:count]
