from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import uv

from runtime.builder.api import BuildLimits, BuildRequest, BuildResult, HostSettings
from runtime.builder.assemble import ImageBuilder
from runtime.engine.docker import DockerEngine
from runtime.registry.client import Registry
from runtime.stacks.store import StackStore
from tests.unit.runtime.builder.trees import DirectoryTree, Recorder

CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
RUN = uuid.uuid4().hex[:8]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="paas-builder-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def registry(folder: Path) -> Iterator[Registry]:
    """A registry of our own, empty at the start."""
    port = free_port()
    config = folder / "registry.yml"
    config.write_text(
        "version: 0.1\n"
        "log: {level: warn, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'registry'}}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with (folder / "registry.log").open("w") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    client = Registry(f"http://127.0.0.1:{port}")
    try:
        until = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/v2/", trust_env=False)
                break
            except httpx.TransportError:
                assert time.monotonic() < until, (folder / "registry.log").read_text()
                assert process.poll() is None, (folder / "registry.log").read_text()
                time.sleep(0.05)
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    engine = DockerEngine()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def host() -> HostSettings:
    names = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "NPM_CONFIG_REGISTRY")
    return HostSettings(
        ca_bundle=CA_BUNDLE if CA_BUNDLE.exists() else None,
        has_own_ca=CA_BUNDLE.exists(),
        environment={name: os.environ[name] for name in names if name in os.environ},
    )


@dataclass
class Bench:
    """A builder with everything under it; makes and counts builds."""

    engine: DockerEngine
    registry: Registry
    stacks: StackStore
    host: HostSettings
    work_dir: Path
    builder: ImageBuilder = field(init=False)

    def __post_init__(self) -> None:
        self.builder = self.builder_in(self.work_dir)

    def builder_in(self, work_dir: Path) -> ImageBuilder:
        return ImageBuilder(
            self.engine,
            self.registry,
            self.stacks,
            work_dir=work_dir,
            host=self.host,
            network="bridge",
            registry_host_for_engine=self.registry.host,
            uv_binary=Path(uv.find_uv_bin()),
        )

    def request(
        self,
        tree: DirectoryTree,
        *,
        repository: str = "",
        environment: Mapping[str, str] | None = None,
        limits: BuildLimits | None = None,
        fresh: bool = False,
    ) -> BuildRequest:
        build = uuid.uuid4().hex
        return BuildRequest(
            app="sample",
            repository=repository or f"apps/{build}",
            source=tree,
            environment=environment or {},
            tags=[f"git-{tree.commit[:12]}"],
            labels={"paas.test": RUN, "paas.test.build": build},
            build_id=build,
            limits=limits or BuildLimits(),
            fresh=fresh,
        )

    def build(
        self,
        tree: DirectoryTree,
        console: Recorder | None = None,
        builder: ImageBuilder | None = None,
        **settings: object,
    ) -> tuple[BuildResult, Recorder]:
        console = console or Recorder()
        request = self.request(tree, **settings)  # type: ignore[arg-type]
        try:
            return (builder or self.builder).build(request, console), console
        finally:
            left = self.engine.list({"paas.test.build": request.build_id})
            assert not left, f"containers were left: {[container.name for container in left]}\n{console.text}"

    def reference(self, result: BuildResult) -> str:
        return f"{self.registry.host}/{result.repository}@{result.digest}"


@pytest.fixture(scope="session")
def bench(engine: DockerEngine, registry: Registry, host: HostSettings, folder: Path) -> Iterator[Bench]:
    # Making a stack takes half a minute, so its layers are kept between runs.
    kept = Path(os.environ.get("PAAS_STACK_CACHE") or Path(tempfile.gettempdir()) / "paas-stack-cache")
    stacks = StackStore(registry, work_dir=kept, host=host)
    bench = Bench(engine, registry, stacks, host, folder / "work")
    yield bench
    subprocess.run(
        f"docker ps -aq --filter label=paas.test={RUN} | xargs -r docker rm -f; "
        f"docker images --format '{{{{.Repository}}}}@{{{{.Digest}}}} {{{{.Repository}}}}:{{{{.Tag}}}}' --digests "
        f"| grep '^{registry.host}/' | tr ' ' '\\n' | grep -v '<none>' | xargs -r docker rmi -f",
        shell=True,
        check=False,
        capture_output=True,
    )


@pytest.fixture
def run_in(engine: DockerEngine, bench: Bench) -> Iterator[Callable[[BuildResult, str], str]]:
    """Runs a command line in a built image, through its launcher when it has one."""
    made: list[str] = []

    def run(result: BuildResult, command: str) -> str:
        engine.pull(bench.reference(result))
        arguments = ["docker", "run", "--detach", "--network=none", "--label", f"paas.test={RUN}", "--cap-drop=ALL"]
        arguments += [bench.reference(result)]
        arguments += ["run", command] if result.launcher else ["sh", "-c", command]
        container = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.strip()
        made.append(container)
        end = engine.wait(container, timeout_seconds=60)
        text = "\n".join(line.text for line in engine.logs(container))
        assert end.code == 0, text
        return text

    yield run
    for container in made:
        engine.remove(container)
