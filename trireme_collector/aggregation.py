"""Flows that are alike become one record per window.

The merge rule is the seed's: the first record wins and ``count`` adds up (0 counts as 1). Our own
fields follow their meaning: packets and bytes add up, the times widen, TCP flags unite.

The table key is the tuple of the fields themselves. A 64-bit hash would let a peer who chooses
ids or URIs merge two different flows; it is used for reporting only (`stats_flow_hash`).
"""

from __future__ import annotations

import enum
from itertools import islice
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import UnsetType

    from trireme_collector.records import FlowRecord

__all__ = ["AggregationConfig", "AggregationKey", "FlowAggregator"]

_EVICTED_AT_ONCE = 256  # one eviction stays far below a millisecond on the caller's thread
_NANOSECONDS = 1_000_000_000

_Key: TypeAlias = tuple[object, ...]


class AggregationKey(enum.StrEnum):
    """Which fields make two flows alike."""

    FULL = "full"
    """The seed's fields, and context, namespace, protocol, both policies and the revision."""
    SEED = "seed"
    """Exactly the fields of the seed's hash: ids, addresses, port, actions, reason, URI. Records
    about flows opened before, which the seed does not know, are merged with their like."""


class AggregationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How flows are merged.

    Attributes:
        window_seconds: How long a flow waits for others like it; 0 passes each on at once.
        max_keys: How many different flows may wait; more make the oldest leave early.
        key: Which fields make two flows alike.
    """

    window_seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 1.0
    max_keys: Annotated[int, msgspec.Meta(ge=1, le=16_777_216)] = 8_192
    key: AggregationKey = AggregationKey.FULL


class FlowAggregator:
    """A bounded table of flows that wait for the end of their window.

    Not synchronized, and without a clock: the owner does both.

    Args:
        config: Window, bound and key.
    """

    def __init__(self, config: AggregationConfig | None = None) -> None:
        """Start with an empty table and no window running."""
        self.config = config or AggregationConfig()
        self.received = 0
        self.merged = 0
        self.evicted = 0
        self._key_of = _seed_key if self.config.key is AggregationKey.SEED else _full_key
        self._max_keys = self.config.max_keys
        self._window_ns = round(self.config.window_seconds * _NANOSECONDS)
        self._due_ns: int | None = None
        self._table: dict[_Key, FlowRecord] = {}

    def __len__(self) -> int:
        """Count the flows that wait."""
        return len(self._table)

    def add(self, record: FlowRecord) -> Sequence[FlowRecord]:
        """Take a flow.

        Returns:
            The flows that have to leave now: the oldest ones when the table is full, the
            record itself when there is no window, mostly none.
        """
        if not self._window_ns:  # nothing ever waits
            self.received += 1
            return (record if record.count else replace(record, count=1),)
        key = self._key_of(record)
        table = self._table
        first = table.get(key)
        if first is not None:
            table[key] = _merge(first, record)
            self.received += 1
            self.merged += 1
            return ()
        if not record.count:
            record = replace(record, count=1)
        self.received += 1
        left: Sequence[FlowRecord] = ()
        if len(table) >= self._max_keys:
            left = self._evict()
        table[key] = record
        return left

    def take_due(self, now_ns: int) -> Sequence[FlowRecord]:
        """End the window if its time has come.

        Args:
            now_ns: The time, of any clock that does not jump.

        Returns:
            The flows of the window in order of arrival, none while it runs.
        """
        if self._due_ns is None:
            self._due_ns = now_ns + self._window_ns
        if now_ns < self._due_ns:
            return ()
        self._due_ns = now_ns + self._window_ns
        return self.take_all()

    def take_all(self) -> Sequence[FlowRecord]:
        """Empty the table, in order of arrival."""
        table, self._table = self._table, {}
        return list(table.values())

    def _evict(self) -> Sequence[FlowRecord]:
        # Several at once: finding the first entry of a dict costs more the more have left before.
        keys = list(islice(self._table, min(_EVICTED_AT_ONCE, self._max_keys)))
        self.evicted += len(keys)
        return [self._table.pop(key) for key in keys]


def _seed_key(record: FlowRecord) -> _Key:
    source, destination = record.source, record.destination
    return (
        source.id,
        destination.id,
        source.ip,
        destination.ip,
        destination.port,
        record.action,
        record.observed_action,
        record.drop_reason,
        destination.uri,
        record.phase,
    )


def _full_key(record: FlowRecord) -> _Key:
    source, destination = record.source, record.destination
    return (
        source.id,
        destination.id,
        source.ip,
        destination.ip,
        destination.port,
        record.action,
        record.observed_action,
        record.drop_reason,
        destination.uri,
        record.context_id,
        record.namespace,
        record.l4_protocol,
        record.policy_id,
        record.observed_policy_id,
        record.policy_revision,
        record.phase,
    )


def _merge(first: FlowRecord, other: FlowRecord) -> FlowRecord:
    return replace(
        first,
        count=(first.count or 1) + (other.count or 1),
        packets=_sum(first.packets, other.packets),
        bytes=_sum(first.bytes, other.bytes),
        start_time_ns=_first(first.start_time_ns, other.start_time_ns),
        end_time_ns=_last(first.end_time_ns, other.end_time_ns),
        tcp_flags=_union(first.tcp_flags, other.tcp_flags),
        source_packets=_sum(first.source_packets, other.source_packets),
        source_bytes=_sum(first.source_bytes, other.source_bytes),
        destination_packets=_sum(first.destination_packets, other.destination_packets),
        destination_bytes=_sum(first.destination_bytes, other.destination_bytes),
    )


def _sum(one: int | UnsetType, two: int | UnsetType) -> int | UnsetType:
    if one is UNSET or two is UNSET:
        return two if one is UNSET else one
    return one + two


def _first(one: int | UnsetType, two: int | UnsetType) -> int | UnsetType:
    if one is UNSET or two is UNSET:
        return two if one is UNSET else one
    return min(one, two)


def _last(one: int | UnsetType, two: int | UnsetType) -> int | UnsetType:
    if one is UNSET or two is UNSET:
        return two if one is UNSET else one
    return max(one, two)


def _union(one: int | UnsetType, two: int | UnsetType) -> int | UnsetType:
    if one is UNSET or two is UNSET:
        return two if one is UNSET else one
    return one | two
