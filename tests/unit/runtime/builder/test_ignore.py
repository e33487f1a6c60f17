from __future__ import annotations

import pytest

from runtime.builder.ignore import ignore_matcher

PATHS = [
    "Dockerfile", "README.md", "docs/a.md", "docs/deep/b.md", "private/hidden.txt", "private/shown.txt", "src/a.py",
    "src/a.pyc", "src/deep/b.pyc", "file1", "file12", "a.b", "[x]", ".env", "sub/.env", "with space.txt",
]  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "ignored"),
    [
        ("", []),
        ("# *.md\n\n", []),
        ("*.md", ["README.md"]),
        ("**/*.md", ["README.md", "docs/a.md", "docs/deep/b.md"]),
        ("*/*.md", ["docs/a.md"]),
        ("docs", ["docs/a.md", "docs/deep/b.md"]),
        ("/docs/", ["docs/a.md", "docs/deep/b.md"]),
        ("./docs/deep/../deep", ["docs/deep/b.md"]),
        ("docs/**", ["docs/a.md", "docs/deep/b.md"]),
        ("**/deep", ["docs/deep/b.md", "src/deep/b.pyc"]),
        ("private/\n!private/shown.txt", ["private/hidden.txt"]),
        ("!private/shown.txt\nprivate/", ["private/hidden.txt", "private/shown.txt"]),
        ("*\n!src/a.py\n!README.md", [path for path in PATHS if path not in {"src/a.py", "README.md"}]),
        ("**/*.pyc", ["src/a.pyc", "src/deep/b.pyc"]),
        ("file?", ["file1"]),
        ("file[0-9]", ["file1"]),
        ("file[^0-8]2", []),
        ("file[!5]*", ["file1", "file12"]),
        ("a.b", ["a.b"]),
        ("a?b", ["a.b"]),
        ("\\[x\\]", ["[x]"]),
        (".env", [".env"]),
        ("**/.env", [".env", "sub/.env"]),
        ("with space.txt  ", ["with space.txt"]),
        ("src/a.py\r\nREADME.md\r\n", ["README.md", "src/a.py"]),
        ("**", PATHS),
    ],
)
def test_the_last_rule_that_matches_a_path_or_its_folder_decides(rules: str, ignored: list[str]) -> None:
    is_ignored = ignore_matcher(rules.encode())
    assert [path for path in PATHS if is_ignored(path)] == ignored
