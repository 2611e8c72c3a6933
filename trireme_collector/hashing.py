"""The hash functions of the seed: XXH64 with seed 0 over concatenated fields.

They are for reporting parity. There are no separators between the fields, so different
flows can share a hash; the aggregation of this project never uses them as a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import xxhash

if TYPE_CHECKING:
    from trireme_collector.records import ConnectionExceptionReport, FlowRecord, UserRecord

__all__ = [
    "connection_exception_report_hash",
    "fnv32_hash",
    "hash_hash_with_namespace",
    "stats_flow_content_hash",
    "stats_flow_hash",
    "stats_flow_hashes",
    "stats_user_hash",
    "user_claims_hash",
]

_FNV32_OFFSET = 2166136261
_FNV32_PRIME = 16777619


def stats_flow_hash(record: FlowRecord) -> str:
    """Hash a flow as the seed does, as decimal text.

    The input is source id, destination id, source address, destination address, destination
    port (2 bytes, big endian), action, observed action, drop reason, destination URI.
    """
    source, destination = record.source, record.destination
    return str(
        xxhash.xxh64_intdigest(
            b"".join(
                (
                    _bytes(source.id),
                    _bytes(destination.id),
                    _bytes(source.ip),
                    _bytes(destination.ip),
                    _port(destination.port),
                    _bytes(record.action.text),
                    _bytes(record.observed_action.text),
                    _bytes(record.drop_reason),
                    _bytes(destination.uri),
                )
            )
        )
    )


def stats_flow_hashes(record: FlowRecord) -> tuple[int, int]:
    """Hash a flow as HEAD does.

    Returns:
        The flow hash (who talks to whom) and the content hash (the same, continued with what
        was decided), unsigned 64 bit each.
    """
    digest = xxhash.xxh64(_flow_identity(record))
    flow = digest.intdigest()
    digest.update(
        b"".join(
            (
                _bytes(record.action.text),
                _bytes(record.observed_action.text),
                _bytes(record.drop_reason),
                _bytes(record.policy_id),
            )
        )
    )
    return flow, digest.intdigest()


def stats_flow_content_hash(record: FlowRecord) -> int:
    """Give the second of `stats_flow_hashes` alone."""
    return stats_flow_hashes(record)[1]


def user_claims_hash(claims: tuple[str, ...] | list[str]) -> str:
    """Hash claims in bytewise order, without those that begin with ``sub``, as decimal text.

    One user keeps one hash across tokens because ``sub`` differs between them.
    """
    encoded = sorted(_bytes(claim) for claim in claims)
    return _decimal(b"".join(claim for claim in encoded if not claim.startswith(b"sub")))


def stats_user_hash(record: UserRecord) -> UserRecord:
    """Give the record with its ``id`` set and its claims sorted, as upstream leaves them."""
    claims = tuple(sorted(record.claims, key=_bytes))
    user_id = hash_hash_with_namespace(user_claims_hash(claims), record.namespace)
    return msgspec.structs.replace(record, id=user_id, claims=claims)


def hash_hash_with_namespace(claims_hash: str, namespace: str) -> str:
    """Hash a claims hash together with a namespace, as decimal text."""
    return _decimal(_bytes(claims_hash) + _bytes(namespace))


def connection_exception_report_hash(report: ConnectionExceptionReport) -> int:
    """Hash a connection exception as HEAD does, unsigned 64 bit."""
    return xxhash.xxh64_intdigest(
        b"".join(
            (
                _bytes(report.puid),
                _bytes(report.source_ip),
                _bytes(report.destination_ip),
                _bytes(report.reason),
                _bytes(report.state),
                _port(report.destination_port),
            )
        )
    )


def fnv32_hash(*texts: str) -> str:
    """Hash texts with 32-bit FNV-1 (multiply, then xor), as decimal text.

    Raises:
        ValueError: There is no text.
    """
    if not texts:
        msg = "no data to hash: give at least one text"
        raise ValueError(msg)
    value = _FNV32_OFFSET
    for byte in b"".join(map(_bytes, texts)):
        value = (value * _FNV32_PRIME & 0xFFFFFFFF) ^ byte
    return str(value)


def _flow_identity(record: FlowRecord) -> bytes:
    source, destination = record.source, record.destination
    return b"".join(
        (
            _bytes(source.id),
            _bytes(destination.id),
            _bytes(destination.uri),
            _bytes(source.ip),
            _bytes(destination.ip),
            _port(destination.port),
        )
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _port(port: int) -> bytes:
    return (port & 0xFFFF).to_bytes(2, "big")


def _decimal(data: bytes) -> str:
    return str(xxhash.xxh64_intdigest(data))
