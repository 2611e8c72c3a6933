"""What the pages about testing show is what happens: their tests pass, their rows are tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TABLE = "## From the generated mock of Trireme\n"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    text = (DOCS / "how-to" / "test-a-collector.md").read_text("utf-8")
    blocks = [block for block in BLOCK.findall(text) if "print(error)" not in block]
    (tmp_path / "test_page.py").write_text("\n\n".join(blocks), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    tests = sum(len(re.findall(r"^def test_", block, re.MULTILINE)) for block in blocks)
    assert tests >= 6
    assert re.search(rf"^{tests} passed", done.stdout, re.MULTILINE), done.stdout


def test_the_refusal_that_is_shown_is_the_one_that_comes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (DOCS / "how-to" / "test-a-collector.md").read_text("utf-8")
    setup, shown = BLOCK.findall(text)[:1], next(b for b in BLOCK.findall(text) if "print(" in b)
    code = "\n".join([*setup, "from trireme_collector.testing import MockCollector", shown])
    exec(compile(code, "test_agent.py", "exec"), {})
    (expected,) = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    place = re.compile(r"\(test_agent\.py:\d+\)")
    assert place.sub("", capsys.readouterr().out) == place.sub("", expected)


def test_the_difference_that_is_shown_is_the_one_that_comes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (DOCS / "how-to" / "test-with-packets.md").read_text("utf-8")
    blocks = BLOCK.findall(text)
    shown = next(index for index, block in enumerate(blocks) if "print(error)" in block)
    exec(compile("\n".join(blocks[: shown + 1]), "page.py", "exec"), {})
    (expected,) = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert capsys.readouterr().out == expected


def test_every_row_of_the_table_is_a_test_and_every_test_a_row() -> None:
    page = (DOCS / "reference" / "testing.md").read_text("utf-8")
    table = page.split(TABLE)[1].split("\n## ")[0]
    rows = {
        name
        for row in re.findall(r"^\|.*\| (`test_.*`) \|$", table, re.MULTILINE)
        for name in re.findall(r"test_\w+", row)
    }
    tests = {
        name
        for part in ("core", "datapath")
        for name in re.findall(
            r"^def (test_\w+)",
            (ROOT / "tests" / part / "testing" / "test_upstream_idioms.py").read_text("utf-8"),
            re.MULTILINE,
        )
    }
    assert rows == tests
    lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert [line for line in lines if "`test_" not in line] == []
