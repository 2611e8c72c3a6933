"""Fuzz what the kernel tells of traced packets: ``python -m tests.fuzz.fuzz_rule_traces``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.datapath.kernel.test_rule_traces import FIRST, POLICY
from tests.fuzz.harness import Target, main
from trireme_datapath.backends._netlink_codec import MessageError
from trireme_datapath.kernel.rule_traces import RuleTraces, parse_steps

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]


def run(data: bytes) -> Hashable:
    """Read the steps, and put them together."""
    traces = RuleTraces("", str)
    lines = 0
    try:
        for step in parse_steps(data):
            assert "\n" not in traces.add(step, 1)
            lines += 1
    except MessageError as error:
        return lines, str(error)[:12]
    found = traces.take(1, everything=True)
    assert sum(len(one.records) for one in found) == lines
    return lines, len(found), found[0].records[0].protocol if found else -1


TARGET = Target(
    name="rule-traces",
    seeds=(FIRST, POLICY, FIRST + POLICY),
    run=run,
    max_bytes=2_000,
    max_seconds=0.02,
)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
