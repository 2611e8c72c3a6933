"""Lines that claim to be flow logs: whatever they are, what comes out is sound JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target
from trireme_collector.netobserv import (
    FlowReader,
    LineTracker,
    Numbers,
    Profile,
    Tracker,
    default_tracking_config,
    encode_flow,
    record_from_flow,
)

if TYPE_CHECKING:
    from collections.abc import Hashable

_SEED = (
    b'{"SrcAddr":"192.0.2.1","SrcPort":40000,"DstAddr":"192.0.2.2","DstPort":443,"Proto":6,'
    b'"Bytes":100,"Packets":1,"Flags":256,"FlowDirection":0,"TimeFlowStartMs":1700000000000,'
    b'"TimeFlowEndMs":1700000000001,"Duplicate":false,"Interfaces":["eth0"],"NetworkEvents":[{}]}'
)
_SEEDS = (
    _SEED,
    _SEED + b"\n" + _SEED.replace(b"6,", b'"17",').replace(b"100", b"1e400"),
    b'{"Proto":6.0,"SrcAddr":null,"SrcPort":true,"DstPort":-1.5,"Bytes":"0x1p-2","Flags":["FIN"]}',
    b'{"Proto":6,"_HashId":"x","_RecordType":5,"Bytes":[[[[[{}]]]]],"TimeFlowEndMs":"1_0"}',
    b'{}\n[]\n{ }\n"x"\n{"a":"\\ud800"}\n{"a":"\xff"}\n\n{',
)


class _Lines:
    """A tracker that is empty again after each input: making one takes longer than using it."""

    def __init__(self, profile: Profile, numbers: Numbers) -> None:
        types = ["flowLog", "newConnection", "heartbeat", "endConnection"]
        config = default_tracking_config() | {"outputRecordTypes": types}
        self.tracker = Tracker.from_config(config, profile=profile, numbers=numbers)
        self.by_line = LineTracker(self.tracker)
        self.now_ms = 0

    def run(self, lines: list[bytes]) -> tuple[int, int]:
        before = self.by_line.broken
        given = self.by_line.process(lines, self.now_ms)
        self.now_ms += 31_000
        given += self.by_line.tick(self.now_ms) + self.by_line.flush()
        for line in given:
            if json.loads(line)["_RecordType"] not in ("flowLog", "newConnection", "endConnection"):
                raise AssertionError(f"no type of record: {line!r}")
        if len(self.tracker):
            raise AssertionError("a conversation outlives the end of all")
        return len(given), self.by_line.broken - before


_TRACKERS = (_Lines("strict", "json"), _Lines("default", "agent"))


def _run(data: bytes) -> Hashable:
    lines = data.split(b"\n")
    outcome: list[object] = [tracker.run(lines) for tracker in _TRACKERS]
    reader = FlowReader()
    for line in lines:
        flow = reader.read_flow(line)
        if flow is not None:
            record_from_flow(flow)
            json.loads(encode_flow(flow))
            json.loads(encode_flow(flow, profile="strict"))
    outcome += [reader.broken, tuple(sorted(reader.wrong)), len(reader.unknown)]
    return tuple(outcome)


TARGET = Target(name="netobserv", seeds=_SEEDS, run=_run, max_bytes=2048, max_seconds=0.5)
