"""A ruling: an outcome for one client, server and port, and the flows opened under it."""

from __future__ import annotations

import socket
from struct import Struct as Layout
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, Struct, structs

from trireme_collector.records import EndPoint
from trireme_datapath.judgement import Outcome  # noqa: TC001  msgspec reads the annotation

if TYPE_CHECKING:
    from trireme_collector.records import FlowRecord

__all__ = ["Ruling", "address_text"]

_TCP: Final = 6
_ICMP: Final = frozenset({1, 58})
_IPV4_KEY: Final = 12
_SPLIT_4: Final = Layout("!4s4sHH").unpack
_OCTETS_AND_PORTS: Final = Layout("!8B2H").unpack
_SPLIT_6: Final = Layout("!16s16sHH").unpack
_OCTETS: Final = tuple(str(number) for number in range(256))


class Ruling(Struct, gc=False):
    """What was decided about flows that differ in the client's port only.

    They are one record with a count: the first flow since the last record gives the port, as
    the merge rule of the seed has it. Flows keep their ruling, so it holds no more than it must:
    what stays in a full flow table is memory that no cache holds.

    Attributes:
        outcome: The decision.
        denied: Whether the packets of these flows are dropped.
        key: The key of the first flow since the last record.
        protocol: The IP protocol number.
        counted: Whether the kernel counts the packets of these flows: then it alone says how many.
        count: Flows opened since the last record, each by one packet.
        size_bytes: IP bytes of those packets.
        start_ns: When the first was opened, nanoseconds since 1970 UTC.
        end_ns: When the last was opened.
        tcp_flags: The union of the TCP flags of those packets.
        ends: The client's address as text and the server's end, once they were asked for again.
    """

    outcome: Outcome
    denied: bool
    key: bytes
    protocol: int
    counted: bool = False
    count: int = 0
    size_bytes: int = 0
    start_ns: int = 0
    end_ns: int = 0
    tcp_flags: int = 0
    ends: tuple[str, EndPoint] | None = None

    @property
    def port(self) -> int:
        """The server's port, 0 when the protocol has none."""
        key = self.key
        return 0 if self.protocol in _ICMP else key[-2] << 8 | key[-1]

    def add(self, key: bytes, size_bytes: int, tcp_flags: int, now_ns: int) -> bool:
        """Count one flow that was opened by one packet.

        Returns:
            Whether it is the first since the last record.
        """
        self.end_ns = now_ns
        if self.count:
            self.count += 1
            self.size_bytes += size_bytes
            self.tcp_flags |= tcp_flags
            return False
        self.count = 1
        self.key = key
        self.size_bytes = size_bytes
        self.start_ns = now_ns
        self.tcp_flags = tcp_flags
        return True

    def take_record(self) -> FlowRecord:
        """Give the record of the flows since the last one, and start anew."""
        key, protocol, outcome = self.key, self.protocol, self.outcome
        if len(key) == _IPV4_KEY:
            a, b, c, d, e, f, g, h, source_port, port = _OCTETS_AND_PORTS(key)
            text = _OCTETS
            client = f"{text[a]}.{text[b]}.{text[c]}.{text[d]}"
            server = f"{text[e]}.{text[f]}.{text[g]}.{text[h]}"
        else:
            source, destination, source_port, port = _SPLIT_6(key)
            client, server = address_text(source), address_text(destination)
        if protocol in _ICMP:
            source_port = port = 0
        client_id, client_kind = outcome.client
        server_id, server_kind = outcome.server
        count, counted = self.count, self.counted
        # A copy with other values: a record made of all its fields by name takes seven times
        # as long, and this is the most frequent of all.
        record = structs.replace(
            outcome.record,
            source=EndPoint(id=client_id, ip=client, type=client_kind, port=source_port),
            destination=EndPoint(id=server_id, ip=server, type=server_kind, port=port),
            count=count,
            l4_protocol=protocol,
            packets=UNSET if counted else count,
            bytes=UNSET if counted else self.size_bytes,
            start_time_ns=self.start_ns,
            end_time_ns=self.end_ns,
            tcp_flags=self.tcp_flags if protocol == _TCP else UNSET,
        )
        self.count = 0
        return self.with_icmp(record) if protocol in _ICMP else record

    def with_icmp(self, record: FlowRecord) -> FlowRecord:
        """Give a record of ICMP with the type and code that opened the flow."""
        return structs.replace(record, icmp_type=self.key[-2], icmp_code=self.key[-1])

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
            source, destination, _, _ = (_SPLIT_4 if len(self.key) == _IPV4_KEY else _SPLIT_6)(
                self.key
            )
            name, kind = self.outcome.server
            server = EndPoint(id=name, ip=address_text(destination), type=kind, port=self.port)
            ends = self.ends = (address_text(source), server)
        return ends


def address_text(address: bytes) -> str:
    """Write a packed address."""
    if len(address) == 4:
        a, b, c, d = address
        octets = _OCTETS
        return f"{octets[a]}.{octets[b]}.{octets[c]}.{octets[d]}"
    return socket.inet_ntop(socket.AF_INET6, address)
