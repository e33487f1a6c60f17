from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.errors import RegistryUnavailable
from runtime.registry import Registry

CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{folder}"}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@contextmanager
def running_registry(folder: Path) -> Iterator[str]:
    """A registry process of the test's own on a free port of loopback. Yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config, blobs = folder / "registry.yml", folder / "blobs"
    config.write_text(CONFIG.format(folder=blobs, port=port))
    address = f"http://127.0.0.1:{port}"
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
        try:
            with Registry(address) as registry:
                deadline = time.monotonic() + 20
                while True:
                    try:
                        registry.ping()
                        break
                    except RegistryUnavailable:
                        if process.poll() is not None or time.monotonic() > deadline:
                            pytest.fail(f"the registry did not start:\n{(folder / 'registry.log').read_text()[-2000:]}")
                        time.sleep(0.02)
            yield address
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="session")
def registry_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address
