"""The engine: packets and time in, decisions out. No socket, clock, thread or log inside.

It has two doors. `Engine.receive` takes one packet and is the clear one. `Engine.receive_batch`
takes what one system call brought, as rows that a struct read, and judges the bulk without an
object per packet; what is out of the ordinary it hands back for the first door. Both use the
same flow table and the same judgement, so they decide alike.

It is closed by default: what cannot be read, belongs to nobody or comes from the middle of a
connection is dropped, each with a reason of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from trireme_datapath.accounting import AccountLimits, ConnectionAccount
from trireme_datapath.batch import BatchDoor
from trireme_datapath.core import EngineCore
from trireme_datapath.counters import COUNTER_INTERVAL_SECONDS, CounterReporter
from trireme_datapath.dns_observer import DNSLimits, DNSObserver
from trireme_datapath.exceptions import ExceptionReporter
from trireme_datapath.single import SingleDoor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from trireme_collector.records import Record
    from trireme_datapath.kernel.marks import ConnectionMark
    from trireme_datapath.lanes import FastRow, Lane
    from trireme_datapath.packets import Decision, QueuedPacket
    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.tracing import TraceRequest

__all__ = ["DEFAULT_COPY_RANGE", "Engine", "EngineLimits"]

DEFAULT_COPY_RANGE: Final = 128
"""Bytes of a packet that a backend copies: all headers of nearly every packet."""


class EngineLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much an engine may hold.

    Attributes:
        max_flows: Flows in the table.
        max_fragments: Datagrams whose later fragments are awaited.
        max_packet_reports_per_second: Reports on packets that are dropped outside any flow; more
            are counted only, so that garbage from the network cannot flood the collectors.
    """

    max_flows: Annotated[int, Meta(ge=16, le=16_777_216)] = 131_072
    max_fragments: Annotated[int, Meta(ge=2, le=1_048_576)] = 4_096
    max_packet_reports_per_second: Annotated[int, Meta(ge=0, le=1_000_000)] = 100


_DEFAULT_LIMITS: Final = EngineLimits()
_DEFAULT_ACCOUNT: Final = AccountLimits()
_DEFAULT_DNS: Final = DNSLimits()


class Engine:
    """Judges packets by a compiled policy.

    Args:
        policy: The compiled policy.
        limits: How much may be held.
        refuse_mark: A bit of the packet mark. When it is given, packets of rejected flows are not
            dropped but sent round again with this bit, so that a kernel rule answers the client
            with a reset or an ICMP error.
        accept_mark: Another bit. When it is given, packets that were judged and accepted get it,
            so that a kernel rule marks their connection and leaves the rest of it to the kernel.

    Attributes:
        counters: What was done, by name; the names are listed in the datapath reference.
        flows: The flow table.
    """

    def __init__(
        self,
        policy: CompiledPolicy,
        limits: EngineLimits = _DEFAULT_LIMITS,
        *,
        refuse_mark: int | None = None,
        accept_mark: int | None = None,
    ) -> None:
        """Start without flows."""
        self._core = EngineCore(
            policy,
            max_flows=limits.max_flows,
            refuse_mark=refuse_mark,
            accept_mark=accept_mark,
        )
        self._batch = BatchDoor(self._core)
        self._single = SingleDoor(
            self._core, limits.max_fragments, limits.max_packet_reports_per_second
        )
        self.counters = self._core.counters
        self._tracer = self._single.tracer
        self._account: ConnectionAccount | None = None
        self.flows = self._core.flows

    @property
    def policy(self) -> CompiledPolicy:
        """The policy in force."""
        return self._core.policy

    def replace_policy(self, policy: CompiledPolicy) -> None:
        """Put another policy in force: every later packet is judged by it alone.

        Flows that were open are judged again when their next packet comes: those that the new
        policy rejects are cut and reported, the others go on without a record.
        """
        self._core.enforce(policy)
        self._batch.enter_policy()
        self._single.enter_policy()

    def lane(self, packet: QueuedPacket, *, copy_range: int = DEFAULT_COPY_RANGE) -> Lane:
        """Make the lane for all packets that are queued like this one.

        Args:
            packet: One of them; hook, interfaces, mark and IP version are what counts.
            copy_range: How many bytes the kernel copies of each packet.
        """
        return self._batch.lane(packet, copy_range)

    def forget_lane(self, lane: Lane) -> None:
        """Let go of a lane that a backend no longer uses."""
        self._batch.forget_lane(lane)

    # The fast door.

    def receive_batch(
        self, rows: Iterable[FastRow], lane: Lane, key: bytes, now_ns: int
    ) -> tuple[list[int], list[int]]:
        """Judge the packets of one drained batch that are in this lane and out of nothing's way.

        What they cause is kept for `take_records`. Packets that are neither denied nor handed
        back are accepted.

        Args:
            rows: The packets.
            lane: Their lane.
            key: The second field of the rows that are in this lane.
            now_ns: Nanoseconds since 1970 UTC.

        Returns:
            The ids of the packets that are denied, and the positions of the rows that were not
            judged and have to go through `receive`.
        """
        if self._tracer:
            return [], list(range(len(list(rows))))
        return self._batch.receive(rows, lane, key, now_ns)

    def take_records(self, now_ns: int) -> list[Record]:
        """Give the records that `receive_batch` caused since the last call; forget idle flows.

        Call it after each drained batch and at least once a second.
        """
        records = self._gather(now_ns)
        if self._core.counting is not None:
            records += self._core.counting.take_records(now_ns)
        return records

    def shift_clock(self, by_ns: int) -> None:
        """Say that the clock was set, and by how much: what is timed goes on as if it had not.

        Args:
            by_ns: How much later it is now than it should be; negative if the clock was set back.
        """
        self.flows.shift_clock(by_ns)
        self._tracer.shift_clock(by_ns)

    def _gather(self, now_ns: int) -> list[Record]:
        if self._tracer:
            self._tracer.expire(now_ns)
        self.flows.sweep(now_ns)
        records = self._batch.take_records()
        if self._account is not None:
            records += self._account.take_records(now_ns)
        if self._core.exceptions is not None:
            departed = self.flows.departed
            if departed and self._account is None:
                self.flows.departed = []
                self._core.exceptions.departed(departed, now_ns)
            records += self._core.exceptions.take_records()
        if self._core.dns is not None:
            records += self._core.dns.take_records(now_ns)
        return records

    def take_last_records(self, now_ns: int) -> list[Record]:
        """Give the records that were gathered, and those that would have come later; at the end."""
        records = self._gather(now_ns)
        if self._core.dns is not None:
            records += self._core.dns.take_last_records(now_ns)
        if self._core.counting is not None:
            records += self._core.counting.take_all(now_ns)
        return records

    def report_exceptions(self, *, max_per_second: int = 1_000) -> None:
        """Report accepted TCP connections that nobody answered, or that a server refused.

        Args:
            max_per_second: How many reports are made; the rest is only counted.
        """
        self._core.exceptions = ExceptionReporter(self.counters, max_per_second)
        if self._core.sees_all and self.flows.departed is None:
            self.flows.departed = []

    def report_counters(
        self,
        read_queue: Callable[[], Mapping[str, int]] = dict,
        *,
        interval_seconds: float = COUNTER_INTERVAL_SECONDS,
    ) -> None:
        """Report what is counted, for each unit and in all, every so often and at the end.

        Args:
            read_queue: Gives the kernel's own totals of the queue, for example from
                `queue_totals`; called when a report is made.
            interval_seconds: How often.
        """
        self._core.counting = CounterReporter(self.counters, read_queue, interval_seconds)

    def observe_dns(self, limits: DNSLimits = _DEFAULT_DNS) -> None:
        """Report which names the units look up, and learn what names in rules stand for.

        All packets of connections to port 53 go through `receive` then, and they never get the
        accept mark: the kernel does not keep them to itself. Call it once, before the first packet.
        """
        dns = DNSObserver(limits, self.counters, self._forget_rulings)
        dns.enter_policy(self.policy)
        self._core.dns = dns

    def learned_names(self) -> Iterator[tuple[str, str, bytes, int]]:
        """Give every unit with a name, an address that it stands for, and when that expires."""
        dns = self._core.dns
        return iter(()) if dns is None else dns.learned()

    def learn_names(self, learned: Iterable[tuple[str, str, bytes, int]]) -> None:
        """Learn what another engine has learned, so that names mean the same to both."""
        if self._core.dns is not None:
            self._core.dns.take_over(learned)

    def _forget_rulings(self) -> None:
        self._batch.forget_rulings()
        if self._account is not None:
            self._account.forget_rulings()

    def keep_account(
        self,
        limits: AccountLimits = _DEFAULT_ACCOUNT,
        *,
        mark: ConnectionMark | None = None,
        is_local: Callable[[bytes], bool] = lambda _: False,
        shared: bool = False,
    ) -> ConnectionAccount:
        """Report what accepted flows carry, from what the kernel says about connections.

        From now on the record of an accepted flow says nothing about packets; those that follow
        do. Call it once, before the first packet.

        Args:
            limits: How often, and how much is remembered.
            mark: The mark that accepted connections get, if the backend sets one.
            is_local: Whether a packed address is one of this host; for connections that were
                accepted before this engine was made.
            shared: Whether other engines judge other connections of the same kernel. Then a
                connection that was adopted is this engine's once a packet of it comes here.

        Returns:
            Where to hand what the kernel says.
        """
        account = ConnectionAccount(self._core, limits, mark, is_local, shared=shared)
        self._account = self._single.account = account
        return account

    def leave_counting(self, *, report_opened: bool = True) -> None:
        """Have the records of accepted flows say nothing of packets: another engine follows them.

        Call it once, before the first packet, and let one engine `keep_account` for all.

        Args:
            report_opened: Whether accepted flows are reported here at all; else the other engine
                alone reports them. The same as in its `AccountLimits`.
        """
        self._core.counted = True
        self._core.report_opened = report_opened

    # The clear door.

    def receive(self, packet: QueuedPacket, now_ns: int) -> Decision:
        """Judge one packet.

        Args:
            packet: The packet as it was queued.
            now_ns: Nanoseconds since 1970 UTC.
        """
        return self._single.receive(packet, now_ns)

    def rule_of(self, packet: QueuedPacket) -> str:
        """Give the rule that decides about the flow of a packet, empty when there is no flow.

        Only looks: nothing is judged or remembered.
        """
        return self._single.rule_of(packet)

    def trace(self, unit_name: str, request: TraceRequest) -> str:
        """Report on every packet of a unit that is queued, for a limited time.

        Meanwhile all packets go through `receive`.

        Args:
            unit_name: The id or the context of the unit.
            request: What is wanted, and until when.

        Returns:
            The context of the unit.

        Raises:
            LookupError: The policy in force has no such unit.
        """
        return self._tracer.trace(self.policy, unit_name, request)
