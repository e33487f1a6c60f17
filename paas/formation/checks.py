"""What a limit or a health check can be. Pure rules, one message for each that is broken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paas.formation.sizes import memory_text
from runtime.errors import InvalidInput
from runtime.reconcile.spec import CheckKind

LEAST_MEMORY = 16 * 1024**2  # below it hardly a process starts, and the engine's own part does not fit
LEAST_SHARES, MOST_SHARES = 2, 10_240  # the kernel's least; ten times the default
SECONDS = {"timeout_seconds": (0.1, 60), "start_seconds": (1, 900), "uptime_seconds": (0.5, 300)}
DEFAULTS = {"timeout_seconds": 5.0, "start_seconds": 60.0, "uptime_seconds": 2.0}
LONGEST_PATH = 300


def check_memory(process: str, size: int, *, machine_bytes: int) -> None:
    """0 is no limit. Raises `InvalidInput`."""
    if size == 0:
        return
    if size < LEAST_MEMORY:
        raise InvalidInput(
            f"{memory_text(size)} of memory are too little for {process}.",
            hint=f"Give it {memory_text(LEAST_MEMORY)} or more.",
            id="invalid_limit",
        )
    if size > machine_bytes:
        raise InvalidInput(
            f"{memory_text(size)} for {process} are more than this machine has.",
            hint=f"It has {memory_text(machine_bytes)} in all; choose less, or: unlimited.",
            id="more_than_the_machine",
        )


def check_shares(process: str, shares: int) -> None:
    """Raises `InvalidInput`."""
    if not LEAST_SHARES <= shares <= MOST_SHARES:
        raise InvalidInput(
            f"{shares} CPU shares for {process} are not possible.",
            hint=f"Choose {LEAST_SHARES} to {MOST_SHARES:,}; 1024 is the default, 2048 weighs twice as much.",
            id="invalid_limit",
        )


def checked_health(process: str, given: Mapping[str, Any], *, serves: bool, image_has_check: bool) -> dict[str, object]:
    """The check in the form a release keeps it, with nothing in it that its kind doesn't use. Raises `InvalidInput`."""
    try:
        kind = CheckKind(str(given.get("kind", "")))
    except ValueError:
        raise _invalid(
            f"{str(given.get('kind', ''))[:40]!r} is no kind of health check.",
            f"Choose among: {', '.join(CheckKind)}.",
        ) from None
    if kind is CheckKind.IMAGE and not image_has_check:
        raise _invalid(
            f"The image of {process} has no health check of its own.",
            "Add HEALTHCHECK to the Dockerfile and deploy it, or choose another kind.",
        )
    check: dict[str, object] = {"kind": kind.value}
    if kind in {CheckKind.HTTP, CheckKind.TCP}:
        port = _port(process, given.get("port"))
        if port:
            check["port"] = port
        elif not serves:
            raise _invalid(
                f"{process} gets no requests, so there is no port to ask.",
                "Give the port it listens on, or choose: uptime.",
            )
    if kind is CheckKind.HTTP:
        check["path"] = _path(str(given.get("path") or "/"))
    names = ["timeout_seconds", "start_seconds"] if kind is not CheckKind.UPTIME else ["uptime_seconds", "start_seconds"]
    for name in names:
        check[name] = _seconds(name, given.get(name))
    shorter, start = float(str(check[names[0]])), float(str(check["start_seconds"]))
    if shorter > start:
        what = "One attempt may take" if names[0] == "timeout_seconds" else "It has to stay up for"
        raise _invalid(
            f"{what} {shorter:g} s, but all of the start only {start:g} s.", "Give the start more seconds than that."
        )
    return check


def _port(process: str, given: object) -> int:
    text = str(given if given is not None else "").strip()
    if text in {"", "0"}:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= 65535):
        raise _invalid(f"{text[:40]!r} is no port for the health check of {process}.", "Choose 1 to 65535.")
    return int(text)


def _path(path: str) -> str:
    if not path.startswith("/") or len(path) > LONGEST_PATH or any(not 32 < ord(each) < 127 for each in path):
        raise _invalid(
            f"{path[:60]!r} is no path for a health check.",
            f"Write one like /up: a slash first, no spaces, up to {LONGEST_PATH} plain characters.",
        )
    return path


def _seconds(name: str, given: object) -> float:
    low, high = SECONDS[name]
    text = str(given if given is not None else "").strip()
    if not text:
        return DEFAULTS[name]
    words = name.replace("_seconds", "").replace("uptime", "up")
    try:
        value = float(text)
    except ValueError:
        raise _invalid(f"{text[:40]!r} is no number of seconds.", f"Choose {low:g} to {high:g} s ({words}).") from None
    if not low <= value <= high:
        raise _invalid(f"{text[:40]} s ({words}) are not possible.", f"Choose {low:g} to {high:g} s.")
    return value


def _invalid(message: str, hint: str) -> InvalidInput:
    return InvalidInput(message, hint=hint, id="invalid_health_check")
