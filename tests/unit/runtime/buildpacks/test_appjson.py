from __future__ import annotations

import json

import pytest

from runtime.buildpacks.appjson import AppJson, parse_app_json
from runtime.errors import BuildFailed


def parsed(**document: object) -> AppJson:
    return parse_app_json(json.dumps(document).encode())


def test_health_checks_have_dokkus_shape() -> None:
    checks = parsed(
        healthchecks={
            "web": [
                {
                    "type": "startup",
                    "path": "/up",
                    "timeout": 3,
                    "attempts": 5,
                    "wait": 1,
                    "initialDelay": 2,
                    "port": 9000,
                },
                {"type": "liveness", "path": "/live"},
            ],
            "worker": [{"type": "startup", "uptime": 4}],
            "admin": [{}],
        }
    ).health_checks
    assert checks["web"] == {
        "kind": "http",
        "path": "/up",
        "port": 9000,
        "timeout_seconds": 3.0,
        "start_seconds": 22.0,
    }
    assert checks["worker"]["kind"] == "uptime"
    assert checks["worker"]["uptime_seconds"] == 4.0
    assert checks["admin"] == {"kind": "tcp", "timeout_seconds": 5.0, "start_seconds": 30.0}


def test_keys_of_other_tools_are_left_alone() -> None:
    assert parsed(name="shop", env={"A": {"required": True}}, formation={"web": {"quantity": 1}}) == AppJson()


def test_buildpacks_are_known_by_herokus_names_too() -> None:
    assert parsed(buildpacks=[{"url": "heroku/nodejs"}, {"url": "python"}]).buildpacks == ("node", "python")
    assert parsed(buildpacks=["static"]).buildpacks == ("static",)


def test_a_dockerfile_can_be_placed_and_cut() -> None:
    app = parsed(build={"dockerfile": "./docker/Dockerfile", "target": "app", "args": ["EDITION"]})
    assert (app.dockerfile, app.target, app.build_args) == ("docker/Dockerfile", "app", ("EDITION",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "line 1"),
        ("[]", "has to be an object"),
        ('{"healthchecks": {"web": {}}}', "healthchecks.web has to be a list"),
        ('{"healthchecks": {"web": [{"type": "boot"}]}}', 'healthchecks.web[0].type is "boot"'),
        ('{"healthchecks": {"web": [{"path": "up"}]}}', "has to start with a slash"),
        ('{"healthchecks": {"web": [{"path": "/a b"}]}}', "holds a space"),
        ('{"healthchecks": {"web": [{"attempts": "5"}]}}', "healthchecks.web[0].attempts has to be a number"),
        ('{"healthchecks": {"web": [{"timeout": 0}]}}', "between 0.1 and 600"),
        ('{"healthchecks": {"web": [{"port": 70000}]}}', "between 0 and 65535"),
        ('{"healthchecks": {"web": [{"wait": true}]}}', "has to be a number"),
        ('{"healthchecks": {"web": [{"wait": NaN}]}}', "has to be"),
        ('{"healthchecks": {"web": [{}, {}]}}', "second startup check"),
        ('{"healthchecks": {"web": [{"path": "/", "uptime": 3}]}}', 'both "path" and "uptime"'),
        ('{"healthchecks": {"web": [{"command": ["true"]}]}}', "command is not supported"),
        ('{"buildpacks": ["cobol"]}', 'buildpacks[0] is "cobol"'),
        ('{"buildpacks": ["python", "heroku/python"]}', "one of them twice"),
        ('{"build": {"dockerfile": "../Dockerfile"}}', "inside of the repository"),
        ('{"build": {"target": 1}}', "build.target has to be text"),
    ],
)
def test_what_cannot_be_used_is_named(content: str, words: str) -> None:
    with pytest.raises(BuildFailed) as failed:
        parse_app_json(content.encode())
    assert failed.value.id == "app_json_invalid"
    assert words in failed.value.message
