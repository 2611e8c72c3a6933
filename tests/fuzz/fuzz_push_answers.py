"""Fuzz the answers of Loki and OTLP: ``python -m tests.fuzz.fuzz_push_answers --seconds 60``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_collector.http_client import Answer
from trireme_collector_loki._refusals import oldest_accepted_ns, refuses_metadata
from trireme_collector_otlp._responses import read_response

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_SEEDS = (
    (
        b"entry for stream '{}' has timestamp too old: 2023-11-07T00:00:00Z,"
        b" oldest acceptable timestamp is: 2023-11-14T22:13:20.5Z"
    ),
    b"stream '{}' includes structured metadata, but this feature is disallowed.",
    b'{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too large"}}',
    b"\x0a\x0d\x08\x03\x12\x09too large",
)


def run(data: bytes) -> Hashable:
    """Read an answer in every way."""
    found = [
        read_response(Answer(200, {"content-type": kind}, data))
        for kind in ("application/json", "application/x-protobuf")
    ]
    assert all(0 <= partial.rejected < 1 << 63 for partial in found)
    refusal = Answer(400, {}, data)
    oldest_ns = oldest_accepted_ns(refusal)
    return (
        tuple(bool(partial.rejected) for partial in found),
        oldest_ns is None,
        refuses_metadata(refusal),
    )


TARGET = Target(name="push_answers", seeds=_SEEDS, run=run, max_bytes=65_536, max_seconds=0.05)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
