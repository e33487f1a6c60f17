from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator

import pytest

from runtime.engine.docker import DockerEngine
from tests.integration.engine.programs import rootfs


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerEngine]:
    engine = DockerEngine()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def programs(docker_engine: DockerEngine) -> Iterator[str]:
    reference = f"paas-test-programs-{uuid.uuid4().hex[:10]}:1"
    subprocess.run(["docker", "import", "-", reference], input=rootfs(), check=True, capture_output=True)
    yield reference
    docker_engine.remove_image(reference)
