"""Lines of an app's log that fit a filter. To follow one there are log sessions."""

from __future__ import annotations

from typing import Annotated

from ninja import Router
from pydantic import Field

from paas.api.auth import ApiRequest, find_app
from paas.api.errors import Refusal
from paas.api.schemas import Answer
from paas.logs.selectors import app_log, log_filter
from runtime.logs.record import Position

router = Router(tags=["Logs"])
MOST = 1000


class LineAnswer(Answer):
    at: str
    label: str
    text: str


class LinesAnswer(Answer):
    lines: list[LineAnswer]
    cursor: str = Field(description="Where the next line will be: send it as `after`.")


@router.get("/apps/{identity}/log-lines", response=LinesAnswer)
def log_lines(
    request: ApiRequest,
    identity: str,
    *,
    num: Annotated[int, Field(ge=0, le=MOST)] = 100,
    after: str = "",
    process: str = "",
    source: str = "",
    release: str = "",
    since: str = "",
    until: str = "",
    text: str = "",
    regex: bool = False,
) -> LinesAnswer:
    """The newest lines that fit; with `after` those that came since, at most so many. Oldest first."""
    app = find_app(request, identity)
    wanted = log_filter(
        app,
        request.user,
        source=source,
        process=process,
        release=release,
        since=since,
        until=until,
        text=text,
        is_pattern=regex,
    )
    reader = app_log(app)
    if after:
        position = Position.parse(after)
        if position is None:
            raise Refusal(422, "invalid_params", "after is no cursor.", hint="Send the one of the last answer.")
        lines, end = reader.after(position, wanted, max(1, num))
    else:
        end = reader.end()
        lines = reader.newest(wanted, num, before=end).lines
    return LinesAnswer(
        lines=[LineAnswer(at=each.stamp, label=each.label, text=each.text) for each in lines], cursor=str(end)
    )
