"""Commands run by hand: which there were, and how they ended. They are started as dynos."""

from __future__ import annotations

from ninja import Router

from paas.api.auth import ApiRequest, find_app
from paas.api.ranges import page
from paas.api.schemas import Answer, Time
from paas.apps.models import App, Role
from paas.runs.models import Run
from paas.runs.selectors import get_run, runs_of
from paas.runs.services import stop_run
from runtime.errors import NotFound

router = Router(tags=["Runs"])


class RunAnswer(Answer):
    number: int
    command: str
    status: str
    exit_code: int | None
    reason: str | None
    release: int | None
    by: str | None
    door: str | None
    attached: bool
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    seconds: float | None


def _answer(run: Run) -> RunAnswer:
    return RunAnswer(
        number=run.number,
        command=run.command,
        status=run.status,
        exit_code=run.exit_code,
        reason=run.reason or None,
        release=run.release.version if run.release else None,
        by=run.created_by.email if run.created_by else None,
        door=run.door or None,
        attached=run.is_attached,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        seconds=run.seconds,
    )


def _find(app: App, number: str) -> Run:
    """Raises `NotFound`."""
    text = number.removeprefix("run.")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFound(f"{app.name} has no run {number[:40]!r}.", id="run_not_found")
    return get_run(app, int(text))


@router.get("/apps/{identity}/runs", response=list[RunAnswer])
def list_runs(request: ApiRequest, identity: str) -> list[RunAnswer]:
    """Newest first with `Range: number ..; order=desc,max=15`. For operators, as a command may hold a secret."""
    rows = runs_of(find_app(request, identity, Role.OPERATOR)).defer("release__config")
    return [_answer(run) for run in page(request, rows, ordered_by="number", number="number")]


@router.get("/apps/{identity}/runs/{number}", response=RunAnswer)
def run_info(request: ApiRequest, identity: str, number: str) -> RunAnswer:
    return _answer(_find(find_app(request, identity, Role.OPERATOR), number))


@router.post("/apps/{identity}/runs/{number}/stop", response=RunAnswer)
def stop(request: ApiRequest, identity: str, number: str) -> RunAnswer:
    app = find_app(request, identity, Role.DEVELOPER)
    run = _find(app, number)
    stop_run(run, by=request.user)
    return _answer(get_run(app, run.number))
