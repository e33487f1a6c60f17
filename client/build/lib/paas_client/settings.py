"""Which platforms this person knows: `~/.config/paas/config.json`, for nobody else to read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from paas_client.errors import UserProblem


@dataclass(frozen=True)
class Platform:
    """A platform and the login there. Without a token one has to log in first."""

    name: str
    url: str
    token: str = ""
    email: str = ""
    token_id: str = ""  # of the authorization that a logout takes back
    ca_file: str = ""
    git_host: str = ""  # with its port; learned at the login


@dataclass(frozen=True)
class Settings:
    default: str = ""
    platforms: Mapping[str, Platform] = field(default_factory=dict)

    def with_platform(self, platform: Platform) -> Settings:
        """It becomes the default one."""
        return Settings(platform.name, {**self.platforms, platform.name: platform})

    def without_platform(self, name: str) -> Settings:
        left = {key: value for key, value in self.platforms.items() if key != name}
        return Settings(self.default if self.default in left else next(iter(left), ""), left)

    def with_default(self, name: str) -> Settings:
        return replace(self, default=self.find(name).name)

    def find(self, name: str) -> Platform:
        """Raises `UserProblem`."""
        found = self.platforms.get(name)
        if found is None:
            known = ", ".join(self.platforms) or "none"
            raise UserProblem(
                f"You have not logged in to a platform called {name!r}; known: {known}.",
                hint=f"paas login https://api.example.com --platform {name}",
                id="unknown_platform",
            )
        return found


def folder() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "paas"


def load() -> Settings:
    """Raises `UserProblem` when the file is not what we wrote."""
    file = folder() / "config.json"
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        platforms = {name: Platform(name=name, **fields) for name, fields in values["platforms"].items()}
        return Settings(str(values["default"]), platforms)
    except FileNotFoundError:
        return Settings()
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise UserProblem(
            f"{file} can't be read: {exc}.", hint="Remove it, and log in again: paas login", id="bad_config"
        ) from exc


def save(settings: Settings) -> None:
    platforms = {}
    for name, platform in settings.platforms.items():
        fields = asdict(platform)
        del fields["name"]
        platforms[name] = {key: value for key, value in fields.items() if value}
    text = json.dumps({"default": settings.default, "platforms": platforms}, indent=2) + "\n"
    write_private(folder() / "config.json", text)


def write_private(file: Path, text: str) -> None:
    """Whole or not at all, and readable by its owner alone from its first moment on."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    beside.replace(file)


def api_url(given: str) -> str:
    """`apps.example.com`, `api.apps.example.com` or a whole address, as people type it. Raises `UserProblem`."""
    text = given.strip().rstrip("/")
    if "://" not in text:
        host = urlsplit(f"https://{text}").hostname or ""
        is_whole = host.startswith("api.") or host == "localhost" or host.replace(".", "").isdigit() or ":" in host
        text = f"https://{text}" if is_whole or not host else f"https://api.{text}"
    parts = urlsplit(text)
    try:
        parts.port  # noqa: B018  # reading it checks it
        is_plain = parts.hostname and not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    except ValueError:
        is_plain = False
    if parts.scheme not in ("http", "https") or not is_plain:
        raise UserProblem(
            f"{given!r} is not the address of a platform.", hint="It looks like https://api.example.com", id="bad_url"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}"


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.endswith(".localhost") or host.startswith("127.") or host == "::1"
