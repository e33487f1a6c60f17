"""Change config vars. A change is a new release; config has no table of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.db import transaction

from paas.accounts.models import User
from paas.apps.events import identity
from paas.apps.models import App
from paas.config.selectors import Config, changed_config, difference, present_config
from paas.core import audit
from paas.core.events import Include, tell
from paas.releases.models import Release, ReleaseKind
from paas.releases.services import create_change
from runtime.errors import Conflict, NotFound


@transaction.atomic
def change_config(
    app: App,
    changes: Mapping[str, str | None],
    *,
    by: User,
    replace: bool = False,
    keep: Collection[str] = (),
    seen_version: int | None = None,
) -> Release | None:
    """Set (text) or unset (None) several at once: one release. With `replace`, all go that are neither named nor to
    `keep`. None when nothing changes. Raises `InvalidInput`, and `Conflict` when the config is another than in release
    `seen_version`."""
    App.objects.select_for_update().get(pk=app.pk)
    present = present_config(app)
    if seen_version is not None:
        check_seen(app, present, seen_version)
    after = changed_config(present.values, changes, replace=replace, keep=keep)
    change = difference(present.values, after)
    if not change:
        return None
    release = create_change(app, by=by, kind=ReleaseKind.CONFIG, description=str(change), config=after)
    data = {
        "app": identity(app),
        "release": {"id": str(release.pk), "version": release.version} if release else None,
        "set": sorted(name for name in after if after[name] != present.values.get(name)),
        "unset": sorted(present.values.keys() - after.keys()),
    }
    tell(Include.CONFIG, "update", data, app_id=app.pk, app_name=app.name, by=by)
    return release


def check_seen(app: App, present: Config, seen_version: int) -> None:
    """Raises `Conflict`. A release that only changed something else meanwhile does no harm."""
    if seen_version == present.version:
        return
    seen = app.releases.filter(version=seen_version).first()
    if seen is not None and seen.config == present.values:
        return
    meanwhile = difference(seen.config, present.values) if seen else None
    what = f": {meanwhile}" if meanwhile else ""
    raise Conflict(
        f"The config of {app.name} has changed since you looked at it: that was v{seen_version}, now it is "
        f"v{present.version}{what}.",
        hint="Nothing was overwritten. Look at your change against the present config, then apply it again.",
        id="config_changed",
    )


def reveal_config(app: App, names: Collection[str] | None = None, *, by: User, action: str = "reveal") -> Config:
    """The values of these vars, or of all, for a person's eyes (`export`: for a file). The audit log has the names.
    Raises `NotFound`."""
    present = present_config(app)
    missing = sorted(set(names or ()) - present.values.keys())
    if missing:
        raise NotFound(
            f"{app.name} has no config var {missing[0][:128]!r}.",
            hint=f"See their names with: paas config -a {app.name}",
            id="config_var_not_found",
        )
    shown = {name: value for name, value in sorted(present.values.items()) if names is None or name in names}
    audit.record(
        f"config.{action}",
        by=by,
        app_id=app.id,
        app_name=app.name,
        version=present.version,
        names=sorted(shown),
    )
    return Config(shown, present.version)
