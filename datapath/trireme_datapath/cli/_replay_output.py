"""What `trireme-collector replay` prints: records, decisions, counters and a summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from trireme_collector.formats import format_rfc3339, protocol_name, render_text
from trireme_collector.records import FlowRecord, PacketReport, encode_json
from trireme_datapath.packet import Packet, decode
from trireme_datapath.packets import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trireme_collector.records import Record
    from trireme_datapath.backends.replay import ReplayBackend, ReplayedPacket
    from trireme_datapath.engine import Engine

__all__ = [
    "PacketDecision",
    "ReplayPrinter",
    "ReplayStatistics",
    "ReplaySummary",
    "summarize",
]

_KNOWN_FLOW = "known-flow"
_UNMATCHED = "unmatched"
_POLICY = "policy"
_COLORS = {Verdict.ACCEPT: "\x1b[32m", Verdict.DROP: "\x1b[31m", Verdict.REPEAT: "\x1b[33m"}
_RESET = "\x1b[0m"


class PacketDecision(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="decision", tag_field="type"
):
    """What was decided about one packet, as ``--decisions`` prints it.

    Attributes:
        number: The number of the frame in the capture.
        time_ns: When it was judged, nanoseconds since 1970 UTC.
        verdict: ``accept`` or ``drop``.
        reason: ``policy`` when a rule or the default was asked, ``known-flow`` when its flow was
            judged before, ``unmatched`` when it belongs to no unit and such packets pass, else
            the drop reason.
        policy_id: The policy that was applied, when one was.
        protocol: The IP protocol number, -1 when it could not be read.
        source_ip: The sender, empty when it could not be read.
        source_port: Its port, 0 when there is none.
        destination_ip: The receiver, empty when it could not be read.
        destination_port: Its port, 0 when there is none.
        icmp_type: The ICMP type, absent for other protocols.
        icmp_code: The ICMP code, absent for other protocols.
        size_bytes: The length of the datagram.
    """

    number: int
    time_ns: int
    verdict: str
    reason: str
    policy_id: str | UnsetType = UNSET
    protocol: int
    source_ip: str
    source_port: int
    destination_ip: str
    destination_port: int
    icmp_type: int | UnsetType = UNSET
    icmp_code: int | UnsetType = UNSET
    size_bytes: int


class ReplayStatistics(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="statistics", tag_field="type"
):
    """What the engine counted, as ``--stats`` prints it.

    Attributes:
        counters: The counters of the engine by name.
        flows_open: The flows that were still in the table at the end.
    """

    counters: dict[str, int]
    flows_open: int


class ReplaySummary(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a replay went; ``judged == accepted + rejected + malformed``.

    Attributes:
        frames: Frames that were read.
        skipped: Frames without an IP packet, by reason.
        judged: Packets that were judged.
        accepted: Packets that would have passed.
        rejected: Packets that would have been dropped although they could be read.
        malformed: Packets that could not be read.
        records: Records that were made.
    """

    frames: int
    skipped: dict[str, int]
    judged: int
    accepted: int
    rejected: int
    malformed: int
    records: int

    def __str__(self) -> str:
        """Say it in one line."""
        skipped = ""
        if self.skipped:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.skipped.items())
            skipped = f" ({reasons})"
        return (
            f"{self.frames} frames read, {sum(self.skipped.values())} skipped{skipped};"
            f" {self.judged} packets judged: {self.accepted} accepted, {self.rejected} rejected,"
            f" {self.malformed} malformed; {self.records} records"
        )


class ReplayPrinter:
    """Renders what happens, one line each.

    Args:
        engine: Who judges; its counters tell what a decision alone does not.
        as_json: Whether to render JSON.
        color: Whether to colour text.
    """

    def __init__(self, engine: Engine, *, as_json: bool, color: bool) -> None:
        """Start with the counters as they are."""
        self._engine = engine
        self._as_json = as_json
        self._color = color
        self._unmatched = engine.counters["packets_unmatched_accepted"]

    def record(self, record: Record) -> str:
        """Render a record."""
        if self._as_json:
            return encode_json(record).decode()
        return render_text(record, color=self._color)

    def decision(self, replayed: ReplayedPacket) -> str:
        """Render the decision about the packet that was judged last."""
        described = self._describe(replayed)
        if self._as_json:
            return msgspec.json.encode(described).decode()
        verdict = described.verdict.upper().ljust(7)
        if self._color:
            verdict = f"{_COLORS[replayed.decision.verdict]}{verdict}{_RESET}"
        source = _endpoint(described.source_ip, described.source_port)
        destination = _endpoint(described.destination_ip, described.destination_port)
        reason = described.reason
        if described.policy_id:
            reason += f" policy={described.policy_id}"
        kind = ""
        if described.icmp_type is not UNSET:
            kind = f" icmp={described.icmp_type}/{described.icmp_code}"
        protocol = protocol_name(described.protocol) if described.protocol >= 0 else "?"
        time = format_rfc3339(described.time_ns)[11:-1]
        return (
            f"{time} {'#' + str(described.number):<8} {verdict} {protocol:<5}"
            f" {source:<21} -> {destination:<21} {reason}{kind}"
        )

    def statistics(self) -> str:
        """Render the counters of the engine."""
        engine = self._engine
        counters = {name: count for name, count in sorted(engine.counters.items()) if count}
        statistics = ReplayStatistics(counters=counters, flows_open=len(engine.flows))
        if self._as_json:
            return msgspec.json.encode(statistics).decode()
        rows: Mapping[str, int] = {**counters, "flows_open": statistics.flows_open}
        width = max(map(len, rows))
        return "\n".join(f"{name:<{width}}  {count}" for name, count in rows.items())

    def _describe(self, replayed: ReplayedPacket) -> PacketDecision:
        packet = replayed.packet
        decoded = decode(packet.data, original_length=packet.original_length)
        read = decoded if isinstance(decoded, Packet) else None
        reason, policy_id = self._reason(replayed)
        is_icmp = read is not None and read.icmp_type >= 0
        return PacketDecision(
            number=packet.number,
            time_ns=replayed.now_ns,
            verdict=replayed.decision.verdict.name.lower(),
            reason=reason,
            policy_id=policy_id,
            protocol=decoded.protocol,
            source_ip=decoded.source_text,
            source_port=read.source_port if read else 0,
            destination_ip=decoded.destination_text,
            destination_port=read.destination_port if read else 0,
            icmp_type=read.icmp_type if read and is_icmp else UNSET,
            icmp_code=read.icmp_code if read and is_icmp else UNSET,
            size_bytes=decoded.size_bytes,
        )

    def _reason(self, replayed: ReplayedPacket) -> tuple[str, str | UnsetType]:
        decision = replayed.decision
        unmatched = self._engine.counters["packets_unmatched_accepted"]
        passed_unmatched = unmatched != self._unmatched
        self._unmatched = unmatched
        for record in decision.records:
            if isinstance(record, FlowRecord):
                accepted = decision.verdict is Verdict.ACCEPT
                return (_POLICY if accepted else record.drop_reason or _POLICY), record.policy_id
            if isinstance(record, PacketReport):
                return record.drop_reason, UNSET
        return (_UNMATCHED if passed_unmatched else _KNOWN_FLOW), UNSET


def summarize(backend: ReplayBackend, engine: Engine, records: int) -> ReplaySummary:
    """Sum up a replay."""
    malformed = sum(
        count for name, count in engine.counters.items() if name.startswith("dropped_malformed:")
    )
    accepted = backend.verdicts[Verdict.ACCEPT]
    return ReplaySummary(
        frames=backend.reader.frames,
        skipped={str(reason): count for reason, count in sorted(backend.reader.skipped.items())},
        judged=backend.judged,
        accepted=accepted,
        rejected=backend.judged - accepted - malformed,
        malformed=malformed,
        records=records,
    )


def _endpoint(ip: str, port: int) -> str:
    if not port:
        return ip or "?"
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
