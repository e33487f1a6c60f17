"""Log sessions: an address at which lines of an app's log can be read, and followed, without a token."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from uuid import UUID

from ninja import Router
from pydantic import Field

from paas.accounts.models import Scope
from paas.api.auth import ApiRequest, TokenAuth, find_app
from paas.api.schemas import Answer, Body, Time
from paas.api.streams import stream_url
from paas.logs.sessions import MOST_LINES, Choice, open_session

router = Router(tags=["Logs"])


class LogSessionAnswer(Answer):
    created_at: Time
    id: UUID
    logplex_url: str
    updated_at: Time


class NewLogSession(Body):
    dyno: str | None = Field(None, description="A process type or an instance: web, web.1, run.7; router for requests.")
    dyno_name: str | None = Field(None, description="Another name for it.")
    type: str | None = Field(None, description="A process type, where no dyno is named.")
    lines: int | None = Field(None, description=f"How many lines of the past, at most {MOST_LINES}; 100 when missing.")
    source: str | None = Field(
        None, description="app for what the app said, router for requests, platform; heroku for the last two."
    )
    release: str | None = Field(None, description="Ours: only lines of this release, v12.")
    since: str | None = Field(None, description="Ours: from then on, as 30m, 2h, 1d or a time.")
    until: str | None = Field(None, description="Ours: up to then.")
    text: str | None = Field(None, description="Ours: only lines with this text, in whatever case.")
    regex: bool = Field(False, description="Ours: the text is a regular expression.")
    tail: bool | None = Field(None, description="Whether to go on with what comes.")


@router.post("/apps/{identity}/log-sessions", response={201: LogSessionAnswer}, auth=TokenAuth(writing=Scope.READ))
def create_log_session(request: ApiRequest, identity: str, body: NewLogSession) -> LogSessionAnswer:
    choice = Choice(
        lines=100 if body.lines is None else min(max(body.lines, 0), MOST_LINES),
        tail=bool(body.tail),
        process=body.dyno or body.dyno_name or body.type or "",
        source=body.source or "",
        release=body.release or "",
        since=body.since or "",
        until=body.until or "",
        text=body.text or "",
        is_pattern=body.regex,
    )
    secret = open_session(find_app(request, identity), choice, by=request.user, token=request.token)
    now = datetime.now(UTC)
    return LogSessionAnswer(
        created_at=now,
        id=uuid.uuid4(),
        logplex_url=stream_url(request, f"/streams/log-sessions/{secret}"),
        updated_at=now,
    )
