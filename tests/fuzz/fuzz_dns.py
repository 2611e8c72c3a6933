"""Fuzz the DNS decoder: ``python -m tests.fuzz.fuzz_dns --seconds 60 --seed 1``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_datapath.dns import MAX_ANSWERS, DNSAnswer, MalformedDNS, decode_dns
from trireme_datapath.dns_stream import DNSStream

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_QUESTION = "03777777076578616d706c6503636f6d00" + "00010001"
_SEEDS = tuple(
    bytes.fromhex(one)
    for one in (
        f"123401000001000000000000{_QUESTION}",
        f"123481800001000100000000{_QUESTION}c00c000100010000012c0004c0000207",
        (
            f"123481800001000200000000{_QUESTION}"
            "c00c000500010000012c000603636e64c018c02d001c00010000003c0010"
            "20010db8000000000000000000000007"
        ),
        f"123481830001000000000000{_QUESTION}",
        "12348081000000000000000000",
    )
)


def run(data: bytes) -> Hashable:
    """Read a message whole, cut, and as a stream of two segments."""
    found = decode_dns(data)
    cut = decode_dns(data, cut=True)
    wire = len(data).to_bytes(2, "big") + data
    stream = DNSStream(5)
    half = len(wire) // 2
    messages = stream.feed(5, wire[:half]) + stream.feed(5 + half, wire[half:])
    assert messages == ([(data, False)] if data else [])
    if isinstance(found, MalformedDNS):
        assert 0 <= found.offset <= len(data)
        return found.reason, isinstance(cut, MalformedDNS)
    assert cut == found
    assert len(found.answers) <= MAX_ANSWERS
    assert all(
        one.isascii() and one.isprintable() for one in (found.name, *_aliases(found.answers))
    )
    return found.is_response, found.rcode, len(found.answers), found.complete


def _aliases(answers: tuple[DNSAnswer, ...]) -> list[str]:
    return [text for one in answers for text in (one.alias, one.name)]


TARGET = Target(name="dns", seeds=_SEEDS, run=run, max_bytes=4_000, max_seconds=0.02)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
