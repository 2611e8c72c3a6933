"""Fuzz gob streams: ``python -m tests.fuzz.fuzz_gob --seconds 60 --seed 1``."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_datapath.monitor.gob import GobError, GobStream, GobStreamError, decode_gob

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_DATA = Path(__file__).parents[1] / "data" / "monitor"


def _seeds() -> tuple[bytes, ...]:
    inner = json.loads((_DATA / "inner_streams.json").read_bytes())
    streams = [bytes.fromhex(case["hex"])[1:] for case in inner]
    return ((_DATA / "session.gob").read_bytes(), *streams)


def run(data: bytes) -> Hashable:
    """Read the bytes as a stream, at once and in two pieces, and as one value."""
    stream = GobStream()
    found = stream.receive(data)
    pieces = GobStream()
    middle = len(data) // 2
    again = pieces.receive(data[:middle]) + pieces.receive(data[middle:])
    assert list(map(repr, again)) == list(map(repr, found))
    assert stream.lost == any(isinstance(value, GobStreamError) for value in found)
    outcome = {type(value).__name__ for value in found}
    try:
        decode_gob(data)
    except GobError as error:
        outcome.add(re.sub(r"\d+|'[^']*'", "", str(error)))
    return frozenset(outcome), stream.lost, stream.inside_message


TARGET = Target(name="gob", seeds=_seeds(), run=run, max_bytes=4096, max_seconds=0.1)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
