"""Fuzz the flows of messages: ``python -m tests.fuzz.fuzz_hubble --seconds 60 --seed 1``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from tests.monitor.cilium_vectors import cases
from trireme_collector.formats import render_hubble_response
from trireme_datapath.monitor.hubble import hubble_flow

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_TYPES = ("drop", "trace", "policy-verdict", "capture", "trace-sock", "l7")


def run(data: bytes) -> Hashable:
    """Make the flow of a message and the line of the flow."""
    flow = hubble_flow(data)
    line = render_hubble_response(flow)
    assert line.isascii()
    assert json.loads(line)["flow"] == flow
    if "error" in flow:
        assert len(flow) == 1
        return "".join(c for c in str(flow["error"]) if not c.isdigit())[:40]
    transport = flow.get("l4")
    return (
        data[0],
        flow.get("verdict"),
        flow.get("traffic_direction"),
        flow.get("is_reply"),
        tuple(transport) if isinstance(transport, dict) else None,
        "IP" in flow,
    )


TARGET = Target(
    name="hubble",
    seeds=tuple(bytes.fromhex(case["hex"]) for _, case in cases(*_TYPES)),
    run=run,
    max_bytes=2048,
    max_seconds=0.005,
)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
