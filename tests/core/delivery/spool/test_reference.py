"""The reference names every crash point, every reason of a drop and every key, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from trireme_collector.delivery import spool
from trireme_collector.delivery.spool.crash_points import CrashPoint

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "spool.md"


def rows(heading: str) -> list[str]:
    """List the first column of the table under a heading."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2]
    return re.findall(r"^\| `([\w-]+)` \|", section.partition("\n## ")[0], re.MULTILINE)


def test_crash_points_are_listed_in_order() -> None:
    assert rows("Crash points") == list(CrashPoint)


def test_reasons_are_listed() -> None:
    constants = [name for name in spool.__all__ if name.startswith(("DROPPED_", "LOST_"))]
    assert sorted(rows("Readers")) == sorted(getattr(spool, name) for name in constants)


def test_keys_are_listed() -> None:
    fields = msgspec.structs.fields(spool.SpoolConfig)
    assert rows("Configuration") == [field.name for field in fields]
