"""The records that leave the datapath, and everything they are made of.

Every record is a frozen `msgspec.Struct`: change one with `msgspec.structs.replace`, which
makes a new one. Field names are the seed's in Python spelling, enum values the seed's on the
wire. Fields that are ours are optional and absent (``msgspec.UNSET``, which is falsy) when unknown.
"""

from __future__ import annotations

from trireme_collector.records._codec import (
    RECORD_TYPES,
    Record,
    decode_json,
    decode_msgpack,
    encode_json,
    encode_msgpack,
    json_schema,
)
from trireme_collector.records._enums import (
    ActionType,
    ContainerEvent,
    Direction,
    EndPointType,
    FlowDropReason,
    FlowPhase,
    ObserveActionType,
    PacketEvent,
    PingType,
    ServiceType,
    Stage,
)
from trireme_collector.records._flow import EndPoint, FlowRecord, RecordBase
from trireme_collector.records._reports import (
    Checkpoint,
    CollectorCount,
    ConnectionExceptionReport,
    ContainerRecord,
    Counter,
    CounterReport,
    DNSRequestReport,
    IPTablesTrace,
    IPTablesTraceRecord,
    PacketReport,
    PingReport,
    TraceReport,
    UserRecord,
)
from trireme_collector.records._tags import ExtendedMap, TagStore

__all__ = [
    "DEFAULT_END_POINT",
    "POLICY_VALID",
    "RECORD_TYPES",
    "SOME_CLAIMS_SOURCE",
    "ActionType",
    "Checkpoint",
    "CollectorCount",
    "ConnectionExceptionReport",
    "ContainerEvent",
    "ContainerRecord",
    "Counter",
    "CounterReport",
    "DNSRequestReport",
    "Direction",
    "EndPoint",
    "EndPointType",
    "ExtendedMap",
    "FlowDropReason",
    "FlowPhase",
    "FlowRecord",
    "IPTablesTrace",
    "IPTablesTraceRecord",
    "ObserveActionType",
    "PacketEvent",
    "PacketReport",
    "PingReport",
    "PingType",
    "Record",
    "RecordBase",
    "ServiceType",
    "Stage",
    "TagStore",
    "TraceReport",
    "UserRecord",
    "decode_json",
    "decode_msgpack",
    "encode_json",
    "encode_msgpack",
    "json_schema",
]

POLICY_VALID = "V"
"""The policy of a normal accept (seed ``PolicyValid``)."""
DEFAULT_END_POINT = "default"
"""The id of an endpoint that nobody knows (seed ``DefaultEndPoint``)."""
SOME_CLAIMS_SOURCE = "some-claims"
"""The source of a flow that is known by claims only (seed ``SomeClaimsSource``)."""
