"""What an observer keeps: flows in the form in which they came, and losses.

A flow takes its Hubble form when somebody asks for it, once: without readers it costs nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from trireme_collector.formats import drop_to_hubble, flow_to_hubble
from trireme_collector.records import FlowRecord, PacketReport
from trireme_datapath.observer._packet_flows import packet_to_hubble
from trireme_datapath.observer._times import json_time
from trireme_datapath.observer.json_form import FLOW, encode_json, read_message

if TYPE_CHECKING:
    from collections.abc import Callable

    Flow: TypeAlias = dict[str, object]
    Source: TypeAlias = "FlowRecord | DroppedFlow | PacketReport | bytes | Flow"

__all__ = ["FLOW_MESSAGES", "DroppedFlow", "FlowMaker", "LostEvents", "SeenFlow"]

FLOW_MESSAGES: Final = frozenset({1, 3, 4, 5, 7, 129})
"""The types of a datapath's messages that tell of a flow."""


class DroppedFlow(NamedTuple):
    """The drop of a denied flow, which is an event of its own beside the policy's verdict."""

    record: FlowRecord


class LostEvents:
    """Events that nobody will see.

    Attributes:
        sequence: The place in the ring, or -1.
        time_ns: When that was noticed, nanoseconds since 1970 UTC.
        source: Where they were lost, as Hubble calls it.
        count: How many.
        cpu: On which processor, if that is known.
    """

    __slots__ = ("count", "cpu", "sequence", "source", "time_ns")

    def __init__(self, source: str, count: int, time_ns: int, cpu: int | None = None) -> None:
        """Keep the values."""
        self.sequence = -1
        self.time_ns = time_ns
        self.source = source
        self.count = count
        self.cpu = cpu

    def fields(self) -> dict[str, object]:
        """Give the message ``flow.LostEvent`` in its JSON form."""
        fields: dict[str, object] = {"source": self.source, "num_events_lost": str(self.count)}
        if self.cpu is not None:
            fields["cpu"] = self.cpu
        return fields


class SeenFlow:
    """A flow in the ring.

    Attributes:
        sequence: Its place in the ring.
        time_ns: When it was, nanoseconds since 1970 UTC.
        response: Whatever a server wants to keep with it: its encoded response.
    """

    __slots__ = ("_flow", "_is_made", "_maker", "_source", "response", "sequence", "time_ns")

    def __init__(self, source: Source, time_ns: int, maker: FlowMaker) -> None:
        """Keep what a flow can be made of."""
        self.sequence = -1
        self.time_ns = time_ns
        self.response: bytes | None = None
        self._source: Source | None = source
        self._maker = maker
        self._flow: Flow | None = None
        self._is_made = False

    @property
    def flow(self) -> Flow | None:
        """The flow in its JSON form; None if nothing sound can be made of it."""
        if not self._is_made:
            source = self._source
            if source is not None:
                self._flow = self._maker.make(source, self.time_ns, self.sequence)
            # Two threads at the same flow make the same: the order here is what matters.
            self._is_made = True
            self._source = None
        return self._flow


class FlowMaker:
    """Makes flows of what came.

    Args:
        node_name: The name of this host.
        start_ns: When it began, nanoseconds since 1970 UTC; part of every flow's identification.
        message_to_flow: Makes a flow of a message of a datapath.
    """

    def __init__(
        self,
        node_name: str,
        start_ns: int,
        message_to_flow: Callable[[bytes], Flow] | None = None,
    ) -> None:
        """Keep what all flows have."""
        self._node_name = node_name
        start_ms = start_ns // 1_000_000 & 0xFFFFFFFFFFFF
        self._uuid_head = f"{start_ms >> 16:08x}-{start_ms & 0xFFFF:04x}-8"
        self._message_to_flow = message_to_flow or _hubble_flow
        self.unsound = 0

    def make(self, source: Source, time_ns: int, sequence: int) -> Flow | None:
        """Make the flow of what came; None if nothing sound can be made of it."""
        time = json_time(time_ns)
        if isinstance(source, FlowRecord):
            flow = flow_to_hubble(source, time=time)
        elif isinstance(source, DroppedFlow):
            flow = drop_to_hubble(source.record, time=time) or {}
        elif isinstance(source, PacketReport):
            flow = packet_to_hubble(source)
        elif isinstance(source, bytes):
            flow = self._message_to_flow(source)
            if "error" in flow:
                self.unsound += 1
                return None
        else:
            return source
        flow["time"] = time
        flow["uuid"] = self._uuid(sequence)
        if not flow.get("node_name"):
            flow["node_name"] = self._node_name
        return flow

    def tidy(self, flow: Flow) -> Flow | None:
        """Give a flow without what protobuf cannot hold; None if too little is left."""
        try:
            return read_message(FLOW, json.loads(encode_json(flow)))
        except (ValueError, RecursionError):
            self.unsound += 1
            return None

    def _uuid(self, sequence: int) -> str:
        """Identify a flow: a UUID of version 8 with our start and the place in the ring."""
        high, low = sequence >> 62 & 0xFFF, sequence & 0x3FFFFFFFFFFFFFFF
        tail = f"{1 << 63 | low:016x}"
        return f"{self._uuid_head}{high:03x}-{tail[:4]}-{tail[4:]}"


def _hubble_flow(message: bytes) -> Flow:
    from trireme_datapath.monitor.hubble import hubble_flow  # noqa: PLC0415  only for messages

    return hubble_flow(message)
