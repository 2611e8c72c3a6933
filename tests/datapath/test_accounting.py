"""The account of accepted flows: whatever happens in between, the sums are exact."""

from __future__ import annotations

import socket
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import UNSET

from trireme_collector.records import ActionType, FlowPhase, FlowRecord
from trireme_datapath.accounting import AccountLimits, ConnectionAccount
from trireme_datapath.engine import Engine, EngineLimits
from trireme_datapath.kernel.marks import ConnectionMark
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import SECOND_NS, START_NS, craft

if TYPE_CHECKING:
    from trireme_datapath.kernel.conntrack import ConnectionRow

POLICY = """
version = 1
[[unit]]
id = "web"
context = "ctx-web"
select = { address = ["10.0.0.2", "fd00::2"] }
[[unit.ingress]]
id = "http"
action = "accept"
from = "any"
protocol = ["tcp", "udp"]
ports = [80, 443]
[[unit.ingress]]
id = "ping"
action = "accept"
from = "any"
protocol = "icmp"
icmp = ["echo-request"]
"""
ONLY_80 = POLICY.replace("[80, 443]", "80")
MARK = ConnectionMark()
UPDATE_SECONDS = 60


class Account:
    """An engine with an account, and what came out of it."""

    def __init__(
        self,
        policy: str = POLICY,
        *,
        mark: ConnectionMark | None = MARK,
        max_flows: int = 1_000,
        local: frozenset[str] = frozenset(),
        shared: bool = False,
        report_opened: bool = True,
    ) -> None:
        self.engine = Engine(
            compile_policy(parse_policy(policy, "test.toml")), EngineLimits(max_flows=max_flows)
        )
        packed = {socket.inet_aton(one) for one in local}
        self.account: ConnectionAccount = self.engine.keep_account(
            AccountLimits(update_seconds=UPDATE_SECONDS, report_opened=report_opened),
            mark=mark,
            is_local=lambda address: address in packed,
            shared=shared,
        )
        self.now = START_NS
        self.records: list[FlowRecord] = []

    def judge(self, text: str) -> None:
        decision = self.engine.receive(craft(text), self.now)
        self.records += [one for one in decision.records if isinstance(one, FlowRecord)]
        self.take()

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * SECOND_NS)
        self.take()

    def take(self) -> None:
        found = self.engine.take_records(self.now)
        self.records += [one for one in found if isinstance(one, FlowRecord)]

    def listing(self, *rows: ConnectionRow, complete: bool = True) -> list[int]:
        self.account.begin_list(self.now)
        revoked = self.account.listed(rows, self.now)
        self.account.end_list(self.now, complete=complete)
        self.take()
        return revoked

    def end(self, *rows: ConnectionRow) -> None:
        self.account.ended(rows, self.now)
        self.take()

    def enforce(self, text: str) -> None:
        self.engine.replace_policy(compile_policy(parse_policy(text, "test.toml")))

    def settled(self) -> bool:
        return self.account.settled

    def told(self) -> list[tuple[str, int, int]]:
        """Phase, packets and bytes of the records after the first, as a list that is emptied."""
        told = [
            (str(one.phase), int(one.packets or 0), int(one.bytes or 0))
            for one in self.records
            if one.phase
        ]
        self.records.clear()
        return told


def row(
    client: str,
    server: str,
    counts: tuple[int, int, int, int],
    *,
    protocol: int = 6,
    start_ns: int = START_NS,
    stop_ns: int = 0,
    mark: int = MARK.accepted,
    tcp_state: int = 3,
) -> ConnectionRow:
    (client_ip, client_port), (server_ip, server_port) = (
        (address, int(port or 0))
        for address, _, port in (a.partition("#") for a in (client, server))
    )
    family = socket.AF_INET6 if ":" in client_ip else socket.AF_INET
    return (
        protocol,
        socket.inet_pton(family, client_ip),
        socket.inet_pton(family, server_ip),
        client_port.to_bytes(2, "big"),
        server_port.to_bytes(2, "big"),
        *counts,
        start_ns,
        stop_ns,
        mark,
        tcp_state if protocol == 6 else 0,
    )


CLIENT, SERVER = "192.0.2.1#1000", "10.0.0.2#80"


def test_the_end_says_what_was_carried() -> None:
    account = Account()
    account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 S size=60")
    (opened,) = account.records
    assert not opened.phase
    assert not opened.packets
    account.wait(5)
    account.end(row(CLIENT, SERVER, (6, 420, 4, 516), stop_ns=START_NS + SECOND_NS))
    _, ended = account.records
    assert ended.phase is FlowPhase.ENDED
    assert (ended.packets, ended.bytes) == (10, 936)
    assert (ended.source_packets, ended.source_bytes) == (6, 420)
    assert (ended.destination_packets, ended.destination_bytes) == (4, 516)
    assert (ended.start_time_ns, ended.end_time_ns) == (START_NS, START_NS + SECOND_NS)
    same = ("context_id", "source", "destination", "action", "policy_id", "direction", "count")
    assert [getattr(ended, one) for one in same] == [getattr(opened, one) for one in same]
    assert len(account.engine.flows) == 0


def test_a_connection_may_be_one_record() -> None:
    account = Account(report_opened=False)
    account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 S size=60")
    assert not account.records
    assert account.engine.counters["flows_accepted"] == 1
    account.end(row(CLIENT, SERVER, (6, 420, 4, 516)))
    (ended,) = account.records
    assert (ended.phase, ended.packets, ended.bytes, ended.count) == (FlowPhase.ENDED, 10, 936, 1)
    # What is rejected has no end, and is told as ever.
    account.judge("tcp 192.0.2.1:1001 > 10.0.0.2:22 S size=60")
    assert account.records[-1].action is ActionType.REJECT
    # Nor does anything have one where the kernel proves to be silent.
    account.account.give_up()
    account.judge("tcp 192.0.2.1:1002 > 10.0.0.2:80 S size=60")
    assert (account.records[-1].action, account.records[-1].phase) == (ActionType.ACCEPT, UNSET)


@pytest.mark.parametrize(
    ("packet", "client", "server", "protocol", "port"),
    [
        ("udp [2001:db8::1]:1000 > [fd00::2]:443", "2001:db8::1#1000", "fd00::2#443", 17, 1000),
        ("icmp 192.0.2.1 > 10.0.0.2 type=8", "192.0.2.1#0", "10.0.0.2#2048", 1, 0),
    ],
)
def test_other_kinds(packet: str, client: str, server: str, protocol: int, port: int) -> None:
    account = Account()
    account.judge(packet)
    account.end(row(client, server, (1, 84, 1, 84), protocol=protocol))
    _, ended = account.records
    assert (ended.l4_protocol, ended.packets, ended.source.port) == (protocol, 2, port)


def test_a_rejected_flow_is_not_counted_by_the_kernel() -> None:
    account = Account()
    account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:22 S size=60")
    (record,) = account.records
    assert (record.action, record.packets, record.bytes) == (ActionType.REJECT, 1, 60)


def test_a_long_flow_is_reported_in_parts_that_add_up() -> None:
    account = Account()
    account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 S")
    account.listing(row(CLIENT, SERVER, (10, 1_000, 5, 500)))
    assert account.told() == []
    account.wait(UPDATE_SECONDS)
    account.listing(row(CLIENT, SERVER, (20, 2_000, 5, 500)))
    assert account.told() == [("continued", 25, 2_500)]
    account.wait(UPDATE_SECONDS)
    account.listing(row(CLIENT, SERVER, (20, 2_000, 5, 500)))
    assert account.told() == [], "nothing was carried, nothing is told"
    account.listing(row(CLIENT, SERVER, (21, 2_040, 5, 500)))
    assert account.told() == [("continued", 1, 40)]
    account.end(row(CLIENT, SERVER, (22, 2_080, 6, 540)))
    assert account.told() == [("ended", 2, 80)]


def test_an_idle_flow_that_the_kernel_keeps_is_not_forgotten() -> None:
    account = Account()
    account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 S")
    for _ in range(200):
        account.wait(60)
        account.listing(row(CLIENT, SERVER, (10, 1_000, 5, 500)))
    assert account.told() == [("continued", 15, 1_500)]
    assert len(account.engine.flows) == 1


def test_a_closed_connection_is_told_before_the_kernel_forgets_it() -> None:
    account = Account()
    account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 S")
    account.listing(row(CLIENT, SERVER, (6, 420, 4, 516), tcp_state=7))
    assert account.told() == [("ended", 10, 936)]
    account.listing(row(CLIENT, SERVER, (6, 420, 4, 516), tcp_state=7))
    account.end(row(CLIENT, SERVER, (6, 420, 4, 516), tcp_state=7))
    assert account.told() == []
    assert len(account.engine.flows) == 0


def test_what_comes_after_the_end_still_counts() -> None:
    account = Account()
    account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 S")
    account.listing(row(CLIENT, SERVER, (6, 420, 4, 516), tcp_state=8))
    account.end(row(CLIENT, SERVER, (7, 460, 4, 516), tcp_state=8))
    assert account.told() == [("ended", 10, 936), ("continued", 1, 40)]


def test_a_flow_that_made_room_is_reported_and_its_end_counts_in_full() -> None:
    account = Account(max_flows=16)
    account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 S")
    account.listing(row(CLIENT, SERVER, (5, 500, 5, 500)))
    account.wait(UPDATE_SECONDS)
    account.listing(row(CLIENT, SERVER, (10, 1_000, 5, 500)))
    assert account.told() == [("continued", 15, 1_500)]
    for port in range(2_000, 2_060):
        account.judge(f"udp 192.0.2.1:{port} > 10.0.0.2:80")
    evicted = [one for one in account.records if one.phase is FlowPhase.EVICTED]
    assert 1_000 in {one.source.port for one in evicted}
    account.told()
    account.end(row(CLIENT, SERVER, (12, 1_200, 5, 500)))
    account.end(row("192.0.2.1#2000", SERVER, (3, 90, 0, 0), protocol=17))
    assert account.told() == [("ended", 2, 200), ("ended", 3, 90)]


def test_of_a_flow_that_was_listed_and_not_reported_nothing_is_remembered() -> None:
    account = Account(max_flows=16)
    account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 S")
    account.listing(row(CLIENT, SERVER, (5, 500, 5, 500)))
    assert [flow.account for flow in account.engine.flows] == [None]
    for port in range(2_000, 2_060):
        account.judge(f"udp 192.0.2.1:{port} > 10.0.0.2:80")
    assert 1_000 not in {int.from_bytes(flow.key[8:10]) for flow in account.engine.flows}
    account.told()
    account.end(row(CLIENT, SERVER, (12, 1_200, 5, 500)))
    assert account.told() == [("ended", 17, 1_700)]


def test_a_flow_without_a_known_start_is_reported_in_full_after_it_made_room() -> None:
    account = Account(max_flows=16)
    account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 S")
    account.listing(row(CLIENT, SERVER, (5, 500, 5, 500), start_ns=0))
    for port in range(2_000, 2_060):
        account.judge(f"udp 192.0.2.1:{port} > 10.0.0.2:80")
    assert 1_000 not in {int.from_bytes(flow.key[8:10]) for flow in account.engine.flows}
    account.told()
    account.end(row(CLIENT, SERVER, (12, 1_200, 5, 500), start_ns=0))
    assert account.told() == [("ended", 17, 1_700)]


def test_a_flow_that_no_list_ever_had_ends_with_what_the_engine_saw() -> None:
    account = Account()
    for _ in range(3):
        account.judge("udp 192.0.2.1:1000 > 10.0.0.2:80 size=100")
    account.listing()
    account.wait(590)
    assert account.told() == []
    account.wait(30)
    account.wait(30)
    (ended,) = [one for one in account.records if one.phase]
    assert (ended.phase, ended.packets, ended.bytes) == (FlowPhase.ENDED, 3, 300)
    assert not ended.source_packets


def test_flows_whose_end_was_missed_end_with_the_next_list() -> None:
    account = Account()
    for port in (1_000, 1_001):
        account.judge(f"tcp 192.0.2.1:{port} > 10.0.0.2:80 S")
    rows = [row(f"192.0.2.1#{port}", SERVER, (5, 500, 5, 500)) for port in (1_000, 1_001)]
    account.listing(*rows)
    account.wait(1)
    account.listing(rows[0])
    account.account.end_missed(account.now)
    account.take()
    assert account.told() == [("ended", 1, 40)], "what came to the engine is known"
    assert account.engine.counters["connection_ends_missed"] == 1
    assert len(account.engine.flows) == 1


def test_a_flow_that_was_reported_and_whose_end_was_missed_ends_without_counts() -> None:
    account = Account()
    for port in (1_000, 1_001):
        account.judge(f"tcp 192.0.2.1:{port} > 10.0.0.2:80 S")
    rows = [row(f"192.0.2.1#{port}", SERVER, (5, 500, 5, 500)) for port in (1_000, 1_001)]
    account.wait(UPDATE_SECONDS)
    account.listing(*rows)
    assert account.told() == [("continued", 10, 1_000)] * 2
    account.wait(1)
    account.listing(rows[0])
    account.account.end_missed(account.now)
    account.take()
    assert account.told() == [("ended", 0, 0)]


@pytest.mark.parametrize("mark", [MARK, None])
def test_a_new_policy_revokes_what_it_rejects(mark: ConnectionMark | None) -> None:
    account = Account(mark=mark)
    value = MARK.accepted if mark else 0
    secure = "10.0.0.2#443"
    account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 S")
    account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:443 S")
    rows = [row(CLIENT, one, (5, 500, 5, 500), mark=value) for one in (SERVER, secure)]
    assert account.listing(*rows) == []
    assert account.settled()
    account.enforce(ONLY_80)
    assert not account.settled()
    account.records.clear()
    assert account.listing(*rows) == [1]
    assert account.settled()
    (cut,) = account.records
    assert (cut.action, cut.drop_reason, cut.destination.port) == (
        ActionType.REJECT,
        "policy",
        443,
    )
    assert not cut.phase
    account.records.clear()
    account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:443 A")
    assert account.records == []
    account.end(row(CLIENT, secure, (6, 600, 5, 500), mark=value))
    (ended,) = account.records
    assert (ended.action, ended.packets, ended.phase) == (ActionType.ACCEPT, 11, FlowPhase.ENDED)
    account.records.clear()
    account.end(row(CLIENT, SERVER, (6, 600, 5, 500), mark=value))
    (ended,) = account.records
    assert ended.policy_revision == account.engine.policy.revision


def test_a_packet_that_comes_before_the_list_revokes_as_well() -> None:
    account = Account()
    account.judge("udp 192.0.2.1:1000 > 10.0.0.2:443")
    account.enforce(ONLY_80)
    account.judge("udp 192.0.2.1:1000 > 10.0.0.2:443")
    held = row(CLIENT, "10.0.0.2#443", (5, 500, 0, 0), protocol=17)
    assert account.listing(held) == [0]
    account.records.clear()
    account.end(held)
    assert account.told() == [("ended", 5, 500)]


def test_connections_of_a_former_life_are_judged_and_known() -> None:
    account = Account(ONLY_80)
    rows = [row(CLIENT, one, (5, 500, 5, 500)) for one in (SERVER, "10.0.0.2#443")]
    assert account.listing(*rows) == [1]
    assert account.engine.counters["connections_adopted"] == 1
    account.end(row(CLIENT, SERVER, (6, 600, 5, 500)))
    assert account.told() == [("ended", 11, 1_100)]


def test_what_a_former_life_may_have_reported_is_not_reported_again() -> None:
    account = Account()
    old = START_NS - 2 * UPDATE_SECONDS * SECOND_NS
    account.listing(row(CLIENT, SERVER, (5, 500, 5, 500), start_ns=old))
    account.end(row(CLIENT, SERVER, (6, 600, 5, 500), start_ns=old))
    assert account.told() == [("ended", 1, 100)]


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_an_end_is_told_in_the_list_that_shows_it_unless_another_told_it(
    *, told: bool, known: bool
) -> None:
    account = Account()
    if known:
        account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 S size=60")
    done = row(CLIENT, SERVER, (6, 420, 4, 516), tcp_state=7)
    positions = frozenset({0} if told else ())
    account.account.begin_list(account.now)
    assert account.account.listed([done], account.now, positions) == []
    account.account.end_list(account.now, complete=True)
    account.take()
    assert account.told() == ([] if told else [("ended", 10, 936)])
    account.listing(done)
    account.end(done)
    assert account.told() == []


def test_of_several_engines_that_one_reports_a_connection_that_sees_its_packets() -> None:
    mine, others = "192.0.2.1#1000", "192.0.2.2#1000"
    account = Account(mark=None, shared=True)
    open_ones = [row(one, SERVER, (5, 500, 5, 500), mark=0) for one in (mine, others)]
    account.account.adopt(open_ones, account.now)
    account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 A size=100")
    account.wait(2 * UPDATE_SECONDS)
    grown = [row(one, SERVER, (9, 900, 5, 500), mark=0) for one in (mine, others)]
    assert account.listing(*grown) == []
    assert account.told() == [("continued", 14, 1_400)]
    account.end(*(row(one, SERVER, (9, 1_000, 6, 600), mark=0) for one in (mine, others)))
    assert account.told() == [("ended", 1, 200)]
    assert len(account.engine.flows) == 0


def test_what_another_engine_judges_is_seen_off_in_silence() -> None:
    account = Account(mark=None, shared=True, max_flows=16)
    crowd = [row(f"192.0.2.{n}#1000", SERVER, (5, 500, 5, 500), mark=0) for n in range(1, 9)]
    account.account.adopt(crowd, account.now)
    for port in range(2_000, 2_020):
        account.judge(f"udp 192.0.2.99:{port} > 10.0.0.2:81")
    assert account.engine.flows.evicted == 12
    assert account.told() == []
    account.account.adopt(crowd[:1], account.now)
    account.wait(1)
    account.account.begin_list(account.now)
    account.account.end_missed(account.now)
    account.take()
    assert account.told() == []
    assert not account.engine.counters["connection_ends_missed"]


def test_connections_that_are_not_ours_are_left_alone() -> None:
    account = Account()
    other = row(CLIENT, "10.0.0.2#22", (5, 500, 5, 500), mark=0)
    exempt = row(CLIENT, "10.0.0.2#22", (5, 500, 5, 500), mark=MARK.exempt)
    assert account.listing(other, exempt) == []
    account.end(other, exempt)
    assert account.told() == []
    assert len(account.engine.flows) == 0


LOCAL = """
version = 1
[[unit]]
id = "host"
select = { local = true }
[[unit.ingress]]
id = "ssh"
action = "accept"
from = "any"
protocol = "tcp"
ports = 22
"""


def test_a_former_life_of_the_host_itself_is_judged_by_its_addresses() -> None:
    account = Account(LOCAL, local=frozenset({"10.0.0.9"}))
    inside = row("192.0.2.1#1000", "10.0.0.9#22", (1, 60, 1, 60))
    denied = row("192.0.2.1#1000", "10.0.0.9#23", (1, 60, 1, 60))
    unknown = row("192.0.2.1#1000", "10.0.0.8#22", (1, 60, 1, 60))
    assert account.listing(inside, denied, unknown) == [1]
    assert account.engine.counters["connections_not_judged_again"] == 1
    # From now on every connection was judged by this engine, or could not be.
    account.enforce(LOCAL.replace("22", "2222"))
    assert account.listing(inside, unknown) == [0, 1]


def test_a_connection_that_the_server_was_heard_first_of_is_turned() -> None:
    account = Account()
    account.judge("udp 192.0.2.1:1000 > 10.0.0.2:80")
    account.end(row("10.0.0.2#80", CLIENT, (2, 200, 3, 300), protocol=17))
    (ended,) = [one for one in account.records if one.phase]
    assert (ended.source.ip, ended.source_packets, ended.destination_packets) == ("192.0.2.1", 3, 2)


@given(st.integers(2, 0xFFFFFFFF).filter(lambda mask: mask.bit_count() > 1))
def test_two_marks_are_two_bits_of_the_mask(mask: int) -> None:
    mark = ConnectionMark(mask=mask)
    mark.check()
    assert mark.accepted & mask == mark.accepted
    assert mark.exempt & mask == mark.exempt
    assert mark.accepted.bit_count() == mark.exempt.bit_count() == 1
    assert mark.accepted < mark.exempt


class Sums(RuleBasedStateMachine):
    """Connections of a kernel, an account beside them: their sums must agree at each end."""

    def __init__(self) -> None:
        super().__init__()
        self.account = Account(max_flows=16)
        self.account.listing()
        self.began: dict[int, int] = {}
        self.open: dict[int, list[int]] = {}
        self.carried: dict[int, tuple[int, ...]] = {}
        self.told: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        self.next_port = 1_024

    def collect(self) -> None:
        for one in self.account.records:
            if one.phase and one.source_packets is not None:
                told = self.told[one.source.port]
                told[0] += one.source_packets or 0
                told[1] += one.source_bytes or 0
                told[2] += one.destination_packets or 0
                told[3] += one.destination_bytes or 0
        self.account.records.clear()

    def row(self, port: int) -> ConnectionRow:
        sent, sent_bytes, answered, answered_bytes = self.open[port]
        counts = (sent, sent_bytes, answered, answered_bytes)
        return row(f"192.0.2.1#{port}", SERVER, counts, start_ns=self.began[port])

    @rule(count=st.integers(1, 24))
    def begin(self, count: int) -> None:
        for _ in range(count):
            self.account.judge(f"tcp 192.0.2.1:{self.next_port} > 10.0.0.2:80 S size=60")
            self.open[self.next_port] = [1, 60, 0, 0]
            self.began[self.next_port] = self.account.now
            self.next_port += 1

    @rule(data=st.data(), packets=st.integers(1, 9), side=st.sampled_from((0, 2)))
    def carry(self, data: st.DataObject, packets: int, side: int) -> None:
        if self.open:
            counts = self.open[data.draw(st.sampled_from(sorted(self.open)))]
            counts[side] += packets
            counts[side + 1] += packets * 100

    @rule(seconds=st.integers(0, 90))
    def list(self, seconds: int) -> None:
        self.account.wait(seconds)
        assert self.account.listing(*map(self.row, self.open)) == []

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if self.open:
            port = data.draw(st.sampled_from(sorted(self.open)))
            self.account.end(self.row(port))
            self.carried[port] = tuple(self.open.pop(port))

    @rule()
    def enforce_another(self) -> None:
        self.account.enforce(POLICY if self.next_port % 2 else ONLY_80)

    @invariant()
    def sums_agree(self) -> None:
        self.collect()
        for port, counts in self.carried.items():
            assert tuple(self.told[port]) == counts
        assert len(self.account.engine.flows) <= 16


TestSums = Sums.TestCase
TestSums.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
