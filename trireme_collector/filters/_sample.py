"""The flows that are kept: the same ones wherever they are seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash

from trireme_collector.records import ActionType

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector.filters._config import SampleConfig
    from trireme_collector.records import FlowRecord

__all__ = ["compile_sample", "sample_hash"]

_RANGE = 2**64


def sample_hash(record: FlowRecord, seed: int = 0) -> int:
    """Hash what both ends of a connection see alike: addresses, destination port and protocol.

    XXH64 over the source address, a zero byte, the destination address, a zero byte, the
    destination port (2 bytes, big endian) and the protocol (1 byte).
    """
    destination = record.destination
    data = b"%b\0%b\0%b%c" % (
        record.source.ip.encode("utf-8", "surrogatepass"),
        destination.ip.encode("utf-8", "surrogatepass"),
        (destination.port & 0xFFFF).to_bytes(2),
        record.l4_protocol & 0xFF,
    )
    return xxhash.xxh64_intdigest(data, seed)


def compile_sample(config: SampleConfig) -> Callable[[FlowRecord], bool] | None:
    """Make the function that says whether a flow is kept, or None if all are."""
    if config.accept >= 1 and config.reject >= 1 and config.other >= 1:
        return None
    limits = {action: int(_rate(config, action) * _RANGE) for action in ActionType}
    seed = config.seed

    def keep(record: FlowRecord) -> bool:
        limit = limits[record.action]
        return limit >= _RANGE or sample_hash(record, seed) < limit

    return keep


def _rate(config: SampleConfig, action: ActionType) -> float:
    if action.rejected:
        return config.reject
    return config.accept if action.accepted else config.other
