"""Config vars, byte by byte: what somebody sets is what the app gets, however it runs and whatever is in it."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from paas.config.envfile import format_env
from tests.e2e.harness import App

NASTY = {
    "EMPTY": "",
    "BLANKS": "  leading, trailing \t ",
    "LINES": "one\ntwo\n\nfour\n",
    "RETURNS": "a\r\nb\rc",
    "QUOTES": 'it\'s "quoted" `id` $(id) ${HOME} $PATH \\ \\n \\',
    "EQUALS": "=a=b==",
    "UNICODE": "äöü 日本 😀 \u2028\u00a0\ufeff",
    "CONTROLS": "".join(chr(n) for n in range(1, 32)) + "\x7f\x9b",
    "INJECTION": "x\nPORT=1\nexport PAAS_APP=evil\n';\"; rm -rf /app #",
    "NEWLINE_FIRST": "\n# no comment",
    "FUNCTION": "() { :; }; echo vulnerable",
    "LARGE": "é" * 16 * 1024,
    "lower_case": "1",
    "_LEADING": "1",
    "UID": "12",
    "LD_LIBRARY_PATH": "/nowhere",
}
SHOW = "__import__('base64').b64encode(json.dumps(dict(os.environ)).encode())"


def environment(text: str) -> dict[str, str]:
    values: dict[str, str] = json.loads(base64.b64decode(text))
    return values


@pytest.fixture
def echo(app: App) -> App:
    """An app with these config vars that shows its environment."""
    shown = f'if self.path == "/environ":\n            body = {SHOW}\n        elif self.path =='
    app.use("multi").edit("web.py", "if self.path ==", shown)
    app.platform.paas("apps:create", app.name)
    app.platform.paas("config:import", "-a", app.name, text=format_env(NASTY))
    return app


def test_every_instance_and_one_off_gets_what_was_set_to_the_byte(echo: App):
    echo.deploy(message="Show the environment.")
    assert echo.json("config") == NASTY
    seen = environment(echo.get("/environ").text)
    assert {name: seen.get(name) for name in NASTY} == NASTY
    assert (seen["PORT"], seen["PAAS_APP"]) == ("8080", echo.name)
    said = echo.paas("run", "--no-tty", "python", "-c", f"import json, os; print({SHOW}.decode())")
    seen = environment(said.out)
    assert {name: seen.get(name) for name in NASTY} == NASTY


def test_a_build_step_and_the_release_command_get_it_too(app: App):
    """They print sums: what they print is in a log."""
    program = (
        "for (const [name, value] of Object.entries(process.env))"
        " console.log('var', name, require('crypto').createHash('sha256').update(value).digest('hex'));"
    )
    app.use("slow-build").edit("build.js", "|| 4", "|| 1").edit("build.js", "let tick = 0;", f"let tick = 0;\n{program}")
    (app.folder / "sums.js").write_text(program)
    (app.folder / "Procfile").write_text("web: node server.js\nrelease: node sums.js\n")
    app.platform.paas("apps:create", app.name)
    app.platform.paas("config:import", "-a", app.name, text=format_env(NASTY))
    said = app.deploy(message="Print sums.").remote
    for name, value in NASTY.items():
        wanted = f"var {name} {hashlib.sha256(value.encode()).hexdigest()}"
        assert sum(wanted in line for line in said) == 2, name
