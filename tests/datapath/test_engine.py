"""The engine through its clear door: scripts of packets and decisions."""

from __future__ import annotations

import pytest
from msgspec import UNSET
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.packet import Raw

from trireme_collector.records import (
    ActionType,
    Direction,
    EndPointType,
    FlowRecord,
    PacketEvent,
    PacketReport,
)
from trireme_datapath.engine import Engine, EngineLimits
from trireme_datapath.flows import FlowState
from trireme_datapath.packets import QueuedPacket, Verdict
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import SECOND_NS, START_NS, craft, play

POLICY = """
version = 1

[networks]
office = ["192.0.2.0/24", "2001:db8:1::/48"]

[[unit]]
id = "web"
context = "ctx-web"
namespace = "/shop"
tags = ["app=web"]
select = { address = ["10.0.0.2", "fd00::2"] }

[[unit.ingress]]
id = "office-http"
action = "accept"
from = "@office"
protocol = "tcp"
ports = [80]

[[unit.ingress]]
id = "office-dns"
action = "accept"
from = "@office"
protocol = "udp"
ports = [53]

[[unit.ingress]]
id = "office-ping"
action = "accept"
from = "@office"
protocol = ["icmp", "icmpv6"]
icmp = ["echo-request"]

[[unit.ingress]]
id = "office-sctp"
action = "accept"
from = "@office"
protocol = "sctp"
ports = [3868]

[[unit.ingress]]
id = "gre"
action = "accept"
from = "@office"
protocol = 47

[[unit.ingress]]
id = "watch-bad"
action = "reject"
observe = "continue"
from = "192.0.2.66"

[[unit.ingress]]
id = "from-batch"
action = "accept"
log = true
peer_tags = [{ key = "app", values = ["batch"] }]
protocol = "tcp"
ports = [8080]

[[unit.egress]]
id = "to-db"
action = "accept"
peer_tags = [{ key = "app", values = ["db"] }]
protocol = "tcp"
ports = [5432]

[[unit]]
id = "db"
context = "ctx-db"
namespace = "/shop"
tags = ["app=db"]
select = { address = "10.0.0.3" }

[[unit.ingress]]
id = "db-from-web"
action = "accept"
peer_tags = [{ key = "app", values = ["web"] }]
protocol = "tcp"
ports = [5432]

[[peer]]
id = "batch"
address = "10.0.0.9"
tags = ["app=batch"]
"""


def engine_for(text: str = POLICY, **limits: int) -> Engine:
    return Engine(compile_policy(parse_policy(text, "test.toml")), EngineLimits(**limits))


@pytest.fixture
def engine() -> Engine:
    return engine_for()


def test_a_connection_is_one_record_in_both_directions(engine: Engine) -> None:
    play(
        engine,
        """
        tcp 192.0.2.1:1000 > 10.0.0.2:80 S    -> accept | accept office-http
        tcp 10.0.0.2:80 > 192.0.2.1:1000 SA   -> accept
        tcp 192.0.2.1:1000 > 10.0.0.2:80 A    -> accept
        tcp 10.0.0.2:80 > 192.0.2.1:1000 PA   -> accept
        tcp 192.0.2.1:1000 > 10.0.0.2:80 FA   -> accept
        tcp 10.0.0.2:80 > 192.0.2.1:1000 FA   -> accept
        """,
    )


def test_the_record_names_everything_that_is_known(engine: Engine) -> None:
    packet = craft("tcp 192.0.2.1:1000 > 10.0.0.2:80 S hook=1 in=eth0")
    (record,) = engine.receive(packet, START_NS).records
    assert isinstance(record, FlowRecord)
    assert record == FlowRecord(
        context_id="ctx-web",
        namespace="/shop",
        source=record.source,
        destination=record.destination,
        tags=("app=web",),
        policy_id="office-http",
        count=1,
        action=ActionType.ACCEPT,
        l4_protocol=6,
        packets=1,
        bytes=40,
        start_time_ns=START_NS,
        end_time_ns=START_NS,
        direction=Direction.INGRESS,
        interface="eth0",
        tcp_flags=2,
        policy_revision=engine.policy.revision,
    )
    source, destination = record.source, record.destination
    assert (source.id, source.ip, source.port) == ("office", "192.0.2.1", 1000)
    assert source.type is EndPointType.EXTERNAL_IP
    assert (destination.id, destination.ip, destination.port) == ("web", "10.0.0.2", 80)
    assert destination.type is EndPointType.PU


def test_repeated_packets_of_a_rejected_flow_are_reported_once(engine: Engine) -> None:
    play(
        engine,
        """
        tcp 192.0.2.1:1000 > 10.0.0.2:22 S    -> drop | reject default policy
        tcp 192.0.2.1:1000 > 10.0.0.2:22 S    -> drop
        tcp 192.0.2.1:1001 > 10.0.0.2:22 S    -> drop | reject default policy
        udp 10.0.0.2:999 > 198.51.100.1:53    -> drop | reject default policy
        udp 10.0.0.2:999 > 198.51.100.1:53    -> drop
        wait 60
        udp 10.0.0.2:999 > 198.51.100.1:53    -> drop | reject default policy
        """,
    )


def test_udp_icmp_sctp_and_other_protocols(engine: Engine) -> None:
    play(
        engine,
        """
        udp 192.0.2.1:5000 > 10.0.0.2:53             -> accept | accept office-dns
        udp 10.0.0.2:53 > 192.0.2.1:5000             -> accept
        udp 10.0.0.2:53 > 192.0.2.1:5001             -> drop | reject default policy
        icmp 192.0.2.1 > 10.0.0.2 type=8             -> accept | accept office-ping
        icmp 10.0.0.2 > 192.0.2.1 type=0             -> accept
        icmp 10.0.0.2 > 192.0.2.1 type=0 id=8        -> drop | reject default state
        icmp 192.0.2.1 > 10.0.0.2 type=13            -> drop | reject default policy
        icmp 2001:db8:1::1 > fd00::2                 -> accept | accept office-ping
        icmp fd00::2 > 2001:db8:1::1 type=129        -> accept
        sctp 192.0.2.1:7 > 10.0.0.2:3868             -> accept | accept office-sctp
        sctp 10.0.0.2:3868 > 192.0.2.1:7 chunk=0     -> accept
        sctp 192.0.2.1:8 > 10.0.0.2:3868 chunk=0     -> drop | reject default state
        tcp [2001:db8:1::1]:9 > [fd00::2]:80 S       -> accept | accept office-http
        tcp [fd00::2]:80 > [2001:db8:1::1]:9 SA      -> accept
        """,
    )


def test_records_of_icmp_have_its_type_and_code(engine: Engine) -> None:
    records = play(
        engine,
        """
        icmp 192.0.2.1 > 10.0.0.2 type=8             -> accept | accept office-ping
        icmp 192.0.2.1 > 10.0.0.2 type=13            -> drop | reject default policy
        icmp 2001:db8:1::1 > fd00::2                 -> accept | accept office-ping
        udp 192.0.2.1:5000 > 10.0.0.2:53             -> accept | accept office-dns
        """,
    )
    flows = [record for record in records if isinstance(record, FlowRecord)]
    known = [(one.icmp_type, one.icmp_code) for one in flows]
    assert known == [(8, 0), (13, 0), (128, 0), (UNSET, UNSET)]
    assert all(one.source.port == one.destination.port == 0 for one in flows[:3])


def test_another_protocol_is_judged_by_its_number(engine: Engine) -> None:
    datagram = bytes(IP(src="192.0.2.1", dst="10.0.0.2", proto=47) / Raw(b"payload"))
    decision = engine.receive(QueuedPacket(data=datagram), START_NS)
    assert decision.verdict is Verdict.ACCEPT
    datagram = bytes(IP(src="192.0.2.1", dst="10.0.0.2", proto=253) / Raw(b"payload"))
    decision = engine.receive(QueuedPacket(data=datagram), START_NS)
    assert decision.verdict is Verdict.DROP


def test_the_middle_of_a_connection_is_not_judged(engine: Engine) -> None:
    records = play(
        engine,
        """
        tcp 192.0.2.1:1000 > 10.0.0.2:80 A    -> drop | reject default state
        tcp 192.0.2.1:1000 > 10.0.0.2:80 PA   -> drop
        tcp 10.0.0.2:80 > 192.0.2.7:1000 SA   -> drop | reject default state
        tcp 192.0.2.1:1009 > 10.0.0.2:80 SF   -> drop | reject default state
        """,
    )
    late_answer = records[1]
    assert isinstance(late_answer, FlowRecord)
    assert late_answer.source.ip == "192.0.2.7", "the client is who the SYN-ACK goes to"
    assert late_answer.destination.port == 80


def test_the_middle_of_a_connection_is_judged_on_demand() -> None:
    play(
        engine_for('midstream = "judge"\n' + POLICY),
        """
        tcp 192.0.2.1:1000 > 10.0.0.2:80 A    -> accept | accept office-http
        tcp 10.0.0.2:80 > 192.0.2.7:1000 SA   -> accept | accept office-http
        tcp 192.0.2.7:1000 > 10.0.0.2:80 A    -> accept
        tcp 192.0.2.1:1000 > 10.0.0.2:23 A    -> drop | reject default policy
        """,
    )


def test_both_units_have_their_say_and_the_server_reports(engine: Engine) -> None:
    records = play(
        engine,
        """
        tcp 10.0.0.2:1 > 10.0.0.3:5432 S    -> accept | accept db-from-web
        tcp 10.0.0.2:1 > 10.0.0.3:22 S      -> drop | reject default policy
        tcp 10.0.0.3:1 > 10.0.0.2:80 S      -> drop | reject default policy
        """,
    )
    accepted, rejected, reverse = (r for r in records if isinstance(r, FlowRecord))
    assert (accepted.context_id, accepted.direction) == ("ctx-db", Direction.INGRESS)
    assert (accepted.source.id, accepted.destination.id) == ("web", "db")
    assert accepted.source.type is accepted.destination.type is EndPointType.PU
    assert (rejected.context_id, rejected.direction) == ("ctx-web", Direction.EGRESS)
    assert (reverse.source.id, reverse.context_id) == ("db", "ctx-db")


def test_a_unit_may_talk_to_itself_over_tcp(engine: Engine) -> None:
    play(
        engine,
        """
        tcp 10.0.0.2:1 > 10.0.0.2:9 S    -> accept | accept local
        udp 10.0.0.2:1 > 10.0.0.2:9      -> drop | reject default policy
        """,
    )


def test_tags_of_a_known_peer_and_the_log_bit(engine: Engine) -> None:
    (record,) = play(engine, "tcp 10.0.0.9:1 > 10.0.0.2:8080 S -> accept | accept|log from-batch")
    assert isinstance(record, FlowRecord)
    assert record.action is ActionType.ACCEPT_LOG
    assert (record.source.id, record.source.type) == ("batch", EndPointType.PU)
    assert record.drop_reason == ""


def test_an_observed_reject_on_an_external_flow_names_the_policy_reason(engine: Engine) -> None:
    (record,) = play(
        engine, "tcp 192.0.2.66:1 > 10.0.0.2:80 S -> accept | accept office-http policy"
    )
    assert isinstance(record, FlowRecord)
    assert record.action is ActionType.ACCEPT
    assert record.observed_action is ActionType.REJECT
    assert record.observed_policy_id == "watch-bad"


OBSERVED = """
version = 1
[[unit]]
id = "u"
select = {{ address = "10.0.0.2" }}
{rules}
[[peer]]
id = "p"
address = "10.0.0.9"
tags = ["t=1"]
"""


def _rule(name: str, action: str, observe: str = "none", *, tagged: bool) -> str:
    peer = 'peer_tags = [{ key = "t", values = ["1"] }]' if tagged else 'from = "any"'
    return f'[[unit.ingress]]\nid = "{name}"\naction = "{action}"\nobserve = "{observe}"\n{peer}\n'


@pytest.mark.parametrize("tagged", [True, False], ids=["tags", "addresses"])
@pytest.mark.parametrize(
    ("rules", "action", "policy", "observed", "observed_policy", "reason"),
    [
        ([("O", "reject", "continue"), ("A", "accept")], "accept", "A", "reject", "O", None),
        ([("O", "accept", "continue")], "reject", "default", "accept", "O", "policy"),
        ([("O", "accept", "apply")], "accept", "O", "accept", "O", ""),
        ([("O", "reject", "apply")], "reject", "O", "reject", "O", "policy"),
        ([("O", "reject", "apply"), ("R", "reject")], "reject", "R", "none", "", "policy"),
    ],
)
def test_observation_as_the_seed_works_it_through(
    rules: list[tuple[str, ...]],
    action: str,
    policy: str,
    observed: str,
    observed_policy: str,
    reason: str | None,
    *,
    tagged: bool,
) -> None:
    text = OBSERVED.format(rules="\n".join(_rule(*rule, tagged=tagged) for rule in rules))
    source = "10.0.0.9" if tagged else "10.0.0.8"
    packet = craft(f"tcp {source}:1 > 10.0.0.2:80 S")
    (record,) = engine_for(text).receive(packet, START_NS).records
    assert isinstance(record, FlowRecord)
    expected_reason = reason if reason is not None else ("" if tagged else "policy")
    assert (
        record.action.describe(),
        record.policy_id,
        record.observed_action.describe(),
        record.observed_policy_id,
        record.drop_reason,
    ) == (action, policy, observed, observed_policy, expected_reason)


def test_observing_everything_drops_nothing_and_says_what_it_would_have_done() -> None:
    engine = engine_for("observe_only = true\n" + POLICY)
    decision = engine.receive(craft("tcp 198.51.100.1:1 > 10.0.0.2:22 S"), START_NS)
    (record,) = decision.records
    assert isinstance(record, FlowRecord)
    assert decision.verdict is Verdict.ACCEPT
    assert record.observed_action is ActionType.REJECT
    play(
        engine,
        """
        tcp 192.0.2.1:1000 > 10.0.0.2:80 A         -> accept | accept observe-only state
        tcp 198.51.100.1:5 > 198.51.100.2:80 S     -> accept | packet context
        """,
    )


def test_packets_of_nobody_are_dropped_with_a_report(engine: Engine) -> None:
    (report,) = play(engine, "tcp 198.51.100.1:5 > 198.51.100.2:80 S -> drop | packet context")
    assert isinstance(report, PacketReport)
    assert (report.source_ip, report.source_port) == ("198.51.100.1", 5)
    assert (report.destination_ip, report.destination_port) == ("198.51.100.2", 80)
    assert (report.protocol, report.tcp_flags, report.length) == (6, 2, 40)
    assert report.event is PacketEvent.DROPPED
    assert report.payload[0] == 0x45


def test_packets_of_nobody_pass_on_demand() -> None:
    play(
        engine_for('unmatched = "accept"\n' + POLICY),
        "tcp 198.51.100.1:5 > 198.51.100.2:80 S -> accept",
    )


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "malformed:empty"),
        (b"\x00" * 40, "malformed:version"),
        (bytes(IP(src="192.0.2.1", dst="10.0.0.2") / TCP())[:30], "malformed:truncated"),
        (
            bytes(IP(src="192.0.2.1", dst="10.0.0.2", options=[IPOption_LSRR()]) / UDP()),
            "source-route",
        ),
        (bytes(IPv6(src="::ffff:192.0.2.1", dst="fd00::2") / TCP(dport=80)), "mapped-address"),
        (
            bytes(IP(src="192.0.2.1", dst="10.0.0.2", frag=100, proto=17) / Raw(b"x" * 8)),
            "fragment",
        ),
    ],
)
def test_what_cannot_be_judged_is_dropped_with_its_reason(
    engine: Engine, datagram: bytes, reason: str
) -> None:
    decision = engine.receive(QueuedPacket(data=datagram), START_NS)
    (report,) = decision.records
    assert decision.verdict is Verdict.DROP
    assert isinstance(report, PacketReport)
    assert report.drop_reason == reason
    assert engine.counters[f"dropped_{reason}"] == 1


def test_reports_on_dropped_packets_are_limited_and_the_rest_counted() -> None:
    engine = engine_for(max_packet_reports_per_second=3)
    records = [
        record
        for _ in range(10)
        for record in engine.receive(QueuedPacket(data=b"junk"), START_NS).records
    ]
    assert len(records) == 3
    assert engine.counters["packet_reports_suppressed"] == 7
    assert engine.receive(QueuedPacket(data=b"junk"), START_NS + SECOND_NS).records


def test_later_fragments_follow_the_first(engine: Engine) -> None:
    def fragment(*, offset: int, more: bool, dport: int) -> QueuedPacket:
        head = UDP(sport=9, dport=dport, len=64) / Raw(b"x" * 24)
        body = head if offset == 0 else Raw(b"x" * 32)
        ip = IP(
            src="192.0.2.1",
            dst="10.0.0.2",
            id=dport,
            frag=offset // 8,
            flags="MF" if more else 0,
            proto=17,
        )
        return QueuedPacket(data=bytes(ip / body))

    def verdicts(dport: int) -> list[Verdict]:
        first = fragment(offset=0, more=True, dport=dport)
        last = fragment(offset=32, more=False, dport=dport)
        return [engine.receive(packet, START_NS).verdict for packet in (first, last)]

    assert verdicts(53) == [Verdict.ACCEPT, Verdict.ACCEPT]
    assert verdicts(54) == [Verdict.DROP, Verdict.DROP]
    stray = fragment(offset=32, more=False, dport=53)
    assert engine.receive(stray, START_NS + 31 * SECOND_NS).verdict is Verdict.DROP


@pytest.mark.parametrize("known", [True, False])
def test_an_icmp_error_passes_with_the_flow_it_is_about(engine: Engine, *, known: bool) -> None:
    engine.receive(craft("udp 192.0.2.1:5000 > 10.0.0.2:53"), START_NS)
    quoted = IP(src="192.0.2.1", dst="10.0.0.2") / UDP(sport=5000 if known else 5001, dport=53)
    error = IP(src="10.0.0.1", dst="192.0.2.1") / ICMP(type=3, code=3) / quoted
    verdict = engine.receive(QueuedPacket(data=bytes(error)), START_NS).verdict
    assert verdict is (Verdict.ACCEPT if known else Verdict.DROP)


def test_an_icmpv6_error_passes_with_the_flow_it_is_about(engine: Engine) -> None:
    engine.receive(craft("tcp [2001:db8:1::1]:9 > [fd00::2]:80 S"), START_NS)
    quoted = IPv6(src="2001:db8:1::1", dst="fd00::2") / TCP(sport=9, dport=80)
    error = IPv6(src="fd00::1", dst="2001:db8:1::1") / ICMPv6DestUnreach() / quoted
    assert engine.receive(QueuedPacket(data=bytes(error)), START_NS).verdict is Verdict.ACCEPT


def test_an_error_that_goes_to_a_third_party_is_not_related(engine: Engine) -> None:
    engine.receive(craft("udp 192.0.2.1:5000 > 10.0.0.2:53"), START_NS)
    quoted = IP(src="192.0.2.1", dst="10.0.0.2") / UDP(sport=5000, dport=53)
    error = IP(src="10.0.0.2", dst="198.51.100.9") / ICMP(type=3, code=3) / quoted
    assert engine.receive(QueuedPacket(data=bytes(error)), START_NS).verdict is Verdict.DROP


def test_the_other_side_of_a_rejected_flow_may_open_its_own() -> None:
    text = """
version = 1
[[unit]]
id = "u"
select = { address = "10.0.0.2" }
[[unit.egress]]
id = "out"
action = "accept"
to = "any"
"""
    play(
        engine_for(text),
        """
        udp 192.0.2.1:123 > 10.0.0.2:123    -> drop | reject default policy
        udp 10.0.0.2:123 > 192.0.2.1:123    -> accept | accept out
        udp 192.0.2.1:123 > 10.0.0.2:123    -> accept
        tcp 192.0.2.1:7 > 10.0.0.2:7 S      -> drop | reject default policy
        tcp 10.0.0.2:7 > 192.0.2.1:7 RA     -> drop
        tcp 10.0.0.2:7 > 192.0.2.1:7 S      -> accept | accept out
        tcp 192.0.2.1:7 > 10.0.0.2:7 SA     -> accept
        """,
    )


def test_a_port_pair_can_be_used_again_after_the_connection_closed(engine: Engine) -> None:
    play(
        engine,
        """
        tcp 192.0.2.1:1000 > 10.0.0.2:80 S    -> accept | accept office-http
        tcp 10.0.0.2:80 > 192.0.2.1:1000 SA   -> accept
        tcp 192.0.2.1:1000 > 10.0.0.2:80 S    -> accept
        tcp 10.0.0.2:80 > 192.0.2.1:1000 S    -> accept
        tcp 10.0.0.2:80 > 192.0.2.1:1000 R    -> accept
        tcp 192.0.2.1:1000 > 10.0.0.2:80 S    -> accept | accept office-http
        """,
    )


def test_idle_flows_are_forgotten(engine: Engine) -> None:
    play(
        engine,
        """
        udp 192.0.2.1:5000 > 10.0.0.2:53    -> accept | accept office-dns
        udp 10.0.0.2:53 > 192.0.2.1:5000    -> accept
        wait 100
        udp 10.0.0.2:53 > 192.0.2.1:5000    -> accept
        wait 60
        wait 70
        udp 10.0.0.2:53 > 192.0.2.1:5000    -> drop | reject default policy
        """,
    )
    assert engine.flows.expired == 1
    assert len(engine.flows) == 1


def test_a_full_table_forgets_unanswered_flows_before_connections() -> None:
    engine = engine_for(max_flows=16)
    play(
        engine,
        """
        tcp 192.0.2.1:1000 > 10.0.0.2:80 S    -> accept | accept office-http
        tcp 10.0.0.2:80 > 192.0.2.1:1000 SA   -> accept
        """,
    )
    for port in range(2000, 2100):
        engine.receive(craft(f"tcp 192.0.2.9:{port} > 10.0.0.2:80 S"), START_NS)
        engine.receive(craft("tcp 192.0.2.1:1000 > 10.0.0.2:80 A"), START_NS)
    assert len(engine.flows) == 16
    assert engine.flows.evicted == 85
    decision = engine.receive(craft("tcp 10.0.0.2:80 > 192.0.2.1:1000 A"), START_NS)
    assert decision.verdict is Verdict.ACCEPT


def test_a_refuse_mark_sends_rejected_packets_round_once() -> None:
    engine = Engine(compile_policy(parse_policy(POLICY, "test.toml")), refuse_mark=0x200)
    packet = craft("tcp 192.0.2.1:1000 > 10.0.0.2:22 S mark=0x1")
    decision = engine.receive(packet, START_NS)
    assert (decision.verdict, decision.mark) == (Verdict.REPEAT, 0x201)
    again = craft("tcp 192.0.2.1:1000 > 10.0.0.2:22 S mark=0x201")
    decision = engine.receive(again, START_NS)
    assert (decision.verdict, decision.mark) == (Verdict.DROP, None)


def test_an_accept_mark_goes_with_what_was_judged_and_accepted() -> None:
    engine = Engine(compile_policy(parse_policy(POLICY, "test.toml")), accept_mark=0x400)
    accepted = craft("tcp 192.0.2.1:1000 > 10.0.0.2:80 S mark=0x1")
    for _ in range(2):
        decision = engine.receive(accepted, START_NS)
        assert (decision.verdict, decision.mark) == (Verdict.ACCEPT, 0x401)
    rejected = craft("tcp 192.0.2.1:1000 > 10.0.0.2:22 S mark=0x400")
    decision = engine.receive(rejected, START_NS)
    assert (decision.verdict, decision.mark) == (Verdict.DROP, None)
    assert engine.lane(accepted).accepted_mark == 0x401


SELECTED = """
version = 1
[[unit]]
id = "red"
select = { interface = "veth-red" }
[[unit.egress]]
id = "red-out"
action = "accept"
to = "any"
[[unit]]
id = "blue"
select = { interface = "veth-blue" }
[[unit]]
id = "job"
select = { mark = "0x100/0xff00" }
[[unit.egress]]
id = "job-out"
action = "accept"
to = "any"
"""


def test_units_behind_interfaces_are_kept_apart() -> None:
    play(
        engine_for(SELECTED),
        """
        udp 10.9.9.9:1 > 192.0.2.1:53 hook=2 in=veth-red out=eth0   -> accept | accept red-out
        udp 10.9.9.9:1 > 192.0.2.1:53 hook=2 in=veth-blue out=eth0  -> drop | reject default policy
        udp 192.0.2.1:53 > 10.9.9.9:1 hook=2 in=eth0 out=veth-red   -> accept
        udp 192.0.2.1:53 > 10.9.9.9:1 hook=2 in=eth0 out=veth-blue  -> drop | reject default policy
        """,
    )


def test_a_mark_names_who_sends_and_answers_come_without_it() -> None:
    play(
        engine_for(SELECTED),
        """
        udp 10.1.1.1:1 > 192.0.2.1:53 hook=3 out=eth0 mark=0x142    -> accept | accept job-out
        udp 192.0.2.1:53 > 10.1.1.1:1 hook=1 in=eth0                -> accept
        udp 192.0.2.1:54 > 10.1.1.1:1 hook=1 in=eth0 mark=0x100     -> drop | packet context
        udp 10.1.1.1:1 > 192.0.2.1:99 hook=3 out=eth0 mark=0x242    -> drop | packet context
        """,
    )


def test_the_host_itself_is_a_unit_where_packets_begin_or_end_here() -> None:
    text = """
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
[[unit.egress]]
id = "out"
action = "accept"
to = "any"
[[unit]]
id = "guest"
select = { interface = "veth0" }
[[unit.egress]]
id = "guest-out"
action = "accept"
to = "10.0.0.1"
"""
    play(
        engine_for(text),
        """
        tcp 192.0.2.1:9 > 10.0.0.1:22 S hook=1 in=eth0           -> accept | accept ssh
        tcp 10.0.0.1:22 > 192.0.2.1:9 SA hook=3 out=eth0         -> accept
        tcp 192.0.2.1:9 > 10.0.0.1:23 S hook=1 in=eth0           -> drop | reject default policy
        udp 10.0.0.1:9 > 192.0.2.1:53 hook=3 out=eth0            -> accept | accept out
        tcp 10.5.0.2:9 > 10.0.0.1:22 S hook=1 in=veth0           -> accept | accept ssh
        tcp 10.5.0.2:9 > 10.0.0.1:23 S hook=1 in=veth0           -> drop | reject default policy
        tcp 192.0.2.1:9 > 10.5.0.2:22 S hook=2 in=eth0 out=eth1  -> drop | packet context
        """,
    )


def test_a_new_policy_cuts_what_it_rejects_and_leaves_the_rest(engine: Engine) -> None:
    play(
        engine,
        """
        tcp 192.0.2.1:1000 > 10.0.0.2:80 S    -> accept | accept office-http
        tcp 10.0.0.2:80 > 192.0.2.1:1000 SA   -> accept
        udp 192.0.2.1:5000 > 10.0.0.2:53      -> accept | accept office-dns
        icmp 192.0.2.1 > 10.0.0.2 type=8      -> accept | accept office-ping
        tcp 192.0.2.1:1000 > 10.0.0.2:22 S    -> drop | reject default policy
        """,
    )
    text = POLICY.replace("ports = [53]", "ports = [54]").replace(
        "ports = [80]", "ports = [80, 22]"
    )
    engine.replace_policy(compile_policy(parse_policy(text, "test.toml")))
    play(
        engine,
        """
        tcp 10.0.0.2:80 > 192.0.2.1:1000 A    -> accept
        icmp 10.0.0.2 > 192.0.2.1 type=0      -> accept
        udp 10.0.0.2:53 > 192.0.2.1:5000      -> drop | reject default policy
        udp 192.0.2.1:5000 > 10.0.0.2:53      -> drop
        tcp 192.0.2.1:1000 > 10.0.0.2:22 S    -> accept | accept office-http
        """,
    )


def test_a_flow_counts_its_packets_and_bytes(engine: Engine) -> None:
    play(
        engine,
        """
        udp 192.0.2.1:5000 > 10.0.0.2:53 size=100   -> accept | accept office-dns
        udp 10.0.0.2:53 > 192.0.2.1:5000 size=500   -> accept
        """,
    )
    (flow,) = engine.flows
    assert (flow.packets, flow.bytes, flow.state) == (2, 600, FlowState.OPEN)
