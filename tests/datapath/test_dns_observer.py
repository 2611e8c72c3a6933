"""Names that units look up, through the doors of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP

from trireme_collector.records import DNSRequestReport, EndPoint, EndPointType, Record
from trireme_datapath.dns_observer import DNSLimits
from trireme_datapath.engine import Engine
from trireme_datapath.packets import Decision, QueuedPacket, Verdict
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import SECOND_NS, START_NS, tell

if TYPE_CHECKING:
    from scapy.packet import Packet

POLICY = """
version = 1

[[unit]]
id = "app"
context = "ctx-app"
namespace = "/shop"
select = { address = "10.0.0.2" }

[[unit.egress]]
id = "dns"
action = "accept"
to = "10.0.0.53"
protocol = ["udp", "tcp"]
ports = 53

[[unit.egress]]
id = "api"
action = "accept"
to = ["dns:api.example.com", "dns:*.cdn.example"]
protocol = "tcp"
ports = 443

[[unit]]
id = "other"
select = { address = "10.0.0.3" }

[[unit.egress]]
id = "dns"
action = "accept"
to = "10.0.0.53"
protocol = "udp"
ports = 53

[[unit.egress]]
id = "api"
action = "accept"
to = "dns:api.example.com"
protocol = "tcp"
"""


class Wire:
    """An engine that observes DNS, fed with packets of a client and its server."""

    def __init__(self, limits: DNSLimits | None = None, policy: str = POLICY) -> None:
        self.engine = Engine(compile_policy(parse_policy(policy)), accept_mark=0x40000)
        self.engine.observe_dns(limits or DNSLimits())
        self.now_ns = START_NS
        self.records: list[Record] = []

    def send(self, packet: Packet) -> Decision:
        decision = self.engine.receive(QueuedPacket(data=bytes(packet)), self.now_ns)
        self.records += decision.records
        self.tick()
        return decision

    def tick(self, seconds: float = 0) -> None:
        self.now_ns += round(seconds * SECOND_NS)
        self.records += self.engine.take_records(self.now_ns)

    @property
    def reports(self) -> list[DNSRequestReport]:
        return [one for one in self.records if isinstance(one, DNSRequestReport)]

    @property
    def told(self) -> list[tuple[str, str, int]]:
        return [(one.name_lookup, one.error, one.count) for one in self.reports]

    def ask(
        self, name: str, *, number: int = 1, port: int = 4000, client: str = "10.0.0.2"
    ) -> Packet:
        query = dns.message.make_query(name, "A", id=number)
        packet = IP(src=client, dst="10.0.0.53") / UDP(sport=port, dport=53) / query.to_wire()
        assert self.send(packet).verdict is Verdict.ACCEPT
        return packet

    def answer(
        self,
        name: str,
        *texts: str,
        number: int = 1,
        port: int = 4000,
        ttl: int = 300,
        rcode: str = "NOERROR",
        client: str = "10.0.0.2",
    ) -> Decision:
        message = dns.message.make_response(dns.message.make_query(name, "A", id=number))
        message.set_rcode(dns.rcode.from_text(rcode))
        for text in texts:
            owner, kind, value = text.split()
            message.answer.append(dns.rrset.from_text(owner, ttl, "IN", kind, value))
        wire = message.to_wire()
        return self.send(IP(src="10.0.0.53", dst=client) / UDP(sport=53, dport=port) / wire)

    def look_up(self, name: str, *texts: str, number: int = 1, **options: object) -> None:
        self.ask(name, number=number)
        self.answer(name, *texts, number=number, **options)  # type: ignore[arg-type]  # passed on

    def connect(self, address: str, *, port: int = 50_000, client: str = "10.0.0.2") -> Verdict:
        packet = IP(src=client, dst=address) / TCP(sport=port, dport=443, flags="S")
        return self.send(packet).verdict


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_a_look_up_is_reported_when_it_is_answered(wire: Wire) -> None:
    wire.ask("API.example.com")
    assert wire.reports == []
    wire.answer("api.example.com", "api.example.com. A 192.0.2.7")
    (report,) = wire.reports
    assert (report.name_lookup, report.error, report.count) == ("api.example.com.", "", 1)
    assert (report.context_id, report.namespace) == ("ctx-app", "/shop")
    assert (report.source.id, report.source.ip, report.source.port) == ("app", "10.0.0.2", 0)
    assert report.source.type is EndPointType.PU
    assert isinstance(report.destination, EndPoint)
    assert (report.destination.ip, report.destination.port) == ("10.0.0.53", 53)
    assert report.ips == ("192.0.2.7",)
    assert report.time_ns == wire.now_ns


def test_equal_look_ups_are_one_report_and_another_with_the_rest(wire: Wire) -> None:
    for number in range(10):
        wire.look_up("a.example", "a.example. A 192.0.2.1", number=number)
        wire.tick(1)
    assert wire.told == [("a.example.", "", 1)]
    wire.tick(30)
    assert wire.told == [("a.example.", "", 1), ("a.example.", "", 9)]
    wire.tick(60)
    wire.look_up("a.example", "a.example. A 192.0.2.1")
    assert wire.told[2:] == [("a.example.", "", 1)]


def test_a_name_looked_up_once_is_forgotten_after_half_a_minute(wire: Wire) -> None:
    wire.look_up("a.example", "a.example. A 192.0.2.1")
    wire.tick(31)
    wire.look_up("a.example", "a.example. A 192.0.2.1")
    assert wire.told == [("a.example.", "", 1)] * 2


@pytest.mark.parametrize("error", ["NXDOMAIN", "SERVFAIL", "REFUSED"])
def test_failures_are_reported_with_their_name(wire: Wire, error: str) -> None:
    wire.look_up("gone.example", rcode=error)
    assert wire.told == [("gone.example.", error, 1)]


def test_silence_is_a_failure_too(wire: Wire) -> None:
    wire.ask("slow.example")
    wire.tick(4.9)
    assert wire.told == []
    wire.ask("slow.example")  # again: still one look-up
    wire.tick(0.2)
    assert wire.told == [("slow.example.", "timeout", 1)]
    wire.answer("slow.example", "slow.example. A 192.0.2.1")
    assert len(wire.told) == 1
    assert wire.engine.counters["dns_answers_unasked"] == 1


def test_counts_that_run_are_told_at_the_end(wire: Wire) -> None:
    for number in range(3):
        wire.look_up("a.example", number=number)
    last = wire.engine.take_last_records(wire.now_ns)
    assert [one.count for one in last if isinstance(one, DNSRequestReport)] == [2]


def test_packets_of_look_ups_never_get_the_accept_mark(wire: Wire) -> None:
    query = IP(src="10.0.0.2", dst="10.0.0.53") / UDP(sport=4000, dport=53) / b"any"
    assert wire.send(query).mark is None
    wire.ask("api.example.com")
    assert wire.answer("api.example.com", "api.example.com. A 192.0.2.7").mark is None
    packet = IP(src="10.0.0.2", dst="192.0.2.7") / TCP(sport=5, dport=443, flags="S")
    assert wire.send(packet).mark == 0x40000


def test_an_answer_opens_what_a_rule_names(wire: Wire) -> None:
    assert wire.connect("192.0.2.7") is Verdict.DROP
    wire.look_up("api.example.com", "api.example.com. A 192.0.2.7")
    assert wire.connect("192.0.2.7") is Verdict.ACCEPT  # the same connection, tried again
    assert wire.connect("192.0.2.7", port=50_001) is Verdict.ACCEPT
    assert wire.connect("192.0.2.8", port=50_002) is Verdict.DROP
    flows = [tell(one) for one in wire.records if tell(one) != "DNSRequestReport"]
    assert flows == [
        "reject default policy",
        "accept dns",
        "accept api",
        "accept api",
        "reject default policy",
    ]
    last = next(one for one in wire.records if tell(one) == "accept api")
    assert last.destination.id == "api.example.com"  # type: ignore[union-attr]  # a flow


def test_what_one_unit_learned_opens_nothing_for_another(wire: Wire) -> None:
    wire.look_up("api.example.com", "api.example.com. A 192.0.2.7")
    assert wire.connect("192.0.2.7", client="10.0.0.3") is Verdict.DROP
    wire.ask("api.example.com", client="10.0.0.3")
    wire.answer("api.example.com", "api.example.com. A 192.0.2.7", client="10.0.0.3")
    assert wire.connect("192.0.2.7", client="10.0.0.3") is Verdict.ACCEPT


def test_aliases_are_followed_and_wildcards_hold_below_only(wire: Wire) -> None:
    wire.look_up(
        "www.cdn.example",
        "www.cdn.example. CNAME edge.other.",
        "edge.other. A 192.0.2.9",
        "stray.cdn.example. A 192.0.2.10",
    )
    assert wire.connect("192.0.2.9") is Verdict.ACCEPT
    assert wire.connect("192.0.2.10") is Verdict.DROP
    wire.look_up("cdn.example", "cdn.example. A 192.0.2.11", number=2)
    assert wire.connect("192.0.2.11") is Verdict.DROP
    wire.look_up("notcdn.example", "notcdn.example. A 192.0.2.12", number=3)
    assert wire.connect("192.0.2.12") is Verdict.DROP


@pytest.mark.parametrize(
    "options",
    [{"number": 2}, {"port": 4001}, {"client": "10.0.0.3"}],
    ids=["number", "port", "client"],
)
def test_answers_to_no_question_teach_nothing(wire: Wire, options: dict[str, object]) -> None:
    wire.ask("api.example.com")
    wire.ask("x.example", port=4001, number=7)
    wire.ask("x.example", client="10.0.0.3", number=7)
    wire.answer("api.example.com", "api.example.com. A 192.0.2.7", **options)  # type: ignore[arg-type]  # passed on
    assert wire.connect("192.0.2.7") is Verdict.DROP


def test_the_answer_has_to_repeat_the_name(wire: Wire) -> None:
    wire.ask("x.example")
    wire.answer("api.example.com", "api.example.com. A 192.0.2.7")
    assert wire.connect("192.0.2.7") is Verdict.DROP


@pytest.mark.parametrize(("ttl", "lives"), [(0, 60), (300, 300), (604_800, 86_400)])
def test_lifetimes_are_kept_between_bounds(wire: Wire, ttl: int, lives: int) -> None:
    wire.look_up("api.example.com", "api.example.com. A 192.0.2.7", ttl=ttl)
    wire.tick(lives - 2)
    assert wire.connect("192.0.2.7", port=1) is Verdict.ACCEPT
    wire.tick(4)
    assert wire.connect("192.0.2.7", port=2) is Verdict.DROP


def test_an_open_connection_outlives_the_answer(wire: Wire) -> None:
    wire.look_up("api.example.com", "api.example.com. A 192.0.2.7", ttl=1)
    assert wire.connect("192.0.2.7") is Verdict.ACCEPT
    wire.send(IP(src="192.0.2.7", dst="10.0.0.2") / TCP(sport=443, dport=50_000, flags="SA"))
    wire.tick(100)
    data = IP(src="10.0.0.2", dst="192.0.2.7") / TCP(sport=50_000, dport=443, flags="A")
    assert wire.send(data).verdict is Verdict.ACCEPT


def test_what_was_learned_outlives_a_reload(wire: Wire) -> None:
    wire.look_up("api.example.com", "api.example.com. A 192.0.2.7")
    wire.engine.replace_policy(compile_policy(parse_policy(POLICY + "# again\n")))
    assert wire.connect("192.0.2.7") is Verdict.ACCEPT
    without = POLICY.replace('"dns:api.example.com", ', "")
    wire.engine.replace_policy(compile_policy(parse_policy(without)))
    assert wire.connect("192.0.2.7", port=9) is Verdict.DROP


def test_what_one_engine_learned_holds_for_another_as_long(wire: Wire) -> None:
    wire.look_up("api.example.com", "api.example.com. A 198.51.100.7")
    learned = list(wire.engine.learned_names())
    assert [(unit, name) for unit, name, _, _ in learned] == [("app", "api.example.com")]
    other = Wire()
    assert other.connect("198.51.100.7") is Verdict.DROP
    other.engine.learn_names(learned)
    assert other.connect("198.51.100.7", port=50_001) is Verdict.ACCEPT
    other.engine.learn_names([("stranger", "api.example.com", b"\xc0\0\2\7", 2**62)])
    assert list(other.engine.learned_names()) == learned
    (_, _, _, expires_ns) = learned[0]
    other.tick((expires_ns - other.now_ns) / 1e9 + 1)
    assert other.connect("198.51.100.7", port=50_002) is Verdict.DROP


def test_look_ups_over_tcp(wire: Wire) -> None:
    client, server = {"sport": 6000, "dport": 53}, {"sport": 53, "dport": 6000}
    there, back = IP(src="10.0.0.2", dst="10.0.0.53"), IP(src="10.0.0.53", dst="10.0.0.2")
    query = dns.message.make_query("api.example.com", "A", id=5)
    reply = dns.message.make_response(query)
    reply.answer.append(dns.rrset.from_text("api.example.com.", 60, "IN", "A", "192.0.2.7"))
    asked, told = (len(one.to_wire()).to_bytes(2, "big") + one.to_wire() for one in (query, reply))
    wire.send(there / TCP(**client, seq=10, flags="S"))
    wire.send(back / TCP(**server, seq=900, ack=11, flags="SA"))
    wire.send(there / TCP(**client, seq=11, flags="A"))
    wire.send(there / TCP(**client, seq=11, flags="PA") / asked[:9])
    wire.send(there / TCP(**client, seq=20, flags="PA") / asked[9:])
    wire.send(back / TCP(**server, seq=901, flags="PA") / told)
    assert wire.told == [("api.example.com.", "", 1)]
    assert wire.connect("192.0.2.7") is Verdict.ACCEPT


def test_a_truncated_answer_is_asked_for_again_over_tcp(wire: Wire) -> None:
    wire.ask("big.example")
    message = dns.message.make_response(dns.message.make_query("big.example", "A", id=1))
    message.flags |= 0x0200
    wire.send(IP(src="10.0.0.53", dst="10.0.0.2") / UDP(sport=53, dport=4000) / message.to_wire())
    wire.tick(10)
    assert wire.told == []


def test_an_answer_that_the_capture_cut_still_counts(wire: Wire) -> None:
    wire.ask("api.example.com")
    message = dns.message.make_response(dns.message.make_query("api.example.com", "A", id=1))
    rrset = dns.rrset.from_text(
        "api.example.com.", 60, "IN", "A", *(f"192.0.2.{n}" for n in range(1, 9))
    )
    message.answer.append(rrset)
    data = bytes(
        IP(src="10.0.0.53", dst="10.0.0.2") / UDP(sport=53, dport=4000) / message.to_wire()
    )
    packet = QueuedPacket(data=data[:110], original_length=len(data))
    wire.engine.receive(packet, wire.now_ns)
    wire.tick()
    assert wire.told == [("api.example.com.", "", 1)]
    (report,) = wire.reports
    assert isinstance(report.ips, tuple)
    assert 0 < len(report.ips) < 8
    assert wire.connect(report.ips[0]) is Verdict.ACCEPT


def test_a_flood_of_questions_fills_no_memory() -> None:
    limits = DNSLimits(max_pending=16, max_names=16, max_reports_per_second=20)
    wire = Wire(limits)
    for number in range(100):
        wire.look_up(f"n{number}.example", number=number)
    assert len(wire.told) == 20
    assert wire.engine.counters["dns_reports_suppressed"] == 80
    for number in range(100):
        wire.ask(f"n{number}.example", number=number)
    assert wire.engine.counters["dns_questions_forgotten"] == 84


def test_garbage_on_the_port_is_counted(wire: Wire) -> None:
    wire.send(IP(src="10.0.0.2", dst="10.0.0.53") / UDP(sport=9, dport=53) / b"garbage")
    wire.send(IP(src="10.0.0.2", dst="10.0.0.53") / UDP(sport=9, dport=53) / bytes(12))
    assert wire.engine.counters["dns_malformed"] == 1
    assert wire.told == []


def test_who_asks_a_unit_is_not_looked_at() -> None:
    text = (
        POLICY
        + """
[[unit]]
id = "resolver"
select = { address = "10.0.0.99" }
[[unit.ingress]]
id = "all"
action = "accept"
from = "any"
"""
    )
    wire = Wire(policy=text)
    query = dns.message.make_query("x.example", "A").to_wire()
    packet = IP(src="192.0.2.1", dst="10.0.0.99") / UDP(sport=4000, dport=53) / query
    assert wire.send(packet).mark == 0x40000  # the kernel keeps the rest
    wire.tick(60)
    assert wire.told == []
    assert not wire.engine.counters["dns_questions"]


def test_the_fast_door_leaves_look_ups_to_the_clear_one(wire: Wire) -> None:
    packet = wire.ask("a.example")
    queued = QueuedPacket(data=bytes(packet))
    lane = wire.engine.lane(queued)
    data = queued.data
    row = (
        1,
        b"k",
        int(lane.expected[len(data)]),
        data[0],
        len(data),
        int.from_bytes(data[6:10], "big"),
        data[12:24],
        int.from_bytes(data[24:26], "big"),
        int.from_bytes(data[32:34], "big"),
    )
    assert wire.engine.receive_batch([row], lane, b"k", wire.now_ns) == ([], [0])
    fresh = (*row[:6], data[12:20] + b"\x10\x10\0\x35", *row[7:])
    assert wire.engine.receive_batch([fresh], lane, b"k", wire.now_ns) == ([], [0])


@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.binary(max_size=80),
            st.integers(0, 3),
            st.sampled_from(["S", "A", "PA", "FA", "R", ""]),
        ),
        max_size=25,
    )
)
def test_any_payload_on_the_port_is_borne(
    packets: list[tuple[bool, bytes, int, str]],
) -> None:
    wire = Wire(DNSLimits(max_pending=16, max_streams=2))
    for from_client, payload, port, flags in packets:
        ends = ("10.0.0.2", "10.0.0.53") if from_client else ("10.0.0.53", "10.0.0.2")
        ports = (4000 + port, 53) if from_client else (53, 4000 + port)
        if flags:
            head = TCP(sport=ports[0], dport=ports[1], flags=flags, seq=len(payload))
        else:
            head = UDP(sport=ports[0], dport=ports[1])
        wire.send(IP(src=ends[0], dst=ends[1]) / head / payload)
    wire.tick(100)
    assert wire.engine.counters["dns_answers"] <= wire.engine.counters["dns_questions"]
