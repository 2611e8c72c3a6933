"""A ruling: an outcome for one client, server and port, and the flows opened under it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, Struct

from trireme_collector.records import EndPoint, FlowRecord
from trireme_datapath.judgement import Outcome  # noqa: TC001  msgspec reads the annotation

if TYPE_CHECKING:
    from trireme_datapath.judgement import FlowTuple

__all__ = ["Ruling", "address_text"]

_TCP: Final = 6


class Ruling(Struct, kw_only=True, gc=False):
    """What was decided about flows that differ in the client's port only.

    They are one record with a count: the first flow since the last record gives the port, as
    the merge rule of the seed has it.

    Attributes:
        outcome: The decision.
        denied: Whether the packets of these flows are dropped.
        source: The client's packed address.
        destination: The server's packed address.
        port: The server's port.
        protocol: The IP protocol number.
        count: Flows opened since the last record.
        packets: The packets that opened them.
        bytes: IP bytes of those packets.
        source_port: The client's port of the first of them.
        start_ns: When the first was opened, nanoseconds since 1970 UTC.
        end_ns: When the last was opened.
        tcp_flags: The union of the TCP flags of those packets.
        counted: Whether the kernel counts the packets of these flows: then it alone says how many.
        ends: The client's address as text and the server's end, once a record needed them.
    """

    outcome: Outcome
    denied: bool
    source: bytes
    destination: bytes
    port: int
    protocol: int
    count: int = 0
    packets: int = 0
    bytes: int = 0
    source_port: int = 0
    start_ns: int = 0
    end_ns: int = 0
    tcp_flags: int = 0
    counted: bool = False
    ends: tuple[str, EndPoint] | None = None

    @classmethod
    def about(cls, flow: FlowTuple, outcome: Outcome, *, counted: bool = False) -> Ruling:
        """Make the ruling of a flow that was judged."""
        return cls(
            outcome=outcome,
            denied=outcome.denied,
            source=flow.source,
            destination=flow.destination,
            port=flow.port,
            protocol=flow.protocol,
            counted=counted,
        )

    def add(self, source_port: int, size_bytes: int, tcp_flags: int, now_ns: int) -> bool:
        """Count one flow that was opened by one packet.

        Returns:
            Whether it is the first since the last record.
        """
        self.packets += 1
        self.bytes += size_bytes
        self.end_ns = now_ns
        if self.count:
            self.count += 1
            self.tcp_flags |= tcp_flags
            return False
        self.count = 1
        self.source_port = source_port
        self.start_ns = now_ns
        self.tcp_flags = tcp_flags
        return True

    def take_record(self) -> FlowRecord:
        """Give the record of the flows since the last one, and start anew."""
        outcome = self.outcome
        protocol = self.protocol
        counted = self.counted
        record = FlowRecord(
            context_id=outcome.context_id,
            namespace=outcome.namespace,
            source=self.client(self.source_port),
            destination=self.server,
            tags=outcome.tags,
            drop_reason=outcome.drop_reason,
            policy_id=outcome.policy_id,
            observed_policy_id=outcome.observed_policy_id,
            count=self.count,
            action=outcome.action,
            observed_action=outcome.observed_action,
            l4_protocol=protocol,
            packets=UNSET if counted else self.packets,
            bytes=UNSET if counted else self.bytes,
            start_time_ns=self.start_ns,
            end_time_ns=self.end_ns,
            direction=outcome.direction,
            interface=outcome.interface,
            tcp_flags=self.tcp_flags if protocol == _TCP else UNSET,
            policy_revision=outcome.policy_revision,
        )
        self.count = self.packets = self.bytes = 0
        return record

    def client(self, port: int) -> EndPoint:
        """Give the client's end, with one of its ports."""
        name, kind = self.outcome.client
        return EndPoint(id=name, ip=self._ends()[0], type=kind, port=port)

    @property
    def server(self) -> EndPoint:
        """Give the server's end."""
        return self._ends()[1]

    def _ends(self) -> tuple[str, EndPoint]:
        ends = self.ends
        if ends is None:
            name, kind = self.outcome.server
            server = EndPoint(id=name, ip=address_text(self.destination), type=kind, port=self.port)
            ends = self.ends = (address_text(self.source), server)
        return ends


def address_text(address: bytes) -> str:
    """Write a packed address."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
