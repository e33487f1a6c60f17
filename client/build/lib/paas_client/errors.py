"""What can go wrong, and whose problem it is: that decides the exit code."""

from __future__ import annotations


class Problem(Exception):
    """`message` says what happened and what we saw, `hint` what to do next; `id` is that of the API, or our own."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", id: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.id = id

    def lines(self) -> list[str]:
        return [*self.message.splitlines(), *self.hint.splitlines()]


class UserProblem(Problem):
    """Yours: a name that is not there, a right that you don't have, a login that ran out."""


class PlatformProblem(Problem):
    """The platform's: it can't be reached, or it failed."""

    exit_code = 70
