"""What every engine promises. Subclasses give the fixtures `engine` and `image`; what is made is named after `prefix`.

The image holds small programs: `hello` prints a line on each stream and exits with 3; `serve` runs until SIGTERM, then
says bye and exits with 0; `stubborn` ignores SIGTERM; `hungry` wants more memory than 32 MiB; `cat` returns its input.
"""

from __future__ import annotations

import io
import ipaddress
import select
import tarfile
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from runtime.engine.api import ContainerSpec, Engine, Event, Limits, State
from runtime.errors import ContainerMissing, EngineError, ImageMissing
from tests.waiting import until

Create = Callable[..., str]
LABEL = "paas.contract"
DEADLINE = 30.0


class EngineContract:
    @pytest.fixture
    def engine(self) -> Engine:
        raise NotImplementedError

    @pytest.fixture
    def image(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def prefix(self) -> str:
        return f"paas-contract-{uuid.uuid4().hex[:10]}"

    @pytest.fixture
    def subnet(self, engine: Engine) -> str:
        taken = [ipaddress.ip_network(each.subnet) for each in engine.list_networks() if each.subnet]
        pool = ipaddress.ip_network("10.231.0.0/16").subnets(new_prefix=28)
        return str(next(net for net in pool if not any(net.overlaps(other) for other in taken)))

    @pytest.fixture
    def network(self, engine: Engine, prefix: str, subnet: str) -> Iterator[str]:
        engine.ensure_network(prefix, subnet=subnet, labels={LABEL: prefix})
        yield prefix
        for container in engine.list({LABEL: prefix}):
            engine.remove(container.id)
        engine.remove_network(prefix)

    @pytest.fixture
    def create(self, engine: Engine, image: str, prefix: str) -> Iterator[Create]:
        def make(*command: str, name: str = "", **fields: object) -> str:
            labels = {LABEL: prefix, **fields.pop("labels", {})}  # type: ignore[dict-item]
            name = name or f"{prefix}-{uuid.uuid4().hex[:6]}"
            return engine.create(ContainerSpec(name=name, image=image, command=command, labels=labels, **fields))  # type: ignore[arg-type]

        yield make
        for container in engine.list({LABEL: prefix}):
            engine.remove(container.id)

    def test_a_container_goes_from_created_to_running_to_gone(self, engine, create, prefix) -> None:
        container = create("serve", name=prefix)
        assert engine.inspect(container).state is State.CREATED
        engine.start(container)
        seen = engine.inspect(container)
        assert (seen.id, seen.name, seen.state, seen.exit_code) == (container, prefix, State.RUNNING, None)
        assert seen.started_at is not None
        engine.remove(container)
        with pytest.raises(ContainerMissing):
            engine.inspect(container)

    def test_starting_twice_is_fine(self, engine, create) -> None:
        container = create("serve")
        engine.start(container)
        engine.start(container)
        assert engine.inspect(container).state is State.RUNNING

    def test_exit_code_and_output_of_a_process_are_kept(self, engine, create) -> None:
        container = create("hello")
        engine.start(container)
        assert engine.wait(container, timeout_seconds=DEADLINE).code == 3
        assert {(line.stream, line.text) for line in engine.logs(container)} == {
            ("stdout", "hello"),
            ("stderr", "oh dear"),
        }
        assert all(line.at is not None for line in engine.logs(container))
        ended = engine.inspect(container)
        assert (ended.state, ended.exit_code, ended.oom_killed) == (State.EXITED, 3, False)
        assert ended.finished_at is not None

    def test_a_wait_that_takes_too_long_is_a_timeout(self, engine, create) -> None:
        container = create("serve")
        engine.start(container)
        with pytest.raises(TimeoutError):
            engine.wait(container, timeout_seconds=0.2)

    def test_stop_lets_the_process_say_goodbye(self, engine, create) -> None:
        container = create("serve")
        engine.start(container)
        until(lambda: list(engine.logs(container)), "serve is up")
        engine.stop(container, grace_seconds=10)
        assert engine.inspect(container).exit_code == 0
        assert [line.text for line in engine.logs(container, tail=1)] == ["bye"]

    def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(self, engine, create) -> None:
        container = create("stubborn")
        engine.start(container)
        until(lambda: list(engine.logs(container)), "stubborn is up")
        engine.stop(container, grace_seconds=1)
        assert engine.inspect(container).exit_code == 137

    def test_stopping_and_killing_what_has_stopped_is_fine(self, engine, create) -> None:
        container = create("hello")
        engine.start(container)
        engine.wait(container, timeout_seconds=DEADLINE)
        engine.stop(container)
        engine.kill(container)

    def test_removing_what_is_missing_is_fine_and_anything_else_is_not(self, engine) -> None:
        engine.remove("0123456789ab" * 5)
        for call in (engine.inspect, engine.start, engine.stop, engine.wait, engine.logs, engine.listening):
            with pytest.raises(ContainerMissing):
                call("0123456789ab" * 5)

    def test_a_name_is_given_once(self, engine, create, prefix) -> None:
        create("serve", name=prefix)
        with pytest.raises(EngineError) as caught:
            create("serve", name=prefix)
        assert caught.value.id == "name_taken"

    def test_a_container_of_an_unknown_image_is_refused(self, engine, prefix) -> None:
        with pytest.raises(ImageMissing):
            engine.create(ContainerSpec(name=prefix, image=f"{prefix}:none"))
        assert not engine.has_image(f"{prefix}:none")

    def test_a_present_image_is_known(self, engine, image) -> None:
        assert engine.has_image(image)
        engine.pull(image)  # asks no registry

    def test_an_image_that_a_container_is_made_of_stays(self, engine, create, image) -> None:
        create("serve")
        with pytest.raises(EngineError) as caught:
            engine.remove_image(image)
        assert caught.value.id == "conflict"
        assert engine.has_image(image)
        engine.remove_image(f"{image}-unknown")

    def test_list_finds_containers_by_labels_whatever_their_state(self, engine, create, prefix) -> None:
        web = create("serve", labels={"kind": "web"})
        gone = create("hello", labels={"kind": "job"})
        made = create("serve", labels={"kind": "web"})
        engine.start(web)
        engine.start(gone)
        engine.wait(gone, timeout_seconds=DEADLINE)
        found = {each.id: each for each in engine.list({LABEL: prefix})}
        assert {each.id: each.state for each in found.values()} == {
            web: State.RUNNING,
            gone: State.EXITED,
            made: State.CREATED,
        }
        assert found[gone].exit_code == 3
        assert found[web].labels["kind"] == "web"
        assert {each.id for each in engine.list({LABEL: prefix, "kind": "web"})} == {web, made}
        assert {each.id for each in engine.list(["kind", LABEL])} >= {web, gone, made}

    def test_inspect_alone_tells_the_environment_and_no_representation_does(self, engine, create) -> None:
        given = {"TOKEN": "two\nlines = x", "EMPTY": ""}
        container = engine.inspect(create("serve", environment=given))
        assert {name: container.environment.get(name) for name in given} == given
        assert "two" not in repr(container)
        assert not any(each.environment for each in engine.list() if each.id == container.id)

    def test_a_container_has_the_address_it_was_given(self, engine, create, network, subnet, prefix) -> None:
        address = str(ipaddress.ip_network(subnet)[6])
        container = create("serve", network=network, address=address)
        assert engine.inspect(container).address == address  # kept for it from the start
        engine.start(container)
        assert engine.inspect(container).address == address
        assert [each.address for each in engine.list({LABEL: prefix})] == [address]

    def test_an_address_in_use_is_refused(self, engine, create, network, subnet) -> None:
        address = str(ipaddress.ip_network(subnet)[6])
        engine.start(create("serve", network=network, address=address))
        with pytest.raises(EngineError):
            engine.start(create("serve", network=network, address=address))

    def test_an_address_is_chosen_when_none_is_given(self, engine, create, network, subnet) -> None:
        container = create("serve", network=network)
        engine.start(container)
        address = ipaddress.ip_address(engine.inspect(container).address)
        assert address in ipaddress.ip_network(subnet)
        assert address != ipaddress.ip_network(subnet)[1]  # the gateway

    def test_a_container_without_a_network_has_no_address(self, engine, create) -> None:
        container = create("serve")
        engine.start(container)
        assert engine.inspect(container).address == ""

    def test_starting_in_a_missing_network_is_refused(self, engine, create, prefix) -> None:
        with pytest.raises(EngineError) as caught:
            engine.start(create("serve", network=f"{prefix}-none"))
        assert not isinstance(caught.value, ContainerMissing)

    def test_networks_are_made_once_and_listed_by_label(self, engine, network, subnet, prefix) -> None:
        again = engine.ensure_network(network, subnet=subnet, labels={LABEL: prefix})
        mine = [each for each in engine.list_networks([LABEL]) if each.name == network]
        assert mine == [again]
        assert (again.subnet, again.labels[LABEL]) == (subnet, prefix)

    def test_a_network_in_use_stays(self, engine, create, network) -> None:
        container = create("serve", network=network)
        engine.start(container)
        with pytest.raises(EngineError) as caught:
            engine.remove_network(network)
        assert caught.value.id == "in_use"
        engine.remove(container)
        engine.remove_network(network)
        engine.remove_network(network)
        assert network not in [each.name for each in engine.list_networks()]

    def test_following_a_log_ends_with_the_process(self, engine, create) -> None:
        container = create("serve")
        engine.start(container)
        lines = engine.logs(container, follow=True)
        assert next(lines).text == "ready"
        engine.stop(container, grace_seconds=10)
        assert [line.text for line in lines] == ["bye"]

    def test_a_log_can_be_cut(self, engine, create) -> None:
        container = create("hello")
        engine.start(container)
        engine.wait(container, timeout_seconds=DEADLINE)
        assert len(list(engine.logs(container, tail=1))) == 1
        assert list(engine.logs(container, tail=0)) == []
        assert list(engine.logs(container, since=datetime.now(UTC) + timedelta(hours=1))) == []
        assert len(list(engine.logs(container, since=datetime.now(UTC) - timedelta(hours=1)))) == 2

    def test_input_goes_in_and_output_comes_out_of_an_attached_container(self, engine, create) -> None:
        container = create("cat", open_stdin=True)
        with engine.attach(container) as attached:
            engine.start(container)
            attached.send(b"one two\n")
            assert select.select([attached.fileno()], [], [], DEADLINE)[0]
            assert attached.receive(4) == ("stdout", b"one ")
            assert select.select([attached.fileno()], [], [], DEADLINE)[0]
            assert attached.receive() == ("stdout", b"two\n")
            attached.close_stdin()
            assert attached.receive() == ("stdout", b"")
        assert engine.wait(container, timeout_seconds=DEADLINE).code == 0

    def test_attached_streams_are_told_apart(self, engine, create) -> None:
        container = create("hello")
        received: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        with engine.attach(container) as attached:
            engine.start(container)
            while (chunk := attached.receive())[1]:
                received[chunk[0]] += chunk[1]
        assert received == {"stdout": b"hello\n", "stderr": b"oh dear\n"}

    def test_files_go_in_and_come_out(self, engine, create) -> None:
        container = create("serve")
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            member = tarfile.TarInfo("greeting")
            member.size = 5
            archive.addfile(member, io.BytesIO(b"hello"))
        tar.seek(0)
        engine.put_archive(container, "/tmp", tar)
        back = io.BytesIO(b"".join(engine.get_archive(container, "/tmp/greeting")))
        with tarfile.open(fileobj=back) as archive:
            content = archive.extractfile("greeting")
            assert content is not None
            assert content.read() == b"hello"
        with pytest.raises(EngineError):
            list(engine.get_archive(container, "/tmp/nothing"))

    def test_events_tell_what_happens(self, engine, create, prefix) -> None:
        container = create("hello")
        seen: list[Event] = []
        since = datetime.now(UTC) - timedelta(seconds=2)

        def listen() -> None:
            for event in engine.events(since=since, label=f"{LABEL}={prefix}"):
                seen.append(event)
                if event.action == "destroy":
                    return

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        engine.start(container)
        engine.wait(container, timeout_seconds=DEADLINE)
        engine.remove(container)
        listener.join(DEADLINE)
        assert not listener.is_alive()
        told = [event for event in seen if event.action in {"start", "die", "destroy"}]
        assert [event.action for event in told] == ["start", "die", "destroy"]
        assert {event.container_id for event in told} == {container}
        assert told[1].exit_code == 3
        assert told[1].labels[LABEL] == prefix

    def test_memory_is_limited(self, engine, create) -> None:
        container = create("hungry", limits=Limits(memory_bytes=32 * 1024 * 1024))
        engine.start(container)
        ended = engine.wait(container, timeout_seconds=DEADLINE)
        assert (ended.code, ended.oom_killed) == (137, True)
        assert engine.inspect(container).oom_killed

    def test_threads_share_one_engine(self, engine, create) -> None:
        containers = [create("serve") for _ in range(4)]
        threads = [threading.Thread(target=engine.start, args=(each,)) for each in containers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert {engine.inspect(each).state for each in containers} == {State.RUNNING}
