"""docs/reference/heroku-cli.md says that exactly those commands work which the end-to-end tests run."""

from __future__ import annotations

import ast

from tests.e2e.harness import CHECKOUT
from tests.e2e.heroku_table import line_for, table

TESTS = CHECKOUT / "tests" / "e2e" / "test_heroku_cli.py"
# As the tests call some of them, by a shorter name.
ALSO = {
    "create": "apps:create",
    "destroy": "apps:destroy",
    "info": "apps:info",
    "login": "auth:login",
    "rollback": "releases:rollback",
    "stack:set": "apps:stacks:set",
    "whoami": "auth:whoami",
}


def commands_in_tests() -> set[str]:
    """First arguments of calls: `heroku("config:set", …)`, `heroku.json("apps")`, `heroku.terminal("run", …)`."""
    tree = ast.parse(TESTS.read_text())
    first = [node.args[0] for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    said = {node.value for node in first if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {ALSO.get(word, word) for word in said}


def test_what_works_is_what_the_tests_run():
    lines = table()
    works = {line for line, verdict in lines.items() if verdict == "works"}
    run = {line for word in commands_in_tests() if (line := line_for(word, lines)) and line == word}
    assert sorted(works - run) == [], "the page says that these work, and no test runs them"
    assert sorted(line for line in run if lines[line] != "works" and lines[line] != "local") == [], "the tests run these"
