"""What is printed for the Heroku CLI: it sets everything that would otherwise take the token elsewhere."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from paas import env as environment
from paas.cli.heroku import NAMES, THEIR_CA, exports, variables
from paas.env import Env
from runtime.errors import InvalidInput

# Of @heroku-cli and its plugins: where each of these leads when it is not set, the token goes along.
SENDS_THE_TOKEN = ("HEROKU_HOST", "HEROKU_PARTICLEBOARD_URL", "HEROKU_DATA_HOST", "HEROKU_LOGIN_HOST", "HEROKU_EXEC_URL")


def make_env(tmp_path, **given: str) -> Env:
    return environment.load({"PAAS_HOME": str(tmp_path), "PAAS_DOMAIN": "paas.example.org", **given})


def in_a_shell(text: str, *names: str, **variables: str) -> list[str]:
    script = text + "\n" + "\n".join(f'printf "%s\\0" "${name}"' for name in names)
    done = subprocess.run(["sh", "-uc", script], capture_output=True, text=True, env=variables, check=True)
    return done.stdout.split("\0")[:-1]


def test_on_this_machine_everything_is_at_one_name(tmp_path):
    found = variables(make_env(tmp_path), "paas_secret", remote=False)
    assert found["HEROKU_HOST"] == found["HEROKU_PARTICLEBOARD_URL"] == "https://localhost:5443"
    assert found["HEROKU_DATA_HOST"] == "localhost"
    assert found["NODE_EXTRA_CA_CERTS"] == f"{tmp_path}/certs/ca.pem"
    assert found["GIT_CONFIG_KEY_0"] == "http.https://localhost:5443/.sslCAInfo"
    assert "HEROKU_HEADERS" not in found


def test_from_afar_the_name_has_neither_scheme_nor_port(tmp_path):
    found = variables(make_env(tmp_path), "paas_secret", remote=True)
    assert found["HEROKU_HOST"] == "localhost.paas.example.org"
    assert found["HEROKU_PARTICLEBOARD_URL"] == "https://api.localhost.paas.example.org"
    assert found["GIT_CONFIG_KEY_0"] == "http.https://git.localhost.paas.example.org/.sslCAInfo"
    assert json.loads(found["HEROKU_HEADERS"]) == {"Authorization": "Bearer paas_secret"}


@pytest.mark.parametrize("remote", [False, True])
def test_the_token_goes_nowhere_else(tmp_path, remote):
    found = variables(make_env(tmp_path), "paas_secret", remote=remote)
    ours = "localhost.paas.example.org" if remote else "localhost"
    for name in SENDS_THE_TOKEN:
        host = found[name].removeprefix("https://").partition(":")[0]
        assert host == ours or host.endswith(f".{ours}"), name
    assert not any("heroku.com" in value for value in found.values())
    assert found["DISABLE_TELEMETRY"] == "true"
    assert [name for name, value in found.items() if "paas_secret" in value] == (
        ["HEROKU_API_KEY", "HEROKU_HEADERS"] if remote else ["HEROKU_API_KEY"]
    )


@pytest.mark.parametrize("remote", [False, True])
def test_all_that_is_set_can_be_unset(tmp_path, remote):
    assert set(variables(make_env(tmp_path), "t", remote=remote)) <= set(NAMES)


@pytest.mark.parametrize("remote", [False, True])
def test_a_shell_reads_it_as_it_is_meant(tmp_path, remote):
    home = Path("/srv/it's a $HOME `here`")
    found = variables(make_env(home), "paas_secret", remote=remote)
    values = in_a_shell(exports(found), *found, HOME="/home/alice")
    meant = [value.replace(THEIR_CA, "/home/alice/.config/paas/ca.pem") for value in found.values()]
    assert values == meant


@pytest.mark.parametrize(
    ("given", "remote"),
    [({"PAAS_HTTPS_PORT": "8443"}, True), ({"PAAS_HTTPS_PORT": "0"}, True), ({"PAAS_API_PORT": "0"}, False)],
)
def test_a_door_that_is_closed_is_said_before_a_token_is_made(tmp_path, given, remote):
    with pytest.raises(InvalidInput) as refused:
        variables(make_env(tmp_path, **given), "", remote=remote)
    assert refused.value.id == "door_closed"
