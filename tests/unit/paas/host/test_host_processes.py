import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paas.core import processes
from paas.core.processes import AlreadyRunning, Lock, Sessions, end, is_alive, parse_stat
from paas.host.run import Log, back_off


def wait_for(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def sleeper():
    """A session leader with a child, as a process of the Procfile is."""
    process = subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True)
    yield process
    os.killpg(process.pid, 9)
    process.wait()


def test_the_name_of_a_command_may_hold_brackets_and_spaces():
    line = "42 (a) b (c) S 1 42 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 0 0"
    stat = parse_stat(line)
    assert (stat.pid, stat.state, stat.session, stat.began) == (42, "S", 40, 987654)


def test_a_session_is_found_with_its_children(tmp_path, sleeper):
    sessions = Sessions(tmp_path / "sessions")
    sessions.clear()
    sessions.add("web", sleeper.pid)
    wait_for(lambda: len(sessions.members()) == 2)
    assert set(sessions.members().values()) == {"web"}


def test_children_are_found_after_their_leader_died(tmp_path):
    leader = subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True)
    sessions = Sessions(tmp_path / "sessions")
    sessions.clear()
    sessions.add("router", leader.pid)
    wait_for(lambda: len(sessions.members()) == 2)
    leader.kill()
    leader.wait()
    (orphan,) = sessions.members()
    assert end([orphan], grace_seconds=5)
    assert not sessions.members()


def test_numbers_from_before_a_reboot_mean_nobody(tmp_path, sleeper):
    file = tmp_path / "sessions"
    file.write_text(f"another-boot\nweb {sleeper.pid} 0\n")
    assert not Sessions(file).members()


def test_a_number_that_was_given_to_somebody_else_is_left_alone(tmp_path, sleeper):
    file = tmp_path / "sessions"
    file.write_text(processes.BOOT_ID.read_text() + f"web {sleeper.pid} 1\n")
    assert not Sessions(file).members()


def test_who_ignores_the_polite_signal_is_killed():
    stubborn = subprocess.Popen([sys.executable, "-c", "import signal,time;signal.signal(15,1);print(1,flush=True);time.sleep(60)"], stdout=subprocess.PIPE)  # fmt: skip  # noqa: E501
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    assert end([stubborn.pid], grace_seconds=0.2)
    assert not is_alive(stubborn.pid)
    stubborn.stdout.close()
    assert stubborn.wait() == -9


def test_a_second_supervisor_is_refused_and_the_first_is_known(tmp_path):
    file = tmp_path / "platform.lock"
    assert Lock(file).holder() is None
    first = Lock(file)
    first.take()
    with pytest.raises(AlreadyRunning):
        Lock(file).take()
    assert Lock(file).holder() == os.getpid()
    assert first._descriptor is not None
    os.close(first._descriptor)
    assert Lock(file).holder() is None


def test_restarts_come_fast_at_first_and_then_twice_a_minute():
    assert [back_off(n) for n in range(1, 9)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_log_that_has_grown_makes_room(tmp_path):
    file: Path = tmp_path / "platform.log"
    log = Log(file, limit=10)
    for text in ("0123456789\n", "again\n"):
        log.write(text)
        log.flush()
    assert file.read_text() == "again\n"
    assert (tmp_path / "platform.log.1").read_text() == "0123456789\n"
    log._stream.close()
