"""Which buildpacks an app needs, in which order. The last one gives the run-time, those before it prepare files."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.builder.api import SourceTree
from runtime.buildpacks import node
from runtime.buildpacks.api import Buildpack, Match
from runtime.buildpacks.node import Node
from runtime.buildpacks.python import Python
from runtime.buildpacks.static import Static
from runtime.errors import BuildFailed

#: All there are, by name.
BUILDPACKS: dict[str, Buildpack] = {pack.name: pack for pack in (Python(), Node(), Static())}


def choose(source: SourceTree, named: Sequence[str] = ()) -> list[tuple[Buildpack, Match]]:
    """What app.json names, or what the files say. Raises `BuildFailed` with the id `no_buildpack`."""
    if named:
        return [(BUILDPACKS[name], BUILDPACKS[name].detect(source) or Match(name, "app.json")) for name in named]
    python, javascript, static = (BUILDPACKS[name].detect(source) for name in ("python", "node", "static"))
    if javascript is not None:
        package = node.read_package(source)
        builds = bool(node.build_script(package))
        if python is not None:
            # A Python app whose style sheets or scripts are built; without a build script the package.json is for tools.
            return [(BUILDPACKS["node"], javascript)] * builds + [(BUILDPACKS["python"], python)]
        if node.has_start(source, package) or source.read("Procfile") is not None or not (builds or static):
            return [(BUILDPACKS["node"], javascript)]
        found = static or Match("static", "package.json")
        return [(BUILDPACKS["node"], javascript)] * builds + [(BUILDPACKS["static"], found)]
    if python is not None:
        return [(BUILDPACKS["python"], python)]
    if static is not None:
        return [(BUILDPACKS["static"], static)]
    raise BuildFailed(
        "No buildpack recognised this app.\n"
        f"Looked for {_listed([*_looked_for(), 'Dockerfile'])} in the root of {source.commit[:7]}.",
        hint='Add one of them, or name a buildpack in app.json: {"buildpacks": ["python"]}',
        id="no_buildpack",
    )


def _looked_for() -> list[str]:
    return [name for pack in BUILDPACKS.values() for name in pack.looks_for]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"
