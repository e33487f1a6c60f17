"""What we read of app.json: health checks in Dokku's shape, buildpacks as Heroku names them, and how a Dockerfile is
built. Keys that belong to other tools are left alone.

```json
{
  "healthchecks": {"web": [{"type": "startup", "path": "/up", "timeout": 5, "attempts": 3, "wait": 5}],
                   "worker": [{"type": "startup", "uptime": 10}]},
  "buildpacks": [{"url": "heroku/nodejs"}, {"url": "heroku/python"}],
  "build": {"dockerfile": "docker/Dockerfile", "target": "app", "args": ["EDITION"]}
}
```
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.buildpacks.names import buildpack_name, known_names
from runtime.errors import BuildFailed

# Dokku's defaults, and the bounds within which a value makes sense: (default, smallest, largest)
_TIMEOUT = (5.0, 0.1, 600.0)
_ATTEMPTS = (3.0, 1.0, 1000.0)
_WAIT = (5.0, 0.0, 600.0)
_DELAY = (0.0, 0.0, 3600.0)
_UPTIME = (10.0, 0.0, 3600.0)


@dataclass(frozen=True, slots=True)
class AppJson:
    health_checks: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    buildpacks: tuple[str, ...] = ()  # in their order; the last one gives the run-time
    dockerfile: str = ""  # "" = none was named
    target: str = ""
    build_args: tuple[str, ...] = ()  # config vars that may become build arguments, whatever their value


def parse_app_json(content: bytes) -> AppJson:
    """Raises `BuildFailed` with the id `app_json_invalid`, naming the place."""
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as exc:
        raise _invalid("it is not UTF-8 text") from exc
    except json.JSONDecodeError as exc:
        raise _invalid(f"line {exc.lineno}, column {exc.colno}: {exc.msg}") from exc
    except RecursionError as exc:
        raise _invalid("it is nested too deeply") from exc
    root = _mapping(document, "the whole of it")
    build = _mapping(root.get("build") or {}, "build")
    return AppJson(
        health_checks=_health_checks(_mapping(root.get("healthchecks") or {}, "healthchecks")),
        buildpacks=_buildpacks(root.get("buildpacks")),
        dockerfile=_path(build.get("dockerfile", ""), "build.dockerfile"),
        target=_text(build.get("target", ""), "build.target"),
        build_args=tuple(
            _text(name, f"build.args[{index}]") for index, name in enumerate(_list(build.get("args") or [], "build.args"))
        ),
    )


def _health_checks(given: Mapping[str, Any]) -> dict[str, Mapping[str, object]]:
    """Per process type the one startup check; Dokku's liveness and readiness checks are for orchestrators it may use."""
    found: dict[str, Mapping[str, object]] = {}
    for process, checks in given.items():
        for index, check in enumerate(_list(checks, f"healthchecks.{process}")):
            place = f"healthchecks.{process}[{index}]"
            entry = _mapping(check, place)
            kind = _text(entry.get("type", "startup"), f"{place}.type")
            if kind not in {"startup", "liveness", "readiness"}:
                raise _invalid(f'{place}.type is "{kind}"; it can be "startup", "liveness" or "readiness"')
            if kind != "startup":
                continue
            if process in found:
                raise _invalid(f"{place} is a second startup check of {process}; there can be one")
            found[process] = _startup(entry, place)
    return found


def _startup(entry: Mapping[str, Any], place: str) -> Mapping[str, object]:
    timeout = _number(entry, "timeout", place, _TIMEOUT)
    attempts = _number(entry, "attempts", place, _ATTEMPTS)
    wait = _number(entry, "wait", place, _WAIT)
    delay = _number(entry, "initialDelay", place, _DELAY)
    if entry.get("command"):
        raise _invalid(f'{place}.command is not supported; use "path", "port" or "uptime"')
    path = _text(entry.get("path", ""), f"{place}.path")
    if path and not path.startswith("/"):
        raise _invalid(f'{place}.path is "{path}"; it has to start with a slash')
    if any(ord(character) <= 32 or ord(character) == 127 for character in path):
        raise _invalid(f"{place}.path holds a space or a control character")
    port = _number(entry, "port", place, (0.0, 0.0, 65535.0))
    if port != int(port):
        raise _invalid(f"{place}.port is {port:g}; it has to be a whole number")
    uptime = _number(entry, "uptime", place, _UPTIME)
    if path and "uptime" in entry:
        raise _invalid(f'{place} has both "path" and "uptime"; it can have one')
    if path:
        kind = "http"
    elif "uptime" in entry:
        kind = "uptime"
    else:
        kind = "tcp"
    check: dict[str, object] = {
        "kind": kind,
        "timeout_seconds": timeout,
        # Every attempt may take its whole timeout, and then we wait before the next one.
        "start_seconds": delay + attempts * (timeout + wait) + (uptime if kind == "uptime" else 0),
    }
    if path:
        check["path"] = path
    if port:
        check["port"] = int(port)
    if kind == "uptime":
        check["uptime_seconds"] = uptime
    return check


def _buildpacks(given: object) -> tuple[str, ...]:
    names: list[str] = []
    for index, entry in enumerate(_list(given or [], "buildpacks")):
        place = f"buildpacks[{index}]"
        name = _text(entry if isinstance(entry, str) else _mapping(entry, place).get("url", ""), place)
        known = buildpack_name(name)
        if known is None:
            raise _invalid(f'{place} is "{name}"; known are {known_names()}')
        names.append(known)
    if len(set(names)) != len(names):
        raise _invalid("buildpacks names one of them twice")
    if "dockerfile" in names and len(names) > 1:
        raise _invalid('buildpacks names "dockerfile" beside others; a Dockerfile stands alone')
    return tuple(names)


def _mapping(value: object, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(f"{place} has to be an object, in braces")
    return value


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise _invalid(f"{place} has to be a list, in brackets")
    return value


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise _invalid(f"{place} has to be text, in quotes")
    return value.strip()


def _path(value: object, place: str) -> str:
    path = _text(value, place).removeprefix("./")
    if path.startswith("/") or ".." in path.split("/"):
        raise _invalid(f'{place} is "{path}"; it has to be a path inside of the repository')
    return path


def _number(entry: Mapping[str, Any], name: str, place: str, bounds: tuple[float, float, float]) -> float:
    default, smallest, largest = bounds
    value = entry.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(f"{place}.{name} has to be a number")
    if not smallest <= value <= largest:
        raise _invalid(f"{place}.{name} is {value:g}; it has to be between {smallest:g} and {largest:g}")
    return float(value)


def _invalid(reason: str) -> BuildFailed:
    return BuildFailed(
        f"app.json cannot be used: {reason}.",
        hint="Correct it and push again; it can also be left out.",
        id="app_json_invalid",
    )
