"""What Cilium itself prints, to compare with: see `tests/data/monitor/cilium_monitor.SOURCE.md`."""

from __future__ import annotations

import functools
import gzip
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Case", "cases", "document", "printed"]

_FILE = Path(__file__).parents[1] / "data" / "monitor" / "cilium_monitor.json.gz"

Case = dict[str, Any]


@functools.cache
def document() -> dict[str, Any]:
    """Load the file: `meta`, `tables`, `agent_messages` and `profiles`."""
    loaded: dict[str, Any] = msgspec.json.decode(gzip.decompress(_FILE.read_bytes()))
    return loaded


def cases(*types: str) -> list[tuple[str, Case]]:
    """List the profile and the case of all cases of some types."""
    return [
        (profile, case)
        for profile, content in document()["profiles"].items()
        for case in content["cases"]
        if case["type"] in types
    ]


def printed(value: str | dict[str, str]) -> str:
    """Give what was printed: all of it, or what came before the original ended in a panic."""
    return value if isinstance(value, str) else value["out"]
