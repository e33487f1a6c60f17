"""What goes wrong in an app is told to whoever pushes it, and to nobody else."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.e2e.harness import App, steady_load


@dataclass(frozen=True)
class Case:
    """A sample that must fail: what the pusher has to read, as patterns."""

    sample: str
    words: tuple[str, ...]
    released: bool = True  # it gets as far as a release


CASES = (
    Case("fails-no-buildpack", (r"requirements\.txt", r"Dockerfile"), released=False),
    Case("fails-dependency", (r"markupsafe", r"999"), released=False),
    Case("fails-procfile", (r"Procfile", r"line 2|this line has no colon"), released=False),
    Case("fails-syntax", (r"SyntaxError", r"web\.1|web")),
    Case("fails-exit", (r"DATABASE_URL is missing", r"\b3\b")),
    Case("fails-no-port", (r"PORT", r"(?i)listen|bind|bound|connect")),
    Case("fails-release", (r"column shop\.price already exists", r"(?i)release command")),
    Case("fails-health", (r"/up", r"\b500\b")),
    Case("oom", (r"(?i)memory", r"512")),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sample)
def test_a_failing_push_names_the_reason_and_harms_nothing(steady: App, case: Case) -> None:
    before = steady.releases()
    containers = sorted(c["Id"] for c in steady.instances())
    steady.use(case.sample).commit(f"Break it: {case.sample}.")

    with steady_load(steady):
        push = steady.push().failed()

    said = "\n".join(push.remote)
    for pattern in case.words:
        assert _found(pattern, said), f"nothing matches {pattern!r}:\n{push.text}"
    assert push.refusal, f"git was not told why:\n{push.text}"
    assert len(push.complaints) >= 2, f"a reason and a next step were expected:\n{push.text}"
    assert "Traceback" not in said or case.sample == "fails-syntax"

    assert steady.answers(version="good")
    assert sorted(c["Id"] for c in steady.instances()) == containers, "the running instances were touched"
    steady.comes_to_rest()
    new = steady.releases()[len(before) :]
    assert [row["status"] for row in new] == ["failed"] * case.released
    build = steady.builds()[-1]
    assert build["status"] == "failed"
    assert build["reason"]
    assert build["hint"]
    assert build["error_id"] not in (None, "internal_error", "failure")


def _found(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None


def test_after_a_failure_the_next_good_push_works(app: App) -> None:
    app.use("fails-exit").commit()
    first = app.push().failed()
    assert first.refusal
    assert app.get().status in {404, 503}
    app.deploy("multi", "two")
    assert app.answers(version="two")
    app.comes_to_rest()
