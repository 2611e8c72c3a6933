"""Execute what the pages show: Python, files and commands.

* A ``python`` block runs; the blocks of one page share their names.
* A ``{code-block}`` with a ``:caption:`` that is a file name is written under that name, for the
  blocks after it.
* A ``console`` block runs its ``$ trireme-collector`` lines and compares what they print;
  ``...`` stands for anything. ``$ echo $?`` shows the exit code of the line before it, without
  which the code must be 0. Other commands are for the reader.
* ``<!-- skip: next "reason" -->`` shows a block without running it.
"""

from __future__ import annotations

import contextlib
import doctest
import os
import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from sybil import Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser, SkipParser

if TYPE_CHECKING:
    from sybil import Example

# What the configuration of Sphinx imports, tests import as it does.
sys.path.append(str(Path(__file__).parent))

COMMAND = "trireme-collector"

# A busy machine takes its time: that is no fault of a page.
settings.register_profile(
    "docs", deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("docs")


def _enter(namespace: dict[str, object]) -> None:
    namespace["_page"] = page = contextlib.ExitStack()
    directory = page.enter_context(tempfile.TemporaryDirectory())
    page.enter_context(contextlib.chdir(directory))


def _leave(namespace: dict[str, object]) -> None:
    page = namespace.pop("_page")
    assert isinstance(page, contextlib.ExitStack)
    page.close()


def _write(example: Example) -> str | None:
    options = example.region.lexemes.get("options") or {}
    if name := options.get("caption"):
        Path(name).write_text(example.parsed, encoding="utf-8")
    return None


def _toml(example: Example) -> str | None:
    tomllib.loads(example.parsed)
    return _write(example)


def _run(line: str) -> tuple[str, int]:
    arguments = shlex.split(line)
    program = Path(sys.executable).with_name(COMMAND)
    done = subprocess.run(  # the commands are those of our own pages
        [program, *arguments[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
    )
    return done.stdout, done.returncode


def _steps(text: str) -> list[tuple[str, str]]:
    steps: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            steps.append((line[2:].rstrip("\n"), ""))
        elif steps:
            command, expected = steps[-1]
            steps[-1] = (command, expected + line)
    return steps


def _console(example: Example) -> str | None:
    checker = doctest.OutputChecker()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    steps = _steps(example.parsed)
    code = 0
    for number, (command, expected) in enumerate(steps):
        if command == "echo $?":
            if expected.strip() != str(code):
                return f"expected exit code {expected.strip()}, got {code}"
            continue
        if command.split()[0] != COMMAND:
            continue
        printed, code = _run(command)
        if expected.strip() and not checker.check_output(expected, printed, flags):
            return f"$ {command}\nexpected:\n{expected}\ngot:\n{printed}"
        code_is_shown = steps[number + 1 : number + 2] and steps[number + 1][0] == "echo $?"
        if code and not code_is_shown:
            return f"$ {command}\nended with {code}:\n{printed}"
    return None


pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser(language="toml", evaluator=_toml),
        CodeBlockParser(language="text", evaluator=_write),
        CodeBlockParser(language="yaml", evaluator=_write),
        CodeBlockParser(language="console", evaluator=_console),
        SkipParser(),
    ],
    pattern="*.md",
    setup=_enter,
    teardown=_leave,
).pytest()


def _place(item: pytest.Item) -> tuple[str, int]:
    path, line, _ = item.reportinfo()
    return str(path), line or 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the blocks of a page in order: each builds on those before it."""
    blocks = [item for item in items if isinstance(item, SybilItem)]
    others = [item for item in items if not isinstance(item, SybilItem)]
    items[:] = others + sorted(blocks, key=_place)
