"""From the source to a recipe: Dockerfile or buildpacks, app.json, Procfile. Reads only, and knows no engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from runtime.builder.api import BuildRequest, SourceTree
from runtime.buildpacks.api import Plan, Settings
from runtime.buildpacks.appjson import AppJson, parse_app_json
from runtime.buildpacks.detect import choose
from runtime.buildpacks.procfile import Procfile, parse_procfile
from runtime.errors import BuildFailed

PROCESSES = "paas/processes/"


@dataclass(frozen=True, slots=True)
class Recipe:
    app_json: AppJson
    process_types: Mapping[str, str]
    release_command: str
    process_lines: tuple[str, ...] = ()  # what the log says about them
    dockerfile: str = ""  # its path; "" = buildpacks
    names: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    plans: tuple[Plan, ...] = ()
    left_out: tuple[str, ...] = ()  # prefixes of paths that the dependency layer brings
    files: Mapping[str, bytes] = field(default_factory=dict)  # of the source layer, beside the source
    keep: Callable[[str], bool] | None = None

    @property
    def health_checks(self) -> Mapping[str, Mapping[str, object]]:
        return self.app_json.health_checks


def read_recipe(request: BuildRequest) -> Recipe:
    """A Dockerfile in the root (or the one that app.json names) wins, unless the request names buildpacks, or else
    app.json does.

    Process types come from the Procfile; those that a buildpack knows by itself count only when it declares none."""
    source = request.source
    app_json = parse_app_json(source.read("app.json") or b"{}")
    procfile = parse_procfile(source.read("Procfile") or b"")
    named = tuple(request.buildpacks) or app_json.buildpacks
    dockerfile = _dockerfile(source, app_json, named)
    declared = procfile.process_types
    if dockerfile:
        return Recipe(
            app_json=app_json,
            process_types=declared,
            release_command=procfile.release_command,
            process_lines=_lines(procfile, {}, "The image's own command is the process type web"),
            dockerfile=dockerfile,
            names=("dockerfile",),
            titles=("Dockerfile",),
        )
    chosen = choose(source, named)
    plans = tuple(
        pack.plan(
            source,
            Settings(stack=request.stack, environment=request.environment, is_run_time=number == len(chosen)),
        )
        for number, (pack, _) in enumerate(chosen, 1)
    )
    defaults = dict(plans[-1].process_types)
    process_types = declared or defaults
    if not process_types:
        raise BuildFailed(
            f"There is no process type to run: {_without(procfile)}, and nothing in the source tells how the app starts.",
            hint='Add a Procfile with a line such as "web: gunicorn app:app", and push again.',
            id="no_process_types",
        )
    left_out = tuple(
        folder
        for plan, folder in ((plan, {"python": ".venv/", "node": "node_modules/"}.get(plan.language)) for plan in plans)
        if folder and plan.dependencies is not None
    )
    return Recipe(
        app_json=app_json,
        process_types=process_types,
        release_command=procfile.release_command,
        process_lines=_lines(procfile, defaults, ""),
        names=tuple(pack.name for pack, _ in chosen),
        titles=tuple(pack.title for pack, _ in chosen),
        plans=plans,
        left_out=left_out,
        files={
            **{path.lstrip("/"): content for path, content in plans[-1].files.items()},
            **{f"{PROCESSES}{name}": f"{command}\n".encode() for name, command in process_types.items()},
            **({f"{PROCESSES}release": f"{procfile.release_command}\n".encode()} if procfile.release_command else {}),
        },
        keep=(lambda path: not path.startswith(left_out)) if left_out else None,
    )


def _dockerfile(source: SourceTree, app_json: AppJson, named: tuple[str, ...]) -> str:
    if named and named != ("dockerfile",):
        return ""
    wanted = app_json.dockerfile or "Dockerfile"
    if any(entry.path == wanted for entry in source.entries()):
        return wanted
    if app_json.dockerfile or named:
        who = "app.json asks" if app_json.dockerfile or app_json.buildpacks else "The app's buildpacks ask"
        raise BuildFailed(
            f"{who} for {wanted}, which is not part of the push.",
            hint="Add it to git, or correct what asks for it.",
            id="dockerfile_missing",
        )
    return ""


def _lines(procfile: Procfile, defaults: Mapping[str, str], otherwise: str) -> tuple[str, ...]:
    lines = []
    if procfile.process_types:
        lines.append(f"Procfile declares types: {', '.join(procfile.process_types)}")
    elif defaults:
        lines.append(f"Default types for this app: {', '.join(defaults)}")
    elif otherwise:
        lines.append(otherwise)
    if procfile.release_command:
        lines.append("Procfile declares a release command")
    return tuple(lines)


def _without(procfile: Procfile) -> str:
    return "the Procfile declares only a release command" if procfile.release_command else "there is no Procfile"
