"""What accepted flows carried, as the kernel counted it.

The engine sees the packets that need a decision; the rest of a connection stays in the kernel,
which counts both directions and tells when it ended. The account joins the two. It has no socket
and no clock: rows of connections and the time go in, records come out.

The record of the judgement says nothing about packets. Each later record of a flow says what was
carried since the one before, so the packets and bytes of all records of a flow add up to what it
carried, however often it was reported and whether or not the flow table still knew it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct, structs

from trireme_collector.records import FlowPhase
from trireme_datapath._account_records import NOTHING, account_record, account_summary, turned_row
from trireme_datapath._strangers import Strangers
from trireme_datapath.flows import Flow, FlowAccount, FlowState, reverse_key
from trireme_datapath.rulings import Ruling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trireme_collector.records import Record
    from trireme_datapath.core import EngineCore
    from trireme_datapath.kernel.conntrack import ConnectionRow
    from trireme_datapath.kernel.marks import ConnectionMark

__all__ = ["AccountLimits", "ConnectionAccount"]

_SECOND: Final = 1_000_000_000
_PATIENCE_NS: Final = 600 * _SECOND  # a list of all connections comes far more often
_DONE: Final = frozenset({7, 8})  # TIME_WAIT and CLOSE of the kernel: both sides are done
_TCP: Final = 6


class AccountLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often flows are reported, and how much is remembered.

    Attributes:
        update_seconds: How often an open flow that carries something is reported.
        max_evicted: Flows whose reported counts are remembered after they had to leave the table.
        report_opened: Whether an accepted flow is reported when it is judged, too, and not only
            when it ended or is open for long.
    """

    update_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 60.0
    max_evicted: Annotated[int, Meta(ge=0, le=16_777_216)] = 65_536
    report_opened: bool = True


class ConnectionAccount:
    """Keeps the account of an engine; see `Engine.keep_account`.

    Args:
        core: What the doors of the engine share.
        limits: How often, how much.
        mark: The mark that accepted connections have; None where connections are not marked.
        is_local: Whether a packed address is one of this host.
        shared: Whether other engines judge other connections of the same kernel.

    Attributes:
        counters: What was done, by name.
    """

    def __init__(
        self,
        core: EngineCore,
        limits: AccountLimits,
        mark: ConnectionMark | None,
        is_local: Callable[[bytes], bool],
        *,
        shared: bool = False,
    ) -> None:
        """Begin; flows that are accepted from now on are counted by the kernel."""
        self._core = core
        self._flows = core.flows
        self._mark = mark
        self._strangers = Strangers(core, mark, is_local, limits.max_evicted)
        self._shared = shared
        self._update_ns = round(limits.update_seconds * _SECOND)
        self._records: list[Record] = []
        self._settled_revision = self._listed_revision = -1
        self._list_began_ns = self._first_list_ns = 0
        self.counters = core.counters
        core.counted = True
        core.report_opened = limits.report_opened
        core.flows.patience_ns = _PATIENCE_NS
        core.flows.departed = []

    @property
    def settled(self) -> bool:
        """Whether every open connection was judged by the policy in force."""
        return self._settled_revision == self._core.revision

    def give_up(self) -> None:
        """Report what is accepted when it is judged after all: the kernel will tell nothing."""
        self._core.report_opened = True

    # What the kernel tells.

    def ended(self, rows: Iterable[ConnectionRow], now_ns: int) -> None:
        """Take connections that ended; what they cause is kept for `take_records`.

        Args:
            rows: The connections.
            now_ns: Nanoseconds since 1970 UTC.
        """
        find = self._flows.find
        keep = self._records.append
        exceptions = self._core.exceptions
        for row in rows:
            key = row[1] + row[2] + row[3] + row[4]
            flow = find(row[0], key)
            if flow is None:
                self._end_unknown(row, key, now_ns)
                continue
            if self._is_anothers(flow):
                self._flows.remove(flow)
                continue
            if exceptions is not None:
                exceptions.ended(flow, row, now_ns)
            account = flow.account
            if account is None:
                if flow.denied:
                    continue
                keep(account_record(flow.ruling, FlowPhase.ENDED, row, NOTHING, now_ns))
                unseen = self._core.sees_all and flow.state == FlowState.NEW
                if unseen and row[0] == _TCP and row[7] == 1:
                    # The kernel forgets a connection with the reset that refuses it, before that
                    # reset is queued: it is still to be judged as the answer that it is.
                    flow.account = FlowAccount(
                        ruling=flow.ruling, reported=row[5:9], reported_ns=now_ns, ended=True
                    )
                else:
                    self._flows.remove(flow)
                continue
            if not account.ended or row[5:9] != account.reported:
                phase = FlowPhase.CONTINUED if account.ended else FlowPhase.ENDED
                keep(account_record(account.ruling, phase, row, account.reported, now_ns))
            flow.account = None
            if not flow.denied:
                self._flows.remove(flow)

    def begin_list(self, now_ns: int) -> None:
        """Say that a list of all connections begins: every row from now on goes to `listed`."""
        self._list_began_ns = now_ns
        self._first_list_ns = self._first_list_ns or now_ns
        self._listed_revision = self._core.revision

    def listed(
        self, rows: Iterable[ConnectionRow], now_ns: int, told: frozenset[int] = frozenset()
    ) -> list[int]:
        """Take connections of a list of all that are open.

        Args:
            rows: The connections.
            now_ns: Nanoseconds since 1970 UTC.
            told: The positions of those whose end was reported by who followed them before.

        Returns:
            The positions of those that the policy in force does not allow: the kernel is to
            forget them, so that their next packet needs a decision.
        """
        revoked: list[int] = []
        find = self._flows.find
        judged = (self._core.revision, ~self._core.revision)
        for index, row in enumerate(rows):
            key = row[1] + row[2] + row[3] + row[4]
            flow = find(row[0], key)
            if flow is None:
                if not self._keep_unknown(row, key, now_ns, told=index in told):
                    revoked.append(index)
                continue
            if flow.denied:  # a packet was judged by the policy before this list came to it
                revoked.append(index)
                continue
            flow.last_seen_ns = now_ns
            if flow.revision not in judged and not self._judge_again(flow, now_ns):
                revoked.append(index)
                continue
            if row[7] and flow.state == FlowState.NEW:
                flow.state = FlowState.OPEN
            if not self._is_anothers(flow):
                self._note_listed(flow, row, now_ns, told=index in told)
        return revoked

    def adopt(self, rows: Iterable[ConnectionRow], now_ns: int) -> None:
        """Take in the connections that an engine before this one accepted.

        A backend that sees every packet calls it before the first one: without it they would come
        from the middle of nowhere. They are judged by the policy in force, as if they began now.

        Args:
            rows: Connections whose first packet passed every hook.
            now_ns: Nanoseconds since 1970 UTC.
        """
        flows = self._flows
        for row in rows:
            key = row[1] + row[2] + row[3] + row[4]
            known = flows.find(row[0], key) or flows.find(row[0], reverse_key(row[0], key))
            if known is not None or len(flows) >= flows.max_flows:
                continue
            ruling = self._strangers.rule(row, key)
            if isinstance(ruling, Ruling) and not ruling.denied:
                self._adopt(row, key, ruling, now_ns)

    def end_list(self, now_ns: int, *, complete: bool) -> None:
        """Say that the list ended.

        Args:
            now_ns: Nanoseconds since 1970 UTC.
            complete: Whether nothing was left out, and no end of a connection was missed since
                it began. If something was, flows that were not listed are waited for.
        """
        del now_ns
        if complete:
            self._settled_revision = self._listed_revision

    def end_missed(self, now_ns: int) -> None:
        """End the flows that the last complete list did not have: their end was not told.

        What they carried since they were last listed is not known.
        """
        before = self._list_began_ns
        # Where every packet comes to the engine, some flows are unknown to the kernel.
        marked = self._mark is not None
        gone = [
            flow
            for flow in self._flows
            if not flow.denied
            and flow.last_seen_ns < before
            and (marked or flow.account is not None)
        ]
        for flow in gone:
            if not self._is_anothers(flow):
                self.counters["connection_ends_missed"] += 1
                self._close(flow, now_ns)
            self._flows.remove(flow)

    def forget_rulings(self) -> None:
        """Forget what was decided, because the same question may have another answer now."""
        self._strangers.forget_rulings()

    def take_records(self, now_ns: int) -> list[Record]:
        """Give the records that were caused since the last call."""
        self._see_off(now_ns)
        records, self._records = self._records, []
        return records

    def change(self, flow: Flow, ruling: Ruling, now_ns: int) -> None:
        """Prepare for another ruling about a flow, before it gets it.

        What it carried belongs to the ruling that let it pass.
        """
        if flow.denied:
            return
        if flow.account is None:
            if ruling.denied:
                flow.account = FlowAccount(ruling=flow.ruling, reported=NOTHING, reported_ns=now_ns)
        elif not ruling.denied:
            flow.account.ruling = ruling

    # Flows that are known.

    def _note(self, flow: Flow, row: ConnectionRow, now_ns: int) -> None:
        """Report an open flow if it is time, and one whose sides are both done."""
        account, done = flow.account, row[0] == _TCP and row[12] in _DONE
        if account is None:
            if not done and self._mark is not None and now_ns - row[9] < self._update_ns:
                return  # most end before there is anything to remember of them
            account = flow.account = FlowAccount(
                ruling=flow.ruling, reported=NOTHING, reported_ns=row[9] or now_ns
            )
        if done:
            if account.ended:
                return
            phase, account.ended = FlowPhase.ENDED, True
        elif now_ns - account.reported_ns >= self._update_ns and row[5:9] != account.reported:
            phase = FlowPhase.CONTINUED
        else:
            return
        self._records.append(account_record(account.ruling, phase, row, account.reported, now_ns))
        account.reported, account.reported_ns = row[5:9], now_ns
        flow.passed_over = -1  # it is in use: not the first to make room

    def _judge_again(self, flow: Flow, now_ns: int) -> bool:
        """Judge a flow of an earlier policy; say whether it may go on."""
        core = self._core
        if flow.origin is None:
            return False
        ruling = core.rule_again(flow, flow.origin)
        if not isinstance(ruling, Ruling):
            if ruling:
                flow.revision = core.revision
            return ruling
        flow.revision = core.stamp(ruling)
        self.change(flow, ruling, now_ns)
        if not ruling.denied:
            flow.ruling = ruling
            return True
        flow.ruling, flow.denied, flow.state = ruling, True, FlowState.DENIED
        ruling.add(flow.key, 0, 0, now_ns)
        # No packet came: the policy did.
        self._records.append(structs.replace(core.report(ruling), packets=0))
        return False

    def _see_off(self, now_ns: int) -> None:
        """Take care of the flows that left the table since the last time."""
        departed = self._flows.departed
        if departed:
            self._flows.departed = []
            for flow, evicted in departed:
                self._depart(flow, now_ns, evicted=evicted)

    def _depart(self, flow: Flow, now_ns: int, *, evicted: bool) -> None:
        """Report a flow that the table let go of."""
        if flow.denied or self._is_anothers(flow):
            return
        account = flow.account
        # Idle for long and in no list means that the kernel does not know it either.
        if not evicted or (account is not None and account.ended):
            self._close(flow, now_ns)
            return
        reported = NOTHING if account is None else account.reported
        self._records.append(account_summary(flow, FlowPhase.EVICTED, now_ns))
        if account is not None or self._mark is None:
            self._strangers.remember(flow, reported)

    def _is_anothers(self, flow: Flow) -> bool:
        """Whether a connection was adopted and no packet of it came here: another judges it."""
        return self._shared and flow.account is not None and not flow.packets

    def _close(self, flow: Flow, now_ns: int) -> None:
        if flow.account is None or not flow.account.ended:
            self._records.append(account_summary(flow, FlowPhase.ENDED, now_ns))

    def _end_unknown(self, row: ConnectionRow, key: bytes, now_ns: int) -> None:
        turned = self._flows.find(row[0], reverse_key(row[0], key))
        if turned is not None:  # the server was heard first: the kernel takes it for the client
            self.ended([turned_row(row)], now_ns)
            return
        self._see_off(now_ns)
        reported = self._strangers.recall(row[0], key)
        if reported is None and not self._strangers.is_ours(row):
            return
        ruling = self._strangers.rule(row, key)
        if not isinstance(ruling, Ruling) or ruling.denied:
            # Nobody's any more, or cut by a policy that came after: the counts are still told.
            self.counters["connections_unattributed"] += 1
            self.counters["packets_unattributed"] += row[5] + row[7]
            self.counters["bytes_unattributed"] += row[6] + row[8]
            return
        self._records.append(
            account_record(ruling, FlowPhase.ENDED, row, reported or NOTHING, now_ns)
        )

    def _keep_unknown(self, row: ConnectionRow, key: bytes, now_ns: int, *, told: bool) -> bool:
        """Say whether a connection may stay that the table does not know, and take it in."""
        turned = self._flows.find(row[0], reverse_key(row[0], key))
        if turned is not None:
            return not self.listed([turned_row(row)], now_ns, frozenset({0} if told else ()))
        if not self._strangers.is_ours(row):
            return True
        ruling = self._strangers.rule(row, key)
        if not isinstance(ruling, Ruling):
            unheard = self._settled_revision < 0  # else all were judged by this agent
            if not ruling and unheard:
                self.counters["connections_not_judged_again"] += 1
            return ruling or unheard
        if ruling.denied:
            return False
        if len(self._flows) < self._flows.max_flows:
            self._note_listed(self._adopt(row, key, ruling, now_ns), row, now_ns, told=told)
        return True

    def _adopt(self, row: ConnectionRow, key: bytes, ruling: Ruling, now_ns: int) -> Flow:
        core = self._core
        origin = self._strangers.origin(row)
        way = core.ways.find(origin.hook, "", "", 0)
        self._see_off(now_ns)
        flow = core.open(way, key, ruling, now_ns, origin)
        reported = self._strangers.reported(row, key, self._first_list_ns - self._update_ns)
        flow.account = FlowAccount(ruling=ruling, reported=reported, reported_ns=now_ns)
        self.counters["connections_adopted"] += 1
        return flow

    def _note_listed(self, flow: Flow, row: ConnectionRow, now_ns: int, *, told: bool) -> None:
        if told:
            flow.account = FlowAccount(
                ruling=flow.ruling, reported=row[5:9], reported_ns=now_ns, ended=True
            )
        else:
            self._note(flow, row, now_ns)
