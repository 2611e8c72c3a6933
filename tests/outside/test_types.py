"""Our types seen from outside: what is right is taken, and what is wrong is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.outside.workshop import Workshop

pytestmark = pytest.mark.outside

PROJECT = Path(__file__).parent / "typed_project"


def test_a_project_with_other_settings_is_checked(workshop: Workshop) -> None:
    copy = workshop.base / "typed_project"
    shutil.copytree(PROJECT, copy)
    workshop.check_types(copy)


def test_a_mistake_would_be_seen(workshop: Workshop) -> None:
    copy = workshop.base / "mistaken_project"
    shutil.copytree(PROJECT, copy)
    text = (copy / "mistakes.py").read_text(encoding="utf-8")
    bare = "\n".join(line.partition("  # type:")[0] for line in text.splitlines())
    (copy / "mistakes.py").write_text(bare + "\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="Found 5 errors in 1 file"):
        workshop.tool("mypy", "--python-executable", str(workshop.python), cwd=copy)
    with pytest.raises(AssertionError, match="5 errors"):
        workshop.tool("pyright", "--pythonpath", str(workshop.python), cwd=copy)
