from pathlib import Path

import pytest

from paas import env as environment
from paas.host import checks
from paas.host.engine import telling_lines
from paas.host.testbed import unused_pool


def test_the_process_in_the_way_is_named():
    line = 'LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("apache2",pid=812,fd=6),("apache2",pid=811,fd=6))'
    assert checks.listener_in(line) == "apache2 (process 812)"


def test_a_listener_of_another_namespace_has_no_name():
    assert checks.listener_in("LISTEN 0 511 0.0.0.0:80 0.0.0.0:*") == ""


def test_a_taken_port_says_who_has_it_and_which_variable_to_set(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "is_free", lambda port, address: port != 80)
    monkeypatch.setattr(checks, "who_listens", lambda port: "apache2 (process 812)")
    with pytest.raises(checks.HostProblem) as refused:
        checks.check_ports(environment.load({"PAAS_HOME": str(tmp_path)}))
    assert refused.value.message == "Port 80 is taken by apache2 (process 812)."
    assert "PAAS_HTTP_PORT=8080" in refused.value.hint


def test_a_home_too_deep_for_sockets_is_refused():
    with pytest.raises(environment.BadEnvironment, match="too long"):
        environment.load({"PAAS_HOME": "/srv/" + "x" * 90})


def test_what_the_engine_said_before_it_died_is_told_without_the_rest():
    log = 'level=info msg="Starting up"\nlevel=warning msg="x"\nfailed to start daemon: no space left on device\n'
    assert telling_lines(log) == ["failed to start daemon: no space left on device"]


def test_a_log_without_errors_shows_its_end():
    assert telling_lines("a\nb\nc\n", count=2) == ["b", "c"]


def test_a_platform_for_tests_takes_networks_that_nobody_has():
    assert unused_pool(["172.17.0.0/16", "10.255.4.0/24", ""]) == "10.254.0.0/16"


def test_paths_of_sockets_are_checked_at_their_full_length(tmp_path):
    checks.check_paths(environment.load({"PAAS_HOME": str(Path("/srv/paas"))}))
