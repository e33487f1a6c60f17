"""How people call a buildpack: by our name, by Heroku's, or by the address of one of Heroku's."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Our names, and what clients of Heroku's API are told each is called.
SHOWN: Mapping[str, str] = {
    "python": "heroku/python",
    "node": "heroku/nodejs",
    "static": "heroku-community/static",
    "dockerfile": "dockerfile",
}
_NAMES: Mapping[str, str] = {
    **{name: name for name in SHOWN},
    **{shown: name for name, shown in SHOWN.items()},
    "nodejs": "node",
    "heroku-community/nginx": "static",
}
_ADDRESS = re.compile(
    r"https://(?:github\.com/heroku/heroku-buildpack-(?P<repository>[a-z]+)(?:\.git)?"
    r"|buildpack-registry\.s3\.amazonaws\.com/buildpacks/(?P<archive>[a-z/-]+)\.tgz)(?:#.*)?"
)


def buildpack_name(text: str) -> str | None:
    """Ours; None when it is none that we know."""
    text = text.strip().removeprefix("urn:buildpack:")
    if match := _ADDRESS.fullmatch(text):
        text = match["archive"] or f"heroku/{match['repository']}"
    return _NAMES.get(text)


def known_names() -> str:
    """For messages."""
    return ", ".join(sorted(SHOWN))
