"""A site of files: served by nginx from the stack, out of the folder that holds index.html."""

from __future__ import annotations

from runtime.builder.api import SourceTree
from runtime.buildpacks.api import Match, Plan, Settings
from runtime.buildpacks.node import build_script, read_package

VERSION = "1"

#: Where the site is looked for when it is part of the source.
FOLDERS = ("public", "dist", "build", "_site", "")
#: Where build tools put it; the first one that exists is served.
BUILT = ("dist", "build", "out", "_site", "public")


class Static:
    name = "static"
    title = "Static site"
    looks_for: tuple[str, ...] = ("index.html", "public/index.html", "dist/index.html")

    def detect(self, source: SourceTree) -> Match | None:
        folder = _folder(source)
        if folder is None:
            return None
        return Match(self.name, f"{folder}/index.html" if folder else "index.html")

    def plan(self, source: SourceTree, settings: Settings) -> Plan:  # noqa: ARG002 - one of a Protocol
        folder = _folder(source)
        built = source.read("package.json") is not None and bool(build_script(read_package(source)))
        if built:
            # A build tool's own template lies in the root; what it makes of it does not exist yet.
            choices = " ".join(f"/app/{name}" for name in BUILT)
            command = (
                f'for f in {choices} /app; do [ -f "$f/index.html" ] && exec /paas/serve-static "$f"; done; '
                'echo "There is no index.html to serve" >&2; exit 1'
            )
        else:
            command = f"/paas/serve-static /app/{folder}".rstrip("/")
        return Plan(
            language="static",
            version=VERSION,
            using="Using nginx" if built else f"Using nginx to serve {'the folder ' + folder if folder else 'the root'}",
            process_types={"web": command},
        )


def _folder(source: SourceTree) -> str | None:
    files = {entry.path for entry in source.entries()}
    return next((name for name in FOLDERS if (f"{name}/index.html" if name else "index.html") in files), None)
