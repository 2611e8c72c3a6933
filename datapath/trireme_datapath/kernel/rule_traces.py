"""The way of packets through the kernel's rules, as the kernel tells it: bytes in, steps out.

A packet that met a rule with the target TRACE makes the kernel send a netlink message for each
rule that it meets from then on (``nf_tables_trace.c``). The first message of each base chain has
the headers of the packet; the others have its number only.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from trireme_collector.records import IPTablesTrace, IPTablesTraceRecord
from trireme_datapath.backends._netlink_codec import MessageError, attributes
from trireme_datapath.packet import Packet, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["TRACE_GROUP", "RuleTraces", "TraceKind", "TraceStep", "parse_steps", "step_line"]

TRACE_GROUP: Final = 9
"""The multicast group of traces (``NFNLGRP_NFTRACE``)."""

_MESSAGE: Final = (10 << 8) | 17  # NFNL_SUBSYS_NFTABLES, NFT_MSG_TRACE
_HEADER: Final = struct.Struct("=IHHII")
_HEADERS: Final = 20
_MAX_PACKETS: Final = 4_096  # packets whose way is being put together
_MAX_STEPS: Final = 256  # of one packet; jumps in circles are impossible, long ways are not
_IDLE_NS: Final = 1_000_000_000  # a packet that met no rule for so long has gone its way
_VERDICTS: Final = {0: "DROP", 1: "ACCEPT", 2: "STOLEN", 3: "QUEUE", 4: "REPEAT"}
_SPECIAL: Final = {-1: "CONTINUE", -2: "BREAK", -3: "JUMP", -4: "GOTO", -5: "RETURN"}
_NAMES: Final = {6: "TCP", 17: "UDP", 1: "ICMP", 58: "ICMPv6", 132: "SCTP", 136: "UDPLITE"}


class TraceKind(enum.StrEnum):
    """What a packet met."""

    POLICY = "policy"
    RETURN = "return"
    RULE = "rule"


_KINDS: Final = {1: TraceKind.POLICY, 2: TraceKind.RETURN, 3: TraceKind.RULE}


class TraceStep(Struct, frozen=True, kw_only=True, gc=False):
    """One step of one packet.

    Attributes:
        number: What joins the steps of a packet.
        table: The table.
        chain: The chain.
        kind: What it met there.
        handle: The kernel's number of the rule, 0 for none.
        verdict: What that said.
        indev: The index of the incoming interface, 0 when it is not told.
        outdev: The index of the outgoing interface.
        mark: The packet mark, 0 when it has none or it is not told.
        head: The headers of the packet from the IP header on; empty when they are not told.
    """

    number: int
    table: str = ""
    chain: str = ""
    kind: TraceKind = TraceKind.RULE
    handle: int = 0
    verdict: str = ""
    indev: int = 0
    outdev: int = 0
    mark: int = 0
    head: bytes = b""


def parse_steps(data: bytes) -> Iterator[TraceStep]:
    """Read the messages of one datagram; others than steps are left out.

    Raises:
        MessageError: A message is not whole.
    """
    offset = 0
    while len(data) - offset >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
        if not _HEADER.size <= length <= len(data) - offset:
            raise MessageError(f"a message says {length} bytes at {offset} of {len(data)}")
        if kind == _MESSAGE and length >= _HEADERS:
            yield _parse_step(data, offset + _HEADERS, offset + length)
        offset += (length + 3) & ~3


def _parse_step(data: bytes, start: int, end: int) -> TraceStep:
    values: dict[int, bytes] = {}
    for kind, place, size in attributes(data, start, end):
        values[kind] = data[place : place + size]
    code = target = b""
    verdict = values.get(5, b"")
    for kind, place, size in attributes(verdict, 0, len(verdict)):
        if kind == 1:
            code = verdict[place : place + size]
        elif kind == 2:
            target = verdict[place : place + size]
    return TraceStep(
        number=_number(values.get(6, b"")),
        table=_text(values.get(1, b"")),
        chain=_text(values.get(2, b"")),
        kind=_KINDS.get(_number(values.get(4, b"")), TraceKind.RULE),
        handle=_number(values.get(3, b"")),
        verdict=_verdict(_number(code or values.get(16, b"")), _text(target)),
        indev=_number(values.get(10, b"")),
        outdev=_number(values.get(12, b"")),
        mark=_number(values.get(14, b"")),
        head=values.get(8, b"") + values.get(9, b""),
    )


def _number(value: bytes) -> int:
    return int.from_bytes(value[:8], "big")


def _text(value: bytes) -> str:
    text = value.rstrip(b"\0").decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _verdict(code: int, target: str) -> str:
    signed = code - (1 << 32) if code >= 1 << 31 else code
    if signed >= 0:
        return _VERDICTS.get(signed & 0xFF, str(signed & 0xFF))
    name = _SPECIAL.get(signed, str(signed))
    return f"{name} {target}" if target else name


class _Way:
    """The steps of one packet so far."""

    __slots__ = ("indev", "outdev", "packet", "seen_ns", "steps")

    def __init__(self) -> None:
        self.indev = self.outdev = ""
        self.packet: Packet | None = None
        self.seen_ns = 0
        self.steps: list[IPTablesTraceRecord] = []


class RuleTraces:
    """Puts steps together: lines as they come, and the whole way of each packet.

    Args:
        namespace: The namespace in the records.
        interface_name: Gives the name of an interface by its index.

    Attributes:
        forgotten: Steps of packets that there was no room for.
    """

    def __init__(self, namespace: str, interface_name: Callable[[int], str]) -> None:
        """Start without packets."""
        self.forgotten = 0
        self._namespace = namespace
        self._interface_name = interface_name
        self._ways: dict[int, _Way] = {}

    def add(self, step: TraceStep, now_ns: int) -> str:
        """Take a step and write it as a line, as the kernel's log has it."""
        way = self._ways.get(step.number)
        if way is None:
            if len(self._ways) >= _MAX_PACKETS:
                self.forgotten += 1
                return step_line(step, None, "", "")
            way = self._ways[step.number] = _Way()
        way.seen_ns = now_ns
        if step.head:
            found = decode(step.head, original_length=0xFFFF)
            way.packet = found if isinstance(found, Packet) else way.packet
            way.indev = self._interface_name(step.indev)
            way.outdev = self._interface_name(step.outdev)
        if len(way.steps) < _MAX_STEPS:
            way.steps.append(_record(step, way))
        else:
            self.forgotten += 1
        return step_line(step, way.packet, way.indev, way.outdev)

    def take(self, now_ns: int, *, everything: bool = False) -> list[IPTablesTrace]:
        """Give the ways of the packets that met no rule for a while.

        Args:
            now_ns: Nanoseconds since 1970 UTC.
            everything: Give all, because no more comes.
        """
        done = [
            number
            for number, way in self._ways.items()
            if everything or not 0 <= now_ns - way.seen_ns < _IDLE_NS
        ]
        return [
            IPTablesTrace(
                namespace=self._namespace,
                timestamp_ns=way.seen_ns,
                records=tuple(way.steps),
            )
            for way in (self._ways.pop(number) for number in done)
        ]


def _record(step: TraceStep, way: _Way) -> IPTablesTraceRecord:
    packet = way.packet
    return IPTablesTraceRecord(
        ttl=packet.hop_limit if packet else 0,
        chain=step.chain,
        destination_ip=packet.destination_text if packet else "",
        destination_interface=way.outdev,
        destination_port=packet.destination_port if packet else 0,
        length=packet.size_bytes if packet else 0,
        packet_id=packet.identification if packet else 0,
        protocol=packet.protocol if packet else 0,
        rule_id=step.handle,
        source_ip=packet.source_text if packet else "",
        source_interface=way.indev,
        source_port=packet.source_port if packet else 0,
        table_name=step.table,
    )


def step_line(step: TraceStep, packet: Packet | None, indev: str, outdev: str) -> str:
    """Write a step as a line in the form of the kernel's log, with the verdict behind it."""
    words = [f"TRACE: {step.table}:{step.chain}:{step.kind}:{step.handle}"]
    words += [f"IN={indev}", f"OUT={outdev}"]
    if packet is not None:
        words += [
            f"SRC={packet.source_text}",
            f"DST={packet.destination_text}",
            f"LEN={packet.size_bytes}",
            f"TTL={packet.hop_limit}",
            f"ID={packet.identification}",
            f"PROTO={_NAMES.get(packet.protocol, packet.protocol)}",
        ]
        if packet.source_port or packet.destination_port:
            words += [f"SPT={packet.source_port}", f"DPT={packet.destination_port}"]
    if step.mark:
        words.append(f"MARK={step.mark:#x}")
    return " ".join([*words, f"VERDICT={step.verdict}"])
