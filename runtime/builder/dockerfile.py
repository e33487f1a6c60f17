"""Apps with a Dockerfile: built by the engine's BuildKit, pushed to the registry, released by digest like any other.

Config vars reach a Dockerfile in two ways. Each is a BuildKit secret whose id is its name, which
`RUN --mount=type=secret,id=NAME` reads from /run/secrets/NAME and no layer keeps. BuildKit does not run such a line again
merely because the secret has another value. Build arguments stay readable in the
image's history, so a config var becomes one only if the Dockerfile declares `ARG NAME` and either app.json lists it
(`{"build": {"args": ["NAME"]}}`) or its value is shorter than what we take for a secret (eight characters).

Where the host trusts a certificate of its own, behind a proxy that looks into TLS, each RUN line gets its bundle as one
more secret, and each stage build arguments that point to it. It lies beside the image's own bundle, not over it:
`apt-get install ca-certificates` has to be able to write that one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.builder import tars
from runtime.builder.api import BuildConsole, BuildRequest, BuildResult, HostSettings, LayerInfo
from runtime.builder.detection import Recipe
from runtime.builder.failures import out_of_memory
from runtime.builder.ignore import ignore_matcher
from runtime.builder.steps import CA_VARIABLES, MASK_FROM, Deadline, Mask, clean
from runtime.engine.buildkit import BuildKit, BuildOrder, BuildRefused
from runtime.errors import BuildFailed
from runtime.images.layers import assemble
from runtime.images.values import Image
from runtime.registry.auth import Scope
from runtime.registry.client import Registry
from runtime.registry.names import TOKEN_USER
from runtime.stacks.debian13 import LANGUAGES
from runtime.stacks.store import StackStore

_DIRECTIVE = re.compile(r"#\s*(\w+)\s*=\s*(\S+)\s*")
_FROM = re.compile(r"(\s*FROM\s+(?:--\S+\s+)*)(\S+)(.*)", re.IGNORECASE | re.DOTALL)
_RUN = re.compile(r"\s*RUN(?=\s)", re.IGNORECASE)
_ARG = re.compile(r"\s*ARG\s+(.*)", re.IGNORECASE | re.DOTALL)
_COPY = re.compile(
    r"(\s*(?:COPY|ADD|RUN)\s.*?(?:--|,)from=)(paas/[a-z]+(?::[a-z]+)?)(?=[\s,])", re.IGNORECASE | re.DOTALL
)
_HEREDOC = re.compile(r"<<-?\s*[\"']?([A-Za-z_][A-Za-z0-9_]*)[\"']?")
_OURS = re.compile(r"paas/([a-z]+)(?::(latest|build))?")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "ftp_proxy", "all_proxy")
_UNREACHABLE = re.compile(
    r"failed to create LLB definition|pull access denied|failed to resolve source metadata|failed to do request"
    r"|no such host|i/o timeout|connection refused|not found: manifest|: not found$|unauthorized",
    re.IGNORECASE | re.MULTILINE,
)
_EXIT = re.compile(r"exit code: (\d+)")
_CA_SECRET = "paas.ca"  # noqa: S105  # a name; no config var can be called so: names have no dots
_CA_PATH = "/run/paas/ca-certificates.crt"
_CA_MOUNT = f" --mount=type=secret,id={_CA_SECRET},target={_CA_PATH},mode=0444"
_CA_ARGUMENTS = "ARG " + " ".join(f"{name}={_CA_PATH}" for name in CA_VARIABLES)


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """What we read of one, and the text as we hand it on."""

    text: str
    arguments: tuple[str, ...]  # names of ARG lines
    images: tuple[str, ...]  # what FROM lines name, stages left out
    notes: tuple[str, ...]


def read_dockerfile(content: bytes, resolve: Callable[[str], str | None], *, trust: bool = False) -> Dockerfile:
    """`resolve` gives the reference to use for an image of ours, None for any other. With `trust`, what RUN lines
    start trusts the host's certificates; a line more in each stage then shifts the numbers in BuildKit's messages."""
    lines = content.decode("utf-8-sig", "replace").replace("\r\n", "\n").split("\n")
    notes: list[str] = []
    escape = "\\"
    for number, line in enumerate(lines):
        match = _DIRECTIVE.fullmatch(line)
        if match is None:
            break
        if match[1].lower() == "escape":
            escape = match[2]
        if match[1].lower() == "syntax":
            # Another frontend would have to be pulled; the engine's own understands what it understands.
            lines[number] = "# (the line that chose another syntax was here)"
            notes.append(f'The line "# syntax={match[2]}" is left out: the engine\'s own version of the syntax is used.')
    arguments: list[str] = []
    images: list[str] = []
    stages: set[str] = set()
    defaults: dict[str, str] = {}
    at = 0
    while at < len(lines):
        start = at
        while at + 1 < len(lines) and lines[at].rstrip().endswith(escape):
            at += 1
        instruction = "\n".join(lines[start : at + 1])
        at += 1
        if instruction.lstrip().startswith("#"):
            at = start + 1
            continue
        if argument := _ARG.match(instruction):
            for word in argument[1].replace(escape + "\n", " ").split():
                name, _, default = word.partition("=")
                arguments.append(name)
                if not images and not stages:
                    defaults[name] = default.strip("\"'")
        elif wanted := _FROM.match(instruction):
            image = _VARIABLE.sub(lambda found: defaults.get(found[1] or found[3]) or found[2] or "", wanted[2])
            if image not in stages:
                images.append(image)
                ours = resolve(image)
                if ours:
                    notes.append(f"FROM {image} is {ours}")
                    lines[start : start + instruction.count("\n") + 1] = f"{wanted[1]}{ours}{wanted[3]}".split("\n")
            if trust:
                lines[at - 1] += "\n" + _CA_ARGUMENTS
            stage = re.search(r"\bAS\s+(\S+)", wanted[3], re.IGNORECASE)
            if stage:
                stages.add(stage[1])
        else:
            copied = _COPY.match(instruction)
            if copied and copied[2] not in stages and (ours := resolve(copied[2])):
                text = copied[1] + ours + instruction[copied.end() :]
                lines[start : start + instruction.count("\n") + 1] = text.split("\n")
            if trust and (run := _RUN.match(lines[start])):
                lines[start] = run[0] + _CA_MOUNT + lines[start][run.end() :]
            if re.match(r"\s*(?:RUN|COPY|ADD)\s", instruction, re.IGNORECASE):
                for end in _HEREDOC.findall(instruction):
                    while at < len(lines) and lines[at].strip() != end:
                        at += 1
                    at += 1
    return Dockerfile("\n".join(lines), tuple(dict.fromkeys(arguments)), tuple(images), tuple(notes))


def build_arguments(
    declared: Sequence[str], environment: Mapping[str, str], listed: Sequence[str], host: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """What is passed, and the names of config vars that the Dockerfile declares but that stay secrets."""
    passed = {
        name: value for name, value in host.items() if name.lower() in _PROXIES or name in declared
    }  # proxies are predefined arguments: no history keeps them
    kept = []
    for name in declared:
        if name not in environment:
            continue
        if name in listed or len(environment[name]) < MASK_FROM:
            passed[name] = environment[name]
        else:
            passed.pop(name, None)
            kept.append(name)
    return passed, kept


def _shown(line: str, mask: Mask) -> str:
    """A line of BuildKit's, as the developer wrote the instruction in it."""
    return mask(clean(line)).replace(_CA_MOUNT, "")


class DockerfileBuilder:
    def __init__(
        self,
        buildkit: BuildKit,
        registry: Registry,
        stacks: StackStore,
        *,
        registry_host_for_engine: str,
        host: HostSettings,
    ) -> None:
        self._buildkit = buildkit
        self._registry = registry
        self._stacks = stacks
        self._registry_host = registry_host_for_engine
        self._host = host

    def build(
        self,
        request: BuildRequest,
        recipe: Recipe,
        console: BuildConsole,
        *,
        deadline: Deadline,
        mask: Mask,
        folder: Path,
    ) -> BuildResult:
        seconds: dict[str, float] = {}
        console.step(f"{recipe.dockerfile} found, building it")
        bundle = self._host.ca_bundle if self._host.has_own_ca else None
        started = time.monotonic()
        bases: set[str] = set()
        dockerfile = read_dockerfile(
            request.source.read(recipe.dockerfile) or b"",
            lambda image: self._stack_reference(image, console, bases),
            trust=bundle is not None,
        )

        def token() -> str:
            """What this build may do in our registry, which knows images of other apps as well."""
            own = Scope(request.repository, "pull,push")
            return self._registry.engine_token(own, *(Scope(base, "pull") for base in sorted(bases)))

        seconds["stack"] = round(time.monotonic() - started, 3)
        for note in dockerfile.notes:
            console.line(note)
        arguments, kept = build_arguments(
            dockerfile.arguments, request.environment, recipe.app_json.build_args, self._host.environment
        )
        for name in kept:
            console.line(
                f"ARG {name} does not get the config var: a build argument stays readable in the image. Use"
                f' "RUN --mount=type=secret,id={name}", or list it under build.args in app.json.'
            )
        started = time.monotonic()
        context = self._context(request, recipe.dockerfile, dockerfile, folder)
        seconds["source"] = round(time.monotonic() - started, 3)
        tag = next(iter(request.tags), "latest")
        name = f"{self._registry_host}/{request.repository}"
        secrets = {key: value.encode() for key, value in request.environment.items()}
        if bundle is not None:
            secrets[_CA_SECRET] = bundle.read_bytes()
        order = BuildOrder(
            context=context,
            dockerfile=recipe.dockerfile,
            target=recipe.app_json.target,
            no_cache=request.fresh,
            name=f"{name}:{tag}",
            arguments=arguments,
            secrets=secrets,
            credentials=lambda asking: (TOKEN_USER, token()) if asking == self._registry_host and token() else None,
        )
        started = time.monotonic()
        try:
            self._buildkit.build(order, say=lambda line: console.line(_shown(line, mask)), check=deadline.check)
        except BuildRefused as exc:
            raise self._failure(mask(exc.message), dockerfile, request) from exc
        seconds["dependencies"] = round(time.monotonic() - started, 3)
        started = time.monotonic()
        pushed = self._buildkit.push(name, tag, check=deadline.check, registry_token=token())
        image = self._registry.get_image(request.repository, pushed.digest)
        for other in request.tags:
            if other != tag:
                self._registry.tag(request.repository, pushed.digest, other)
        seconds["publish"] = round(time.monotonic() - started, 3)
        if image.size > request.limits.max_image_bytes:
            raise BuildFailed(
                f"The image has {image.size / 1e6:.0f} MB compressed; the limit is "
                f"{request.limits.max_image_bytes / 1e6:.0f} MB.",
                hint="Use a smaller base image, or build in stages and copy only what the app needs.",
                id="image_too_large",
            )
        return self._result(request, recipe, console, image=image, sent=pushed.sent, seconds=seconds)

    def _result(
        self,
        request: BuildRequest,
        recipe: Recipe,
        console: BuildConsole,
        *,
        image: Image,
        sent: frozenset[str],
        seconds: dict[str, float],
    ) -> BuildResult:
        layers = [
            LayerInfo(
                "dockerfile", layer.digest, layer.size, reused=not any(layer.diff_id.startswith(begin) for begin in sent)
            )
            for layer in image.layers
        ]
        console.step("Discovering process types")
        for line in recipe.process_lines:
            console.line(line)
        uploaded = sum(layer.size for layer in layers if not layer.reused)
        console.step(f"Image {image.digest[:14]}… {image.size / 1e6:.1f} MB, {uploaded / 1e6:.1f} MB uploaded")
        return BuildResult(
            digest=image.digest,
            repository=request.repository,
            size=image.size,
            layers=layers,
            process_types=recipe.process_types,
            release_command=recipe.release_command,
            default_process=image.command,
            exposed_port=image.exposed_port,
            health_checks=recipe.health_checks,
            stack=request.stack,
            buildpacks=recipe.names,
            launcher=False,
            has_image_health_check=image.has_health_check,
            seconds=seconds,
        )

    def _stack_reference(self, image: str, console: BuildConsole, bases: set[str]) -> str | None:
        """`paas/python` is a stack of ours by digest, as plain as other base images: root's, without an entry point."""
        match = _OURS.fullmatch(image)
        if match is None:
            return None
        if match[1] not in LANGUAGES:
            raise BuildFailed(
                f"FROM {image} names no stack of this platform.",
                hint=f"There are: {', '.join(f'paas/{name}' for name in sorted(LANGUAGES))}.",
                id="base_image_unavailable",
            )
        of = self._stacks.build_stack if match[2] == "build" else self._stacks.run_stack
        stack = of(match[1], console)
        environment = {name: value for name, value in stack.image.environment.items() if name != "HOME"}
        plain = assemble(
            Image.build({"architecture": stack.image.architecture, "config": {}}, stack.image.layers),
            (),
            environment=environment,
            command=["/bin/bash"],
            labels=stack.image.labels,
        )
        self._registry.put_image(stack.repository, plain, f"plain-{stack.digest[7:39]}")
        bases.add(stack.repository)
        return f"{self._registry_host}/{stack.repository}@{plain.digest}"

    def _context(self, request: BuildRequest, path: str, dockerfile: Dockerfile, folder: Path) -> Path:
        """The source without what `.dockerignore` names, and with the Dockerfile as we rewrote it."""
        source = request.source
        rules = source.read(f"{path}.dockerignore") or source.read(".dockerignore") or b""
        is_ignored = ignore_matcher(rules)
        tar = folder / "context.tar"
        with tar.open("w+b") as out:
            source.write_tar(out, prefix="", keep=lambda name: name != path and not is_ignored(name))
            tars.finish(out, owner=0, extra={path: dockerfile.text.encode()})
        return tar

    def _failure(self, said: str, dockerfile: Dockerfile, request: BuildRequest) -> BuildFailed:
        foreign = [image for image in dockerfile.images if not _OURS.fullmatch(image) and image != "scratch"]
        code = _EXIT.search(said)
        if code and code[1] == "137":
            return out_of_memory("A step of the Dockerfile", request.limits.memory_bytes)
        if code is None and _UNREACHABLE.search(said) and foreign:
            named = next((image for image in foreign if image.partition(":")[0] in said), foreign[0])
            return BuildFailed(
                f"The image {named} of a FROM line cannot be pulled. BuildKit said: {said[-500:]}",
                hint="Check its name and that this machine reaches its registry, or start from a stack that is here: "
                + ", ".join(f"FROM paas/{name}" for name in ("python", "node", "static"))
                + ".",
                id="base_image_unavailable",
            )
        return BuildFailed(
            f"The Dockerfile could not be built. BuildKit said: {said[-700:]}",
            hint="The log above has the output of each step. Correct the Dockerfile and push again.",
            id="dockerfile_failed",
        )
