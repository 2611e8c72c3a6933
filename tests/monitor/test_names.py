"""Every name that Cilium's `pkg/monitor` offers has its row in the reference, and the row is true.

`tests/data/monitor/go_names.txt` lists the names in the Go documentation of that package, v1.9.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import trireme_datapath.monitor

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "cilium-monitor.md"
NAMES = ROOT / "tests" / "data" / "monitor" / "go_names.txt"

TABLE = PAGE.read_text("utf-8").partition("## Names of the original")[2]
ROWS = dict(re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", TABLE, re.MULTILINE))


def find(name: str) -> object:
    """Follow a name from the package on; fields of a message are attributes of its class."""
    found: object = trireme_datapath.monitor
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_every_name_has_a_row() -> None:
    names = NAMES.read_text("utf-8").split()
    assert len(names) > 250
    assert [name for name in names if name not in ROWS] == []


@pytest.mark.parametrize("name", ROWS.values(), ids=list(ROWS))
def test_every_row_names_something(name: str) -> None:
    assert find(name) is not None
    assert name.partition(".")[0] in trireme_datapath.monitor.__all__


def test_numbers_are_those_of_the_original() -> None:
    """Constants of one block count up, from zero."""
    blocks = {
        "DbgCapture": (0, 11),
        "Dbg": (0, 64),
        "Ct": (0, 3),
        "TraceReason": (0, 4),
        "TraceNotifyVersion": (0, 1),
    }
    counted = {
        prefix: [
            find(row)
            for name, row in ROWS.items()
            if re.match(rf"{prefix}(?!Capture|EncryptMask)", name) and not re.match(r"\w+\.", name)
        ]
        for prefix in blocks
    }
    assert counted == {
        prefix: list(range(first, last + 1)) for prefix, (first, last) in blocks.items()
    }
