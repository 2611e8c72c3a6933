"""The flow table: bounded, with a timeout for each kind and state of a flow.

A key is the packed addresses and ports as they stand in the packet, 12 bytes for IPv4 and 36 for
IPv6, so that the fast door of the engine can use a slice of the message as it is. A flow stands
under its own key, and from the first answer on under the key of the answers too. Python's hash
of bytes is keyed (SipHash), so nobody outside can make keys collide.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from trireme_datapath.rulings import Ruling  # noqa: TC001  msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

__all__ = [
    "TIMEOUTS_NS",
    "Flow",
    "FlowAccount",
    "FlowState",
    "FlowTable",
    "Origin",
    "Zone",
    "is_icmp_answer",
    "reverse_key",
]

_SECOND: Final = 1_000_000_000


class FlowState(enum.IntEnum):
    """How far a flow got."""

    NEW = 0
    """Only the client was heard."""
    OPEN = 1
    """Both sides were heard."""
    CLOSING = 2
    """TCP: a FIN or RST was seen."""
    DENIED = 3
    """It is rejected; remembered so that repeated packets are not reported again."""


def _timeouts(new: int, opened: int, closing: int, denied: int) -> Mapping[int, int]:
    seconds = {
        FlowState.NEW: new,
        FlowState.OPEN: opened,
        FlowState.CLOSING: closing,
        FlowState.DENIED: denied,
    }
    return {state: value * _SECOND for state, value in seconds.items()}


_CONNECTION = _timeouts(60, 432_000, 120, 30)
_DATAGRAM = _timeouts(30, 120, 30, 30)
_GENERIC = _timeouts(600, 600, 30, 30)
TIMEOUTS_NS: Final[Mapping[int, Mapping[int, int]]] = {
    6: _CONNECTION,
    132: _CONNECTION,
    17: _DATAGRAM,
    136: _DATAGRAM,
    1: _DATAGRAM,
    58: _DATAGRAM,
}
"""Idle time after which a flow is forgotten, by protocol and state; the kernel's own figures
(``nf_conntrack_*_timeout``), so that both forget alike. Other protocols take 600 s."""

_SWEEP_NS: Final = 15 * _SECOND  # the whole table is looked at once in this time
_SWEPT_AT_ONCE: Final = 8_192  # some milliseconds at most, for which packets wait
_SWEPT_SHARE: Final = 15  # or one part in so many of a larger table: what is due in a second
_SECOND_CHANCES: Final = 8  # answered flows that may be passed over when room is needed
_OPEN: Final = int(FlowState.OPEN)
_GONE: Final = -1  # the protocol of a flow that left the table but not yet the order


class Origin(Struct, frozen=True, gc=False):
    """Where the packet was queued that opened a flow; flows share them.

    Attributes:
        hook: The hook.
        indev: The interface it came in by.
        outdev: The interface it left by.
        mark: Its packet mark.
        forward: Whether the client sent it.
    """

    hook: int
    indev: str
    outdev: str
    mark: int
    forward: bool = True


class FlowAccount(Struct, kw_only=True, gc=False):
    """What was reported of an accepted flow that the kernel counts.

    Attributes:
        ruling: Under which it was opened: its records say so.
        reported: Packets and bytes of the client and of the server, in this order.
        reported_ns: When that was.
        ended: Whether it was reported as ended.
    """

    ruling: Ruling
    reported: tuple[int, int, int, int]
    reported_ns: int
    ended: bool = False


class Flow(Struct, gc=False):
    """One flow, oriented from client to server.

    Attributes:
        key: Packed addresses and ports of the client's packets.
        protocol: The IP protocol number.
        zone: Where the client's packets are looked up.
        reverse_zone: Where the server's packets are looked up.
        ruling: The judgement it was opened with.
        denied: Whether its packets are dropped.
        state: How far it got, a `FlowState`.
        revision: The number of the policy that judged it last.
        packets: Packets seen, both directions.
        bytes: IP bytes of those packets.
        last_seen_ns: When the last of them was seen.
        origin: Where its first packet was queued.
        answered: Whether it stands under the key of its answers too.
        passed_over: How many packets it had when it was last passed over for eviction.
        account: What was reported of it, None if nothing.
    """

    key: bytes
    protocol: int
    zone: int
    reverse_zone: int
    ruling: Ruling
    denied: bool
    state: int
    revision: int
    last_seen_ns: int
    origin: Origin | None = None
    packets: int = 0
    bytes: int = 0
    answered: bool = False
    passed_over: int = 0
    account: FlowAccount | None = None

    def expired(self, now_ns: int) -> bool:
        """Whether it was idle for longer than its state allows."""
        timeouts = TIMEOUTS_NS.get(self.protocol, _GENERIC)
        return now_ns - self.last_seen_ns > timeouts[self.state]


class Zone:
    """Flows that share one way of being selected.

    Flows of units that are selected by address are all in zone 0. Where units are selected by
    interface or mark, equal addresses may be different flows; each selection has its own zone.
    """

    __slots__ = ("number", "tables")

    def __init__(self, number: int) -> None:
        """Start without flows."""
        self.number = number
        self.tables: dict[int, dict[bytes, Flow]] = {}

    def table(self, protocol: int) -> dict[bytes, Flow]:
        """Give the flows of one protocol: the same dictionary for the life of the zone."""
        table = self.tables.get(protocol)
        if table is None:
            table = self.tables[protocol] = {}
        return table


class FlowTable:
    """All flows of an engine.

    Args:
        max_flows: How many are kept. Beyond, the one looked at longest ago goes, unanswered ones
            first, so that a flood of new flows does not push out the connections.

    Attributes:
        patience_ns: How long accepted flows are kept at least: longer than their time-outs where
            somebody else sees their packets.
        departed: Gets each flow that expired or made room, and whether it made room; nobody
            wants to know while it is None.
    """

    def __init__(self, max_flows: int) -> None:
        """Start without flows and zones."""
        self.max_flows = max_flows
        self.zones: list[Zone] = []
        self.evicted = 0
        self.expired = 0
        self.patience_ns = 0
        self.departed: list[tuple[Flow, bool]] | None = None
        self._by_selection: dict[Hashable, Zone] = {}
        self._order: deque[Flow] = deque()
        self._gone = 0
        self._swept_ns = 0

    def __len__(self) -> int:
        """Count the flows."""
        return len(self._order) - self._gone

    def __iter__(self) -> Iterator[Flow]:
        """Go through the flows, those first that were looked at longest ago."""
        return (flow for flow in self._order if flow.protocol != _GONE)

    def zone(self, selection: Hashable) -> Zone:
        """Give the zone of a selection, made when it is first asked for."""
        zone = self._by_selection.get(selection)
        if zone is None:
            zone = self._by_selection[selection] = Zone(len(self.zones))
            self.zones.append(zone)
        return zone

    def insert(self, table: dict[bytes, Flow], flow: Flow) -> None:
        """Add a flow to the table of its zone and protocol, making room if there is none."""
        order = self._order
        if len(order) >= self.max_flows:
            oldest = order.popleft()
            if oldest.answered or oldest.state == _OPEN or oldest.protocol == _GONE:
                order.appendleft(oldest)
                self._make_room()
            else:  # what a flood leaves behind
                oldest_table = self.zones[oldest.zone].tables[oldest.protocol]
                found = oldest_table.pop(oldest.key, None)
                if found is not oldest and found is not None:
                    oldest_table[oldest.key] = found
                self.evicted += 1
                if self.departed is not None:
                    self.departed.append((oldest, True))
        table[flow.key] = flow
        order.append(flow)

    def answer(self, flow: Flow, key: bytes) -> None:
        """Add a flow under the key of its answers as well."""
        self.zones[flow.reverse_zone].table(flow.protocol)[key] = flow
        flow.answered = True
        if flow.state == FlowState.NEW:
            flow.state = FlowState.OPEN

    def remove(self, flow: Flow) -> None:
        """Forget a flow that ended, so that its keys are free; it is of no use afterwards."""
        self._unlink(flow)
        flow.protocol = _GONE
        self._gone += 1
        # It stays in the order until its turn comes; what it was made of does not.
        del flow.ruling, flow.key

    def find(self, protocol: int, key: bytes) -> Flow | None:
        """Find the flow that a client opened with this key, whatever zone it is in."""
        for zone in self.zones:
            table = zone.tables.get(protocol)
            flow = None if table is None else table.get(key)
            if flow is not None and flow.key == key:
                return flow
        return None

    def sweep(self, now_ns: int) -> None:
        """Forget idle flows: each call looks at a share of the table, at all of it in 15 s."""
        elapsed = now_ns - self._swept_ns
        if elapsed < 0:  # the clock was set back: measure anew
            self._swept_ns = now_ns
            return
        order = self._order
        share = min(len(order), len(order) * elapsed // _SWEEP_NS)
        if not share and order:  # a few flows get their turn when enough time has passed
            return
        self._swept_ns = now_ns
        most = max(_SWEPT_AT_ONCE, len(order) // _SWEPT_SHARE)
        if share > most:  # the next calls look at the rest
            self._swept_ns -= min(elapsed, _SWEEP_NS) * (share - most) // share
            share = most
        for _ in range(share):
            flow = order.popleft()
            if flow.protocol == _GONE:
                self._gone -= 1
            elif flow.expired(now_ns) and (
                flow.denied or now_ns - flow.last_seen_ns > self.patience_ns
            ):
                self._unlink(flow)
                self.expired += 1
                if self.departed is not None:
                    self.departed.append((flow, False))
            else:
                order.append(flow)

    def shift_clock(self, by_ns: int) -> None:
        """Take the clock as set: no flow was idle because of that."""
        self._swept_ns += by_ns
        for flow in self._order:
            flow.last_seen_ns += by_ns

    def _make_room(self) -> None:
        order = self._order
        for _ in range(_SECOND_CHANCES):
            flow = order.popleft()
            if flow.state != _OPEN or flow.passed_over == flow.packets:
                break
            flow.passed_over = flow.packets
            order.append(flow)
        else:
            flow = order.popleft()
        if flow.protocol == _GONE:
            self._gone -= 1
        else:
            self._unlink(flow)
            self.evicted += 1
            if self.departed is not None:
                self.departed.append((flow, True))

    def _unlink(self, flow: Flow) -> None:
        protocol, key = flow.protocol, flow.key
        _take_out(self.zones[flow.zone].tables[protocol], key, flow)
        if flow.answered:
            table = self.zones[flow.reverse_zone].tables[protocol]
            _take_out(table, reverse_key(protocol, key), flow)


def _take_out(table: dict[bytes, Flow], key: bytes, flow: Flow) -> None:
    found = table.pop(key, None)
    if found is not flow and found is not None:
        table[key] = found


_ICMP_ANSWERS: Final = {
    1: {8: 0, 13: 14, 15: 16, 17: 18},
    58: {128: 129, 139: 140},
}
_ICMP_QUERIES: Final = {
    protocol: {answer: query for query, answer in pairs.items()}
    for protocol, pairs in _ICMP_ANSWERS.items()
}


def reverse_key(protocol: int, key: bytes) -> bytes:
    """Give the key of the packets that answer those of this key.

    Addresses and ports swap places. The "ports" of ICMP are the identifier and then type and
    code: the identifier stays, and a query's type becomes its answer's and the other way round.
    """
    ports = len(key) - 4
    half = ports >> 1
    swapped = key[half:ports] + key[:half]
    if protocol in _ICMP_ANSWERS:
        kind = key[ports + 2]
        answer = _ICMP_ANSWERS[protocol].get(kind, _ICMP_QUERIES[protocol].get(kind, kind))
        return swapped + key[ports : ports + 2] + bytes((answer, key[ports + 3]))
    return swapped + key[ports + 2 :] + key[ports : ports + 2]


def is_icmp_answer(protocol: int, kind: int) -> bool:
    """Whether an ICMP type answers a query, and so cannot open a flow."""
    return kind in _ICMP_QUERIES.get(protocol, ())
