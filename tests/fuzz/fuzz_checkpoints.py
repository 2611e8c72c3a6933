"""Fuzz what stands in checkpoints: ``python -m tests.fuzz.fuzz_checkpoints --seconds 60``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import msgspec

from tests.core.netobserv.flows import flow
from tests.core.netobserv.shared_fakes import following
from tests.fuzz.harness import Target, main
from trireme_collector import ConfigError
from trireme_collector.netobserv import PartitionConversations
from trireme_collector.netobserv.sharing import Partition, PartitionCheckpoint, Portion
from trireme_collector_kafka._state_log import StateReference

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_FIT = "fuzz"
_PLACE = Partition("flows", 0)
_REFERENCE = msgspec.json.encode(StateReference(writer="w", number=1, offset=7, pieces=1))


def _seed() -> bytes:
    kept = following()
    times = [1_000, 2_000]
    lines = [json.dumps(flow(number, 9, Bytes=number, Flags=2)).encode() for number in (1, 2)]
    partition = PartitionConversations(_PLACE, kept, _FIT)
    partition.take(Portion(_PLACE, [0, 1], times, lines))
    checkpoint = partition.checkpoint()
    if checkpoint is None:
        raise AssertionError("nothing is to be kept of two flow logs")
    note = checkpoint.note.encode()
    return b"\n".join((_REFERENCE, note, b"".join(checkpoint.states or ())))


def run(data: bytes) -> Hashable:
    """Take a checkpoint up, and go on from there."""
    reference, _, rest = data.partition(b"\n")
    note, _, states = rest.partition(b"\n")
    try:
        found = msgspec.json.decode(reference, type=StateReference)
    except ValueError:
        pieces = -1
    else:
        pieces = found.pieces
        if not 0 <= pieces <= 1_000_000:
            raise AssertionError("as many pieces would fill the memory")
    partition = PartitionConversations(_PLACE, following(), _FIT)
    checkpoint = PartitionCheckpoint(
        offset=5, note=note.decode("utf-8", "replace"), states=(states,)
    )
    try:
        partition.restore(checkpoint)
    except ConfigError as refused:
        return pieces > 0, str(refused).partition("(")[0][:40]
    line = json.dumps(flow(1, 9, Bytes=1)).encode()
    given = partition.take(Portion(_PLACE, [5], [3_000], [line]))
    for record in given:
        json.loads(record)
    return pieces > 0, len(given)


TARGET = Target(name="checkpoints", seeds=(_seed(),), run=run, max_bytes=65_536, max_seconds=1.0)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
