"""The fast door of the engine: a drained batch at once, without an object per packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_datapath.dns_observer import DNS_PORT
from trireme_datapath.identity import OPENING_FLAGS, SYN, TCP, UDP, is_mapped
from trireme_datapath.lanes import MAX_FRESH, MAX_REMEMBERED, FastRow, Lane
from trireme_datapath.rulings import Ruling

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trireme_collector.records import Record
    from trireme_datapath.core import EngineCore
    from trireme_datapath.flows import Flow
    from trireme_datapath.judgement import Outcome
    from trireme_datapath.packets import QueuedPacket

__all__ = ["BatchDoor"]

_FIN_SYN_RST: Final = 0x07
_IPV6_HEADER: Final = 40
_DNS_PORT: Final = DNS_PORT.to_bytes(2, "big")


class BatchDoor:
    """Judges rows of plain TCP and UDP packets; see `Engine` for what it promises."""

    def __init__(self, core: EngineCore) -> None:
        """Keep what is shared with the other door."""
        self._core = core
        self._lanes: list[tuple[Lane, QueuedPacket]] = []
        self._pending: list[Ruling] = []
        self._rejections: list[Outcome] = []

    def lane(self, packet: QueuedPacket, copy_range: int) -> Lane:
        """Make the lane for all packets that are queued like this one."""
        core = self._core
        lane = Lane(
            way=core.ways.find(packet.hook, packet.indev, packet.outdev, packet.mark),
            version=packet.data[0] >> 4 if packet.data else 0,
            interface=packet.indev or packet.outdev,
            copy_range=copy_range,
            denied=core.denied_verdict(packet.mark),
            accepted_mark=core.accepted_mark(packet.mark),
            origin=core.origin(packet),
        )
        self._lanes.append((lane, packet))
        return lane

    def forget_lane(self, lane: Lane) -> None:
        """Let go of a lane."""
        self._lanes = [(kept, packet) for kept, packet in self._lanes if kept is not lane]

    def enter_policy(self) -> None:
        """Look up the ways of all lanes anew, after the policy was replaced."""
        find = self._core.ways.find
        for lane, packet in self._lanes:
            lane.enter(find(packet.hook, packet.indev, packet.outdev, packet.mark))

    def forget_rulings(self) -> None:
        """Forget what was decided, because the same question may have another answer now."""
        for lane, _ in self._lanes:
            for known, fresh in lane.memories.values():
                known.clear()
                fresh.clear()

    def take_records(self) -> list[Record]:
        """Give the records of the flows that were opened since the last call."""
        pending, self._pending = self._pending, []
        return self._core.report_all(pending)

    def receive(
        self, rows: Iterable[FastRow], lane: Lane, key: bytes, now_ns: int
    ) -> tuple[list[int], list[int]]:
        """Judge the packets of one batch; see `Engine.receive_batch`."""
        denied: list[int] = []
        others: list[int] = []
        udp, tcp = lane.tables[UDP], lane.tables[TCP]
        revision = self._core.revision
        expected = lane.expected
        version_mask, version_value = lane.version_mask, lane.version_value
        kind_mask, header_bytes = lane.kind_mask, lane.header_bytes
        follow_tcp = self._core.follow_tcp
        find_or_open = self._find_or_open
        counting = self._core.counting
        rejections = self._rejections
        rejections.clear()
        index = -1
        for index, (
            packet_id,
            row_key,
            attribute_length,
            version_ihl,
            total,
            protocol,
            key_,
            udp_length,
            tcp_word,
        ) in enumerate(rows):
            if (
                row_key != key
                or expected[total] != attribute_length
                or version_ihl & version_mask != version_value
            ):
                others.append(index)
                continue
            protocol &= kind_mask  # noqa: PLW2901  a fragment has no protocol that is known here
            if protocol == UDP and udp_length + header_bytes == total:
                flow = udp.get(key_)
            elif protocol == TCP and 20 <= (tcp_word >> 10 & 0x3C) <= total - header_bytes:
                flow = tcp.get(key_)
                if flow is not None and tcp_word & _FIN_SYN_RST:
                    flow = follow_tcp(flow, key_, tcp_word)
                    if flow is None:
                        others.append(index)
                        continue
            else:
                others.append(index)
                continue
            if flow is None:
                found = find_or_open(lane, protocol, key_, total, tcp_word, now_ns)
                if found is True:
                    continue
                if found is False:
                    denied.append(packet_id)
                    continue
                if found is None:
                    others.append(index)
                    continue
                flow = found
            if flow.revision != revision:
                others.append(index)
                continue
            flow.packets += 1
            flow.bytes += total
            flow.last_seen_ns = now_ns
            if flow.denied:
                denied.append(packet_id)
                if counting is not None:
                    rejections.append(flow.ruling.outcome)
        if counting is not None and rejections:
            counting.denied(rejections)
        counters = self._core.counters
        counters["packets"] += index + 1 - len(others)
        counters["packets_denied"] += len(denied)
        return denied, others

    def _find_or_open(
        self, lane: Lane, protocol: int, key: bytes, total: int, tcp_word: int, now_ns: int
    ) -> Flow | bool | None:
        """Find the flow that this packet answers, or open one.

        Returns:
            The flow that it answers; for one that was opened whether it is accepted, the packet
            being counted; None when `receive` has to judge.
        """
        core = self._core
        source, destination, source_port, port = lane.split(key)
        answered = lane.join(destination, source, port, source_port)
        flow = lane.reverse_tables[protocol].get(answered)
        if flow is not None:
            return self._answered(flow, key, tcp_word if protocol == TCP else 0, now_ns)
        if protocol == TCP and tcp_word & OPENING_FLAGS != SYN:
            return None
        flags = tcp_word & 0xFF if protocol == TCP else 0
        known, fresh = lane.memories[protocol]
        pair = answered[:-2]  # without the client's port
        ruling = known.get(pair)
        if ruling is None:
            ruling = fresh.get(pair)
            if ruling is not None:
                if len(known) >= MAX_REMEMBERED:
                    known.clear()
                known[pair] = ruling
        if ruling is not None:
            if port == _DNS_PORT and not ruling.denied and core.watches(ruling):
                return None
            if ruling.add(key, total, flags, now_ns):
                self._pending.append(ruling)
        else:
            if lane.header_bytes == _IPV6_HEADER and is_mapped(source, destination):
                return None
            outcome = core.judge(protocol, key, lane.way, lane.interface)
            if isinstance(outcome, bool):
                return None
            denied = outcome.denied
            counted = core.counted and not denied
            ruling = Ruling(
                outcome, denied, key, protocol, counted, 1, total, now_ns, now_ns, flags
            )
            if len(fresh) >= MAX_FRESH:
                fresh.clear()
            fresh[pair] = ruling
            if port == _DNS_PORT and not denied and core.watches(ruling):
                ruling.count = 0
                return None
            self._pending.append(ruling)
        flow = core.open(lane.way, key, ruling, now_ns, lane.origin, 1, total)
        if flow.revision != core.revision:  # each of its packets goes through `receive`
            flow.packets = flow.bytes = 0
            return None
        if ruling.denied and core.counting is not None:
            self._rejections.append(ruling.outcome)
        return not ruling.denied

    def _answered(self, flow: Flow, key: bytes, tcp_word: int, now_ns: int) -> Flow | None:
        """Note the first answer to a flow; None when `receive` has to judge it."""
        if flow.denied:  # perhaps the other side of a rejected flow opens one of its own
            return None
        core = self._core
        followed: Flow | None = flow
        if tcp_word & _FIN_SYN_RST:
            core.note_reset(flow, tcp_word, now_ns)
            followed = core.follow_tcp(flow, key, tcp_word)
        if followed is not None:
            core.flows.answer(followed, key)
        return followed
