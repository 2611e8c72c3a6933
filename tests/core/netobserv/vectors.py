"""What the original program made of the same input."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[2] / "data" / "netobserv_conntrack.json.gz"


@functools.cache
def load() -> dict[str, Any]:
    """Read the file once."""
    data: dict[str, Any] = json.loads(gzip.decompress(_FILE.read_bytes()))
    return data


def scenarios(*, refused: bool) -> list[Any]:
    """List the runs of the tracker, or the configurations that it refused."""
    return [s for s in load()["scenarios"] if ("config_error" in s) is refused]


@functools.cache
def load_random() -> dict[str, Any]:
    """Read what it made of configurations and flow logs made at random."""
    path = _FILE.with_name("netobserv_random.json.gz")
    data: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return data


@functools.cache
def load_interchange() -> dict[str, Any]:
    """Read what the whole program made of our flow logs, from topic to topic."""
    path = _FILE.with_name("netobserv_interchange.json.gz")
    data: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return data
