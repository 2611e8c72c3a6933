"""Fuzz what a monitor reads: ``python -m tests.fuzz.fuzz_monitor_source --seconds 60 --seed 1``."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_collector.records import encode_json
from trireme_datapath.monitor import MessageError
from trireme_datapath.monitor.records import MonitorRecords, RecordSelection
from trireme_datapath.monitor.sources import Event, InputForm, Payload, decoder_for

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_DATA = Path(__file__).parents[1] / "data" / "monitor"
_RECORDS = MonitorRecords(selection=RecordSelection(packets=("policy-verdict", "drop", "trace")))


def _seeds() -> tuple[bytes, ...]:
    payloads = json.loads((_DATA / "session.json").read_bytes())
    messages = [bytes.fromhex(payload["data"]) for payload in payloads if payload["data"]]
    inner = json.loads((_DATA / "inner_streams.json").read_bytes())[::6]
    messages += [bytes.fromhex(case["hex"]) for case in inner]
    return (
        (_DATA / "session.gob").read_bytes(),
        b"\n".join(message.hex().encode() for message in messages[:6]),
        b"".join(struct.pack("<I", len(message)) + message for message in messages[:6]),
        *messages,
    )


def _read(form: InputForm, data: bytes, middle: int) -> list[Event]:
    decoder = decoder_for(form)
    found = decoder.receive(data[:middle])
    found += decoder.receive(data[middle:])
    return found + decoder.end()


def run(data: bytes) -> Hashable:
    """Read the bytes in every form, whole and in pieces, and make records of each message."""
    outcome: set[str] = set()
    for form in InputForm:
        events = _read(form, data, len(data))
        if form is not InputForm.AUTO:  # its form may be known by a piece, or by the whole
            assert _read(form, data, len(data) // 2) == events
        for event in events:
            if not isinstance(event, Payload):
                assert event.message
                outcome.add(f"{form} {event.fault}")
                continue
            try:
                records = _RECORDS.records(event.data)
            except MessageError:
                outcome.add(f"{form} malformed")
                continue
            for record in records:
                assert encode_json(record)
                outcome.add(f"{form} {type(record).__name__}")
    return frozenset(outcome)


TARGET = Target(name="monitor_source", seeds=_seeds(), run=run, max_bytes=4096, max_seconds=0.5)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
