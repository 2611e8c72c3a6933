"""Fuzz the dissection: ``python -m tests.fuzz.fuzz_dissection --seconds 60 --seed 1``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from tests.fuzz.harness import Target, main
from tests.monitor.dissection.vectors import all_packets
from trireme_datapath.monitor.dissection import (
    connection_summary,
    crashes_upstream,
    dissect,
    get_dissect_summary,
)
from trireme_datapath.monitor.dissection._connection import general_summary
from trireme_datapath.monitor.dissection._decoding import decode_layers
from trireme_datapath.monitor.dissection._quick_summary import quick_summary

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]


def run(data: bytes) -> Hashable:
    """Show a packet in every form, in both profiles, and compare the forms."""
    outcome: list[Hashable] = []
    for profile, is_1_9 in (("1.16", False), ("1.9", True)):
        decoded = decode_layers(data, is_1_9=is_1_9)
        summary = general_summary(data, is_1_9=is_1_9)
        assert connection_summary(data, profile=profile) == summary
        assert quick_summary(data, is_1_9=is_1_9) in {"", summary}
        text = dissect(data, verbose=True, profile=profile)
        form = msgspec.json.decode(msgspec.json.encode(get_dissect_summary(data, profile=profile)))
        shown = {line for line in text.splitlines() if "\t" in line}
        said = {value for value in form.values() if isinstance(value, str)}
        assert shown <= said if crashes_upstream(data, profile=profile) else shown == said
        names = [layer.name for layer in decoded.layers]
        # The words of an error, without its numbers.
        words = "".join(c for c in decoded.error if not c.isdigit())
        outcome += [tuple(names[:4]), len(names) > 4, decoded.truncated, words]
    assert dissect(data, verbose=False).count("\n") == -(-len(data) // 16)
    return tuple(outcome)


TARGET = Target(
    name="dissection",
    seeds=tuple(all_packets()),
    run=run,
    max_bytes=2048,
    # Some twenty forms are made of one input, each of which may take a millisecond.
    max_seconds=0.01,
)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
