from __future__ import annotations

import ipaddress
import os
import threading
import time

import pytest

from runtime.engine.api import Limits, Listener
from runtime.engine.docker import DockerEngine
from runtime.errors import EngineError, EngineUnavailable
from tests.unit.runtime.engine.contract import DEADLINE, EngineContract
from tests.waiting import until

pytestmark = pytest.mark.engine


class TestDockerEngine(EngineContract):
    @pytest.fixture
    def engine(self, docker_engine: DockerEngine) -> DockerEngine:
        return docker_engine

    @pytest.fixture
    def image(self, programs: str) -> str:
        return programs

    def test_a_container_is_isolated_unless_told_otherwise(self, engine, create) -> None:
        container = create("sh", "-c", "grep -E 'CapEff|NoNewPrivs' /proc/1/status /proc/self/status", tty=False)
        engine.start(container)
        engine.wait(container, timeout_seconds=DEADLINE)
        lines = [line.text.split(":", 1)[1].split() for line in engine.logs(container)]
        assert lines == [["CapEff:", "0" * 16], ["NoNewPrivs:", "1"]] * 2

    def test_limits_reach_the_kernel(self, engine, create) -> None:
        container = create("serve", limits=Limits(memory_bytes=48 * 1024 * 1024, cpus=0.5, cpu_shares=512, pids=77))
        host = engine._json("GET", f"/containers/{container}/json")["HostConfig"]
        assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (48 << 20, 48 << 20, 500_000_000)
        assert (host["CpuShares"], host["PidsLimit"], host["Init"]) == (512, 77, True)
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}
        assert not host["PortBindings"]

    def test_a_terminal_is_one_stream_and_can_be_resized(self, engine, create) -> None:
        container = create("sh", "-c", "cat; echo done >&2", tty=True, open_stdin=True)
        with engine.attach(container) as attached:
            engine.start(container)
            attached.resize(40, 120)
            attached.send(b"hi\n\x04")
            received = b""
            while (chunk := attached.receive())[1]:
                assert chunk[0] == "stdout"
                received += chunk[1]
        assert received.endswith(b"done\r\n")
        assert [line.text for line in engine.logs(container)][-1] == "done"

    def test_long_calls_outlive_the_read_timeout(self, engine, create) -> None:
        impatient = DockerEngine(timeout_seconds=2.0)
        container = create("sh", "-c", "sleep 3.5; echo late; sleep 2.5")
        engine.start(container)
        began = time.monotonic()
        assert [line.text for line in impatient.logs(container, follow=True)] == ["late"]
        assert impatient.wait(container).code == 0
        assert time.monotonic() - began > 3
        impatient.close()

    def test_where_a_container_listens_can_be_seen(self, engine, create, network) -> None:
        container = create("web", environment={"PORT": "8123", "BIND": "127.0.0.1:"}, network=network)
        assert list(engine.listening(container)) == []
        engine.start(container)
        until(lambda: engine.listening(container), "httpd listens")
        assert list(engine.listening(container)) == [Listener("127.0.0.1", 8123)]

    def test_lines_longer_than_the_engines_buffer_stay_whole(self, engine, create) -> None:
        script = "i=0; x=0123456789abcdef; while [ $i -lt 12 ]; do x=$x$x; i=$((i+1)); done; echo $x; echo short"
        container = create("sh", "-c", script)
        engine.start(container)
        engine.wait(container, timeout_seconds=DEADLINE)
        assert [len(line.text) for line in engine.logs(container)] == [65536, 5]

    def test_list_is_one_call_once_the_ended_are_known(self, engine, create, prefix, monkeypatch) -> None:
        for _ in range(2):
            engine.start(create("serve"))
        ended = create("hello")
        engine.start(ended)
        engine.wait(ended, timeout_seconds=DEADLINE)
        engine.list({"paas.contract": prefix})
        paths: list[str] = []
        original = engine._open

        def spy(method, path, **options):
            paths.append(path)
            return original(method, path, **options)

        monkeypatch.setattr(engine, "_open", spy)
        assert len(engine.list({"paas.contract": prefix})) == 3
        assert paths == ["/containers/json"]

    def test_a_pull_says_why_it_failed(self, engine) -> None:
        with pytest.raises(EngineError) as caught:
            engine.pull(f"127.0.0.1:1/nothing@sha256:{'0' * 64}")
        assert "connection refused" in caught.value.message

    def test_overlapping_subnets_are_refused(self, engine, network, subnet, prefix) -> None:
        with pytest.raises(EngineError):
            engine.ensure_network(f"{prefix}-2", subnet=str(ipaddress.ip_network(subnet)), labels={})


def test_an_engine_that_is_not_there_is_unavailable() -> None:
    for address in ("unix:///nonexistent/docker.sock", "tcp://127.0.0.1:1"):
        engine = DockerEngine(address)
        with pytest.raises(EngineUnavailable) as caught:
            engine.info()
        assert address in caught.value.message


def test_a_fork_makes_its_own_connections(docker_engine: DockerEngine) -> None:
    docker_engine.info()
    child = os.fork()
    if child == 0:
        try:
            docker_engine.info()
            os._exit(0 if docker_engine._owner == os.getpid() else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    docker_engine.info()


def test_many_threads_share_the_pool(docker_engine: DockerEngine, programs: str) -> None:
    failures: list[EngineError] = []

    def ask() -> None:
        try:
            for _ in range(5):
                assert docker_engine.has_image(programs)
        except EngineError as exc:
            failures.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert failures == []
