"""News fragments are written for users, in a form that towncrier can render."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "changelog.d"
NAME = re.compile(r"\+[a-z0-9-]+\.(?P<kind>[a-z]+)\.md")


def kinds() -> set[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {kind["directory"] for kind in settings["tool"]["towncrier"]["type"]}


def fragments() -> list[Path]:
    return sorted(p for p in DIRECTORY.iterdir() if p.name not in {"README.md", ".gitignore"})


@pytest.mark.parametrize("fragment", fragments(), ids=lambda p: p.name)
def test_fragment_is_named_by_its_kind(fragment: Path) -> None:
    match = NAME.fullmatch(fragment.name)
    assert match, "expected +few-words.kind.md"
    assert match["kind"] in kinds()


@pytest.mark.parametrize("fragment", fragments(), ids=lambda p: p.name)
def test_fragment_is_sentences(fragment: Path) -> None:
    text = fragment.read_text(encoding="utf-8")
    assert re.match(r"[A-Z`]", text), "begins like a sentence"
    assert text.endswith(".\n"), "ends like a sentence, with one newline"
    assert not re.search(r"#\d+", text), "users do not know numbers of a tracker"


def test_fragments_render() -> None:
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "9.9.9"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for fragment in fragments():
        first = fragment.read_text(encoding="utf-8").splitlines()[0]
        assert first in done.stdout
