"""Lines of a log as syslog messages, framed by their length (RFC 6587, octet counting).

For syslog they are as RFC 5424 says. A body of `application/logplex-1` has them as Heroku sends them, whose receivers
expect no STRUCTURED-DATA.
"""

from __future__ import annotations

import re

from runtime.logs.record import Line, Source

# Facility * 8 + severity "info": local7 for what the app says, local3 for the router, local0 for the platform.
PRIORITIES = {Source.APP: 190, Source.ROUTER: 158, Source.PLATFORM: 134}
_NOT_PRINTABLE = re.compile(r"[^\x21-\x7e]")


def message(line: Line, *, host: str, app_name: str = "", is_logplex: bool = False) -> bytes:
    """One line. `app_name` is for a receiver of several apps; otherwise it says app, or the platform, as Heroku does."""
    name = app_name or ("app" if line.source is Source.APP else "paas")
    process = "router" if line.source is Source.ROUTER else line.name
    fields = f"{line.stamp} {_field(host, 255)} {_field(name, 48)} {_field(process, 128)} -"
    data = "" if is_logplex else " -"
    return f"<{PRIORITIES[line.source]}>1 {fields}{data} {line.text}".encode(errors="replace")


def framed(each: bytes) -> bytes:
    return b"%d %s" % (len(each), each)


def unframed(data: bytes) -> list[bytes]:
    """The messages again. Raises `ValueError` for what is no whole number of frames."""
    found, at = [], 0
    while at < len(data):
        space = data.index(b" ", at)
        if not data[at:space].isdigit():
            raise ValueError("a frame begins with its length")
        end = space + 1 + int(data[at:space])
        if end > len(data):
            raise ValueError("the last frame is not whole")
        found.append(data[space + 1 : end])
        at = end
    return found


def _field(text: str, most: int) -> str:
    """Printable ASCII without a space, or nothing at all."""
    return _NOT_PRINTABLE.sub("_", text)[:most] or "-"
