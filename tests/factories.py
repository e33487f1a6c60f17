"""Test data made through the services, so that it can't drift from what the product can produce."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

import pyotp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from paas.accounts.models import TwoFactor, User
from paas.accounts.services import create_user
from paas.apps.models import App
from paas.apps.services import create_app
from paas.config.services import change_config
from paas.releases.models import Image, Release, ReleaseKind
from paas.releases.services import create_change, create_deploy, finish_release, start_release

_numbers = itertools.count(1)


def make_user(name: str = "alice", *, is_admin: bool = False) -> User:
    return create_user(email=f"{name}@example.com", password="correct horse battery", is_admin=is_admin)


def make_public_key() -> str:
    """As it stands in a .pub file, without a comment."""
    key = Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def code_of(two_factor: TwoFactor, steps: int = 0) -> str:
    """The one-time code of now, or of so many half minutes later."""
    return pyotp.TOTP(two_factor.secret).at(int(time.time()) + 30 * steps)


def make_app(name: str = "hello", *, owner: User | None = None) -> App:
    return create_app(name=name, by=owner or make_user(f"owner-of-{name}"))


def make_image(app: App, process_types: Mapping[str, str] | None = None, **fields: object) -> Image:
    number = next(_numbers)
    values = {
        "repository": app.repository,
        "digest": f"sha256:{number:064x}",
        "size_bytes": 48_000_000,
        "process_types": dict(process_types or {"web": "gunicorn app:app"}),
        "stack": "debian-13",
        "buildpacks": ["python"],
        "commit": f"{number:040x}",
        "commit_subject": f"Change {number}",
    }
    return Image.objects.create(app=app, **(values | fields))


def make_release(
    app: App,
    *,
    live: bool = True,
    image: Image | None = None,
    process_types: Mapping[str, str] | None = None,
    **fields: object,
) -> Release:
    """A deploy; made live unless told otherwise."""
    release = create_deploy(app, image or make_image(app, process_types, **fields), by=app.owner, description="Deploy")
    if live:
        make_live(release)
    return release


def make_config(app: App, **changes: str | None) -> Release:
    """A config change that changes something; not live yet unless the app has no image."""
    release = change_config(app, changes, by=app.owner)
    assert release is not None
    return release


def make_port(public_port: int, **fields: object) -> dict[str, object]:
    return {
        "process": "web",
        "port": 9000,
        "protocol": "tcp",
        "public_address": "0.0.0.0",
        "public_port": public_port,
    } | fields


def make_change(app: App, **changes: Any) -> Release:
    """A change of ports, limits or health settings that changes something; not live yet unless the app has no image."""
    kind = ReleaseKind(next(iter(changes)).removesuffix("_overrides"))
    release = create_change(app, by=app.owner, kind=kind, description=f"Change {kind}", **changes)
    assert release is not None
    return release


def make_live(release: Release | None) -> None:
    assert release is not None
    start_release(release)
    finish_release(release)
    release.app.refresh_from_db()
    release.refresh_from_db()
