"""Who looked up which name: questions joined with their answers, counted and reported.

Only answers to questions that were seen are believed, and what they say is learned for the unit
that asked. Nothing here has a clock or a socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from trireme_collector.records import EndPointType
from trireme_datapath._look_ups import Asker, LookUpCounts
from trireme_datapath.dns import (
    DNSMessage,
    MalformedDNS,
    decode_dns,
    rcode_name,
)
from trireme_datapath.dns_stream import DNSStream
from trireme_datapath.identity import SYN, TCP, flow_key
from trireme_datapath.rulings import address_text

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Iterator

    from trireme_collector.records import Record
    from trireme_datapath.flows import Flow
    from trireme_datapath.packet import Packet
    from trireme_datapath.policy import CompiledPolicy, CompiledUnit
    from trireme_datapath.policy.names import UnitNames

__all__ = ["DNS_PORT", "TIMEOUT_ERROR", "DNSLimits", "DNSObserver"]

DNS_PORT: Final = 53
TIMEOUT_ERROR: Final = "timeout"
"""The error of a look-up that nobody answered."""

_SECOND_NS: Final = 1_000_000_000
_MAX_ALIASES: Final = 16  # resolvers give up about there


class DNSLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is remembered of look-ups.

    Attributes:
        timeout_seconds: How long an answer is waited for.
        min_ttl_seconds: How long a learned address counts at least, whatever the answer says.
        max_ttl_seconds: How long it counts at most.
        max_pending: Questions that wait for their answer; beyond, the oldest is not reported.
        max_names: Look-ups that are being counted; beyond, each is reported by itself.
        max_streams: TCP connections whose messages are put together, 8 KiB for each direction.
        max_reports_per_second: More are counted only.
    """

    timeout_seconds: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    min_ttl_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 60
    max_ttl_seconds: Annotated[int, Meta(ge=1, le=604_800)] = 86_400
    max_pending: Annotated[int, Meta(ge=16, le=1_048_576)] = 8_192
    max_names: Annotated[int, Meta(ge=16, le=1_048_576)] = 16_384
    max_streams: Annotated[int, Meta(ge=1, le=65_536)] = 256
    max_reports_per_second: Annotated[int, Meta(ge=1, le=1_000_000)] = 1_000


_PendingKey = tuple[int, int, bytes, int, str, int]
"""Zone and protocol of the flow, its key, and the number, name and type in question."""


class _Pending(Struct, gc=False):
    asker: Asker
    asked_ns: int


class DNSObserver:
    """Looks at the packets of port 53 that passed.

    Args:
        limits: How much is remembered.
        counters: Where things are counted.
        forget_rulings: Called when learned addresses changed: what was remembered of decisions
            may be otherwise now.
    """

    def __init__(
        self, limits: DNSLimits, counters: Counter[str], forget_rulings: Callable[[], None]
    ) -> None:
        """Begin without a policy."""
        self.counters = counters
        self._limits = limits
        self._timeout_ns = round(limits.timeout_seconds * _SECOND_NS)
        self._forget_rulings = forget_rulings
        self._units: dict[str, CompiledUnit] = {}
        self._names: list[UnitNames] = []
        self._contexts_with_names: frozenset[str] = frozenset()
        self._next_expiry_ns = 0
        self._pending: dict[_PendingKey, _Pending] = {}
        self._look_ups = LookUpCounts(limits.max_names, limits.max_reports_per_second, counters)
        self._streams: dict[tuple[int, bytes], tuple[DNSStream | None, DNSStream | None]] = {}

    def enter_policy(self, policy: CompiledPolicy) -> None:
        """Take another policy; what was learned stays learned."""
        before, self._units = self._units, {unit.id: unit for unit in policy.units}
        self._names = []
        contexts = set()
        for unit in policy.units:
            if unit.names is None:
                continue
            self._names.append(unit.names)
            contexts.add(unit.context_id)
            known = before.get(unit.id)
            if known is not None and known.names is not None:
                for name, address, expires_ns in known.names.learned():
                    unit.names.learn(name, address, expires_ns)
        self._contexts_with_names = frozenset(contexts)

    def learned(self) -> Iterator[tuple[str, str, bytes, int]]:
        """Give every unit with a name, an address that it stands for, and when it expires."""
        for unit in self._units.values():
            if unit.names is not None:
                for name, address, expires_ns in unit.names.learned():
                    yield unit.id, name, address, expires_ns

    def take_over(self, learned: Iterable[tuple[str, str, bytes, int]]) -> None:
        """Learn what another observer has `learned`."""
        changed = False
        for unit_id, name, address, expires_ns in learned:
            unit = self._units.get(unit_id)
            if unit is not None and unit.names is not None:
                changed |= unit.names.learn(name, address, expires_ns)
        if changed:
            self._forget_rulings()

    def may_be_allowed_later(self, context_id: str) -> bool:
        """Whether a rejected flow of a unit may pass once a name was looked up."""
        return context_id in self._contexts_with_names

    # Packets.

    def look(self, flow: Flow, packet: Packet, data: bytes, now_ns: int) -> None:
        """Look at a packet of a flow to port 53 that passes."""
        if packet.fragment_offset_bytes:
            return
        from_client = flow.key == flow_key(packet)
        payload = data[packet.payload_offset : packet.size_bytes]
        cut = packet.more_fragments or len(data) < packet.size_bytes
        if packet.protocol != TCP:
            if payload:
                self._read(flow, payload, now_ns, cut=cut, from_client=from_client)
            return
        for message, partial in self._stream_messages(
            flow, packet, payload, cut=cut, from_client=from_client
        ):
            self._read(flow, message, now_ns, cut=partial, from_client=from_client)

    def _stream_messages(
        self, flow: Flow, packet: Packet, payload: bytes, *, cut: bool, from_client: bool
    ) -> Iterable[tuple[bytes, bool]]:
        key = (flow.zone, flow.key)
        streams = self._streams.get(key)
        if packet.tcp_flags & SYN:
            if streams is None and len(self._streams) >= self._limits.max_streams:
                del self._streams[next(iter(self._streams))]
                self.counters["dns_streams_forgotten"] += 1
            client, server = streams or (None, None)
            begun = DNSStream(packet.tcp_sequence + 1)
            self._streams[key] = (begun, server) if from_client else (client, begun)
            return ()
        if streams is None:
            return ()
        stream = streams[0 if from_client else 1]
        found = [] if stream is None else stream.feed(packet.tcp_sequence, payload, cut=cut)
        if packet.tcp_flags & 0x04 or (packet.tcp_flags & 0x01 and not from_client):
            self._streams.pop(key, None)
        return found

    def _read(self, flow: Flow, data: bytes, now_ns: int, *, cut: bool, from_client: bool) -> None:
        message = decode_dns(data, cut=cut)
        if isinstance(message, MalformedDNS):
            self.counters["dns_malformed"] += 1
        elif message.opcode or message.is_response == from_client:
            self.counters["dns_ignored"] += 1
        elif message.is_response:
            self._answer(flow, message, now_ns)
        else:
            self._question(flow, message, now_ns)

    def _question(self, flow: Flow, message: DNSMessage, now_ns: int) -> None:
        asker = self._asker(flow)
        if asker is None or not message.name:
            return
        self.counters["dns_questions"] += 1
        pending = self._pending
        key = _key(flow, message)
        if key in pending:  # asked again, as nobody answered: the same look-up
            return
        if len(pending) >= self._limits.max_pending:
            del pending[next(iter(pending))]
            self.counters["dns_questions_forgotten"] += 1
        pending[key] = _Pending(asker, now_ns)

    def _answer(self, flow: Flow, message: DNSMessage, now_ns: int) -> None:
        name = message.name
        asked = self._pending.pop(_key(flow, message), None)
        if asked is None:
            self.counters["dns_answers_unasked"] += 1
            return
        self.counters["dns_answers"] += 1
        answers = _addresses(message)
        if message.rcode == 0 and message.truncated and not answers and flow.protocol != TCP:
            # The client asks again over TCP: that is where it is known how it went.
            return
        error = "" if not message.rcode else rcode_name(message.rcode)
        texts = tuple(address_text(address) for address, _ in answers)
        self._look_ups.count(asked.asker, name, error, texts, now_ns)
        if answers and not message.rcode:
            self._learn(asked.asker.unit_id, name, answers, now_ns)

    def _asker(self, flow: Flow) -> Asker | None:
        """Tell who asks, if it is a unit."""
        outcome = flow.ruling.outcome
        name, kind = outcome.client
        if kind is not EndPointType.PU:
            return None
        unit = self._units.get(name)
        if unit is None:
            return None
        client = flow.ruling.client(0)
        return Asker(unit.context_id, unit.namespace, client, flow.ruling.server, unit.id)

    def _learn(
        self, unit_id: str, name: str, answers: list[tuple[bytes, int]], now_ns: int
    ) -> None:
        unit = self._units.get(unit_id)
        names = None if unit is None else unit.names
        if names is None:
            return
        plain = name.removesuffix(".")
        limits = self._limits
        changed = False
        for address, ttl in answers:
            seconds = min(max(ttl, limits.min_ttl_seconds), limits.max_ttl_seconds)
            changed |= names.learn(plain, address, now_ns + seconds * _SECOND_NS)
        if changed:
            self.counters["dns_addresses_changed"] += 1
            self._forget_rulings()

    def take_records(self, now_ns: int) -> list[Record]:
        """Give the reports that were made since the last call; look what is due."""
        oldest = now_ns - self._timeout_ns
        pending = self._pending
        while pending:
            key = next(iter(pending))
            found = pending[key]
            if found.asked_ns > oldest:
                break
            del pending[key]
            self.counters["dns_timeouts"] += 1
            self._look_ups.count(found.asker, key[4], TIMEOUT_ERROR, (), now_ns)
        self._expire(now_ns)
        return self._look_ups.take_records(now_ns)

    def take_last_records(self, now_ns: int) -> list[Record]:
        """Give all that is being counted, at the end."""
        self._look_ups.settle_all(now_ns)
        return self.take_records(now_ns)

    def _expire(self, now_ns: int) -> None:
        if 0 <= self._next_expiry_ns - now_ns <= _SECOND_NS:
            return
        self._next_expiry_ns = now_ns + _SECOND_NS
        changed = [names for names in self._names if names.expire(now_ns)]
        if changed:
            self._forget_rulings()


def _key(flow: Flow, message: DNSMessage) -> _PendingKey:
    return (
        flow.zone,
        flow.protocol,
        flow.key,
        message.identifier,
        message.name,
        message.type,
    )


def _addresses(message: DNSMessage) -> list[tuple[bytes, int]]:
    """Give the addresses of the name in question, through its aliases, with their lifetimes."""
    aliases = {one.name: one for one in message.answers if one.alias}
    name, ttl = message.name, 0x7FFFFFFF
    found: list[tuple[bytes, int]] = []
    for _ in range(_MAX_ALIASES):
        found += [
            (one.address, min(ttl, one.ttl_seconds))
            for one in message.answers
            if one.name == name and one.address
        ]
        alias = aliases.get(name)
        if alias is None:
            break
        name, ttl = alias.alias, min(ttl, alias.ttl_seconds)
    return found
