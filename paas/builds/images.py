"""Images that people have pushed, made into one of the app's: found by what docker calls them, checked, copied."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from paas.apps.models import App
from paas.builds.models import Build
from paas.releases.models import Release
from paas.releases.selectors import wished_release
from paas.wiring import registry
from runtime.builder.api import BuildConsole, BuildLimits, BuildResult, LayerInfo
from runtime.errors import BuildFailed, InvalidInput, ManifestUnknown, NotFound, RegistryError
from runtime.images.values import Image, host_architecture, is_digest

RELEASE = "release"  # no process: its command runs once, before the others start
PUSHED = "image"  # where other images have the names of their buildpacks
MOST_TAGS = 200
LIMITS = BuildLimits()


def find_pushed(app: App, process: str, image_id: str) -> str:
    """The digest of the image that was pushed for a process type, by its id as docker has it (the digest of its config),
    or by its own digest. Raises `NotFound` or `InvalidInput`."""
    repository = f"{app.name}/{process}"
    if not is_digest(image_id):
        raise InvalidInput(
            f"{image_id[:100]!r} is no id of an image.", hint="It begins with sha256: and has 64 hex digits.",
            id="invalid_image_id",
        )  # fmt: skip
    tags = registry().tags(repository)
    for tag in sorted(tags, key=lambda name: name != "latest")[:MOST_TAGS]:
        try:
            image = registry().get_image(repository, tag)
        except RegistryError:
            continue  # for another machine, or none that can be run
        if image_id in {image.digest, image.config_descriptor.digest}:
            return image.digest
    if registry().head_manifest(repository, image_id) is not None:
        return registry().get_image(repository, image_id).digest
    raise NotFound(
        f"There is no image {image_id[:19]}… for {process} in the registry.",
        hint=f"Push it first: docker push …/{repository}",
        id="image_not_found",
    )


def adopt(build: Build, console: BuildConsole) -> BuildResult:
    """Copy what was pushed to where the app's images are. Raises `BuildFailed`."""
    app = build.app
    found: dict[str, Image] = {}
    for process, digest in sorted(build.pushed_images.items()):
        repository = f"{app.name}/{process}"
        console.step(f"Image of {process}: {repository}@{digest[:19]}…")
        try:
            found[process] = registry().get_image(repository, digest)
        except ManifestUnknown as exc:
            raise BuildFailed(
                f"The image of {process} is not in the registry any more.", hint="Push it again.", id="image_not_found"
            ) from exc
        _check(process, found[process])
    first = next((process for process in ("web", *found) if process in found and process != RELEASE), "")
    if not first:
        raise BuildFailed(
            "A release command alone is nothing that can run.", hint="Release another process type with it.",
            id="no_process_types",
        )  # fmt: skip
    image = found[first]
    commands = {process: _command(first, image, process, other) for process, other in found.items()}
    kept, release_command = _kept(wished_release(app), image, first, found)
    console.check()
    fresh = registry().copy_image(image.digest, source=f"{app.name}/{first}", target=app.repository)
    registry().tag(app.repository, image.digest, f"build-{build.number}")
    console.line(f"{image.size / 1e6:.1f} MB in {len(image.layers)} layers{'' if fresh else ', as before'}")
    if kept:
        console.line(f"Of the release before, with the same layers: {', '.join(sorted(kept))}")
    return BuildResult(
        digest=image.digest,
        repository=app.repository,
        size=image.size,
        layers=[LayerInfo(PUSHED, layer.digest, layer.size, reused=not fresh) for layer in image.layers],
        process_types={**kept, **{process: text for process, text in commands.items() if process != RELEASE}},
        release_command=commands.get(RELEASE, release_command),
        default_process=image.command,
        exposed_port=image.exposed_port,
        health_checks={},
        stack="container",
        buildpacks=(PUSHED,),
        launcher=False,
        has_image_health_check=image.has_health_check,
        seconds={},
    )


def _check(process: str, image: Image) -> None:
    system = str(image.document.get("os", "linux"))
    if image.architecture != host_architecture() or system != "linux":
        raise BuildFailed(
            f"The image of {process} is for {system}/{image.architecture}; this machine is linux/{host_architecture()}.",
            hint=f"Build it for this one: docker build --platform linux/{host_architecture()} …",
            id="wrong_architecture",
        )
    if not image.command:
        raise BuildFailed(
            f"The image of {process} does not say what it runs.",
            hint="Give it a CMD or an ENTRYPOINT in its Dockerfile.",
            id="no_command",
        )
    if image.size > LIMITS.max_image_bytes:
        raise BuildFailed(
            f"The image of {process} has {image.size / 1e6:.0f} MB compressed; the limit is "
            f"{LIMITS.max_image_bytes / 1e6:.0f} MB.",
            hint="Use a smaller base image, or build in stages and copy only what the app needs.",
            id="image_too_large",
        )


def _command(first: str, image: Image, process: str, other: Image) -> str:
    """What a process type runs in the image of the first one. "": what the image runs by itself. A release has one
    image, so the others must not differ in more than that."""
    if process == first or (other.digest == image.digest and process != RELEASE):
        return ""
    if _files(other) != _files(image):
        raise BuildFailed(
            f"The images of {first} and {process} have different layers, and a release has one image.",
            hint="Make them of one Dockerfile that has everything, and let them differ by CMD alone.",
            id="several_images",
        )
    if image.settings.get("Entrypoint"):
        raise BuildFailed(
            f"The image of {first} has an ENTRYPOINT, so {process} can't run another command in it.",
            hint="Use CMD instead.",
            id="several_images",
        )
    return shlex.join(other.command)


def _kept(before: Release | None, image: Image, first: str, found: Mapping[str, Image]) -> tuple[dict[str, str], str]:
    """Process types that were released from pushed images before and are not among these, with the release command: they
    go on in the new image when it has the same layers."""
    if before is None or before.image is None or before.image.buildpacks != [PUSHED]:
        return {}, ""
    others = {process: command for process, command in before.process_types.items() if process not in found}
    if not others:
        return {}, ""
    if [layer["digest"] for layer in before.image.layers] != [layer.digest for layer in image.layers]:
        names = ", ".join(sorted(others))
        every = " ".join(sorted({*others, *found}))
        raise BuildFailed(
            f"A release has one image, and v{before.version} has another one for {names}.",
            hint=f"Release all of them at once: {every}. Or remove those that are not needed any more.",
            id="several_images",
        )
    old = registry().get_image(before.image.repository, before.image.digest)
    kept = {process: command or _command(first, image, process, old) for process, command in others.items()}
    return kept, before.release_command


def _files(image: Image) -> list[str]:
    return [layer.diff_id for layer in image.layers]
