"""The project speaks of itself, in plain words, and leaves no note behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPED = {"LICENSE", "test_words.py"}
SUFFIXES = {"", ".cfg", ".ini", ".md", ".py", ".toml"}
PLACES = (
    ".ci",
    "bench",
    "changelog.d",
    "datapath",
    "docs",
    "examples",
    "packaging",
    "plugins",
    "tests",
    "trireme_collector",
)

# What may not stand anywhere, and why.
FORBIDDEN = {
    r"\b(TODO|FIXME|XXX|HACK)\b": "finish it or leave it out",
    r"\bNotImplementedError\b": "a stub is not shipped",
    r"/work/|/root/|/home/\w+/": "a path of one machine",
    r"\bissue #?\d+": "a number that readers cannot look up",
    r"(?i)\b(blazing(ly)?|seamless(ly)?|cutting[- ]edge|game[- ]chang\w+|enterprise[- ]grade)\b": (
        "plain words, no advertising"
    ),
}


def files() -> list[Path]:
    found = [p for p in ROOT.iterdir() if p.is_file() and not p.name.startswith(".coverage")]
    for place in PLACES:
        found.extend(p for p in (ROOT / place).rglob("*") if p.is_file())
    return sorted(
        p
        for p in found
        if p.suffix in SUFFIXES
        and p.name not in SKIPPED
        and not {"__pycache__", "_build", "data"} & set(p.parts)
        and not any(part.startswith(".") for part in p.parent.relative_to(ROOT).parts[1:])
    )


def test_there_is_something_to_read() -> None:
    assert {"README.md", "setup.cfg", "test_imports.py"} <= {p.name for p in files()}


@pytest.mark.parametrize("pattern", FORBIDDEN, ids=list(FORBIDDEN.values()))
def test_forbidden_words_are_absent(pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert found == []


def test_modules_keep_to_one_idea() -> None:
    """A module over 700 lines has more than one."""
    long = {
        path.relative_to(ROOT).as_posix(): length
        for path in files()
        if path.suffix == ".py"
        and (length := len(path.read_text(encoding="utf-8").splitlines())) > 700
    }
    assert long == {}


def test_nothing_is_called_utils() -> None:
    names = {"common", "helper", "helpers", "misc", "util", "utils"}
    assert [p for p in files() if p.suffix == ".py" and p.stem.strip("_") in names] == []
