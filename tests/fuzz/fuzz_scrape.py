"""Fuzz the reader of metrics requests: ``python -m tests.fuzz.fuzz_scrape --seconds 60``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_collector.metrics._requests import MAX_HEAD_BYTES, read_request

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_SEEDS = (
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain;q=0.5\r\n\r\n",
    b"HEAD /healthz?verbose HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    b"GET http://x/ HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
)


def run(data: bytes) -> Hashable:
    """Read the bytes at once and in two pieces."""
    whole = read_request(data)
    early = read_request(data[: len(data) // 2])
    assert early is None or early == whole
    if whole is None:
        assert len(data) < MAX_HEAD_BYTES
        return None
    assert whole.status in {0, 400, 405, 431}
    assert whole.status or whole.path.startswith("/")
    return whole.status, whole.is_head, bool(whole.accept), early is None


TARGET = Target(name="scrape", seeds=_SEEDS, run=run, max_bytes=16_384, max_seconds=0.002)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
