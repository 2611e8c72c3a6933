"""The stored captures are what the script makes."""

from __future__ import annotations

import gzip
import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "data" / "make_captures.py"


def unpacked(path: Path, data: bytes) -> bytes:
    # Compressors differ from one Python to the next; what is in the file may not.
    return gzip.decompress(data) if path.suffix == ".gz" else data


def test_stored_captures_are_those_of_the_script() -> None:
    made = runpy.run_path(str(SCRIPT))["captures"]()
    assert {p: unpacked(p, d) for p, d in made.items()} == {
        p: unpacked(p, p.read_bytes()) for p in made
    }


def test_every_stored_capture_is_made_by_the_script() -> None:
    made = runpy.run_path(str(SCRIPT))["captures"]()
    stored = set((SCRIPT.parent / "captures").glob("*.*cap*"))
    assert stored == {path for path in made if path.parent.name == "captures"}
