"""The captured messages, by name."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

little = pytest.mark.skipif(sys.byteorder == "big", reason="captured on a little-endian machine")


def golden() -> dict[str, bytes]:
    path = Path(__file__).parents[3] / "data" / "conntrack_messages.toml"
    with path.open("rb") as file:
        return {one["name"]: bytes.fromhex(one["hex"]) for one in tomllib.load(file)["message"]}
