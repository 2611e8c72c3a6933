"""Fuzz the packet decoder: ``python -m tests.fuzz.fuzz_packet --seconds 60 --seed 1``."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_datapath.packet import Malformed, Packet, decode, decode_embedded

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_DATA = Path(__file__).parents[1] / "data" / "packets.toml"
_COPY_RANGE_BYTES = 128
# The protocols whose headers are read.
_READ = frozenset((1, 6, 17, 58, 132, 136))


def _seeds() -> tuple[bytes, ...]:
    golden = tomllib.loads(_DATA.read_text(encoding="utf-8"))
    return tuple(bytes.fromhex(entry["hex"]) for kind in golden.values() for entry in kind)


def _check(result: Packet | Malformed, size: int) -> Hashable:
    """Check what must hold for every result, and say how the decoder went."""
    if isinstance(result, Malformed):
        assert 0 <= result.offset <= size
        assert len(result.source) == len(result.destination)
        assert result.size_bytes <= size
        return result.reason, result.version, result.protocol in range(256)
    assert isinstance(result, Packet)
    assert len(result.source) == len(result.destination) == (4 if result.version == 4 else 16)
    assert 20 <= result.header_length_bytes <= result.payload_offset <= result.size_bytes <= size
    assert len(result.source_text) >= 2
    assert len(result.destination_text) >= 2
    return (
        result.version,
        result.protocol if result.protocol in _READ else -1,
        result.header_length_bytes // 64,
        result.is_fragment,
        result.source_routed,
        result.icmp_identifier >= 0,
    )


def run(data: bytes) -> Hashable:
    """Decode whole, cut as a queue cuts it, and what it quotes."""
    result = decode(data)
    outcome = _check(result, len(data))
    cut = decode(memoryview(data)[:_COPY_RANGE_BYTES], original_length=len(data))
    _check(cut, len(data))
    if len(data) <= _COPY_RANGE_BYTES or (isinstance(cut, Packet) and cut.embedded is None):
        assert cut == result
    quoted = decode_embedded(result) if isinstance(result, Packet) else None
    if isinstance(quoted, Packet):
        assert decode_embedded(quoted) is None
        return outcome, quoted.protocol in _READ, quoted.is_fragment
    if isinstance(quoted, Malformed):
        return outcome, quoted.reason
    return outcome


TARGET = Target(
    name="packet",
    seeds=_seeds(),
    run=run,
    max_bytes=70_000,
    # For any size: the cost does not grow with it. One input is decoded up to three times.
    max_seconds=3 * 0.0005,
)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
