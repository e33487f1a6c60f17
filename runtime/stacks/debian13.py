"""The stack `debian-13`: which packages are in the base, and which each language adds to run and to compile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NAME = "debian-13"
SUITE = "trixie"

#: In every image, beside the essential packages: certificates, time zones, service and protocol names.
BASE = ("ca-certificates", "netbase", "tzdata")

#: What every image's processes find in their environment.
ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/app",
}

_COMPILER = ("gcc", "g++", "make", "libc6-dev", "pkg-config", "git")


@dataclass(frozen=True, slots=True)
class Language:
    """`run` is what an app needs to start; `build` comes on top where something has to be compiled, and never ships."""

    run: tuple[str, ...]
    build: tuple[str, ...]


LANGUAGES: Mapping[str, Language] = {
    "python": Language(
        # libpq5: psycopg built from source links to it, and it is the one library everyone needs.
        run=("python3", "libpq5"),
        build=(*_COMPILER, "python3-dev", "libpq-dev", "libffi-dev", "libssl-dev", "zlib1g-dev"),
    ),
    "node": Language(run=("nodejs",), build=(*_COMPILER, "python3", "libnode-dev")),
    "static": Language(run=("nginx-light",), build=("git",)),
    "ruby": Language(
        run=("ruby", "ruby-bundler", "libyaml-0-2", "libpq5"),
        build=(*_COMPILER, "ruby-dev", "libyaml-dev", "libpq-dev", "libssl-dev", "zlib1g-dev"),
    ),
    "go": Language(run=(), build=("golang-go", "git", "gcc", "libc6-dev")),
    "php": Language(
        run=("php8.4-cli", "php8.4-fpm", "php8.4-mbstring", "php8.4-pgsql", "nginx-light"),
        build=("composer", "unzip", "git"),
    ),
}
