"""Ways round a policy: each is tried on a real kernel, wherever rules can stand, and each is shut.

Every packet carries a word of its own. What passes the rules is caught behind them by raw sockets,
so the words that are caught are those of the packets that passed.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_SSRR, fragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    fragment6,
)
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Packet, Raw

from tests.live.conftest import ALLOWED, DENIED, QUEUE, Enforcer, wait_for
from trireme_datapath.kernel.install import run_iptables
from trireme_datapath.kernel.marks import DEFAULT_ACCEPT_MARK, ConnectionMark
from trireme_datapath.kernel.namespaces import Namespace, Network
from trireme_datapath.kernel.rules import QueueMode, QueueRules, RuleHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

pytestmark = [pytest.mark.live, pytest.mark.patient]

CLIENT = {4: "192.0.2.1", 6: "2001:db8::1"}
STRANGER = {4: "192.0.2.66", 6: "2001:db8::66"}
DIRECT = {4: "192.0.2.2", 6: "2001:db8::2"}
BEHIND = {4: "198.51.100.2", 6: "2001:db8:1::2"}
NEAR = {4: "192.0.2.3", 6: "2001:db8::3"}
FAR = {4: "198.51.100.1", 6: "2001:db8:1::1"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
# What a raw socket shows of these passed every rule: behind the hook, before any service.
PROTOCOLS = {4: (1, 4, 6, 17, 41, 47, 50), 6: (4, 6, 17, 41, 47, 50, 58, 59, 60)}
UNIT = """
version = 1
[networks]
clients = ["192.0.2.1", "2001:db8::1"]
[[unit]]
id = "server"
select = {{ {select} }}
[[unit.ingress]]
id = "service"
action = "accept"
from = "@clients"
protocol = ["tcp", "udp"]
ports = [8080]
[[unit.ingress]]
id = "ping"
action = "accept"
from = "@clients"
protocol = ["icmp", "icmpv6"]
icmp = ["echo-request"]
"""


# What the kernel takes for no whole packet, or sends elsewhere, before any rule sees it.
REFUSED_ANYWAY = {
    4: {"overlaps", "headless", "loose-route", "spent-route"},
    6: {"late-header", "headless", "live-routing"},
}

REPORTED = {4: {"source-route"}, 6: {"source-route", "mapped-address", "malformed:tiny-fragment"}}


class Place(enum.StrEnum):
    """Where the rules stand."""

    CONTAINER = "container"
    """In the network namespace of the server, which is a unit by its address."""
    HOST = "host"
    """On a host that is itself the unit, in both directions."""
    FORWARD = "forward"
    """On a host that the packets pass on their way to the server."""
    INTERFACE = "interface"
    """Likewise, with the server a unit by the interface that leads to it."""

    @property
    def forwards(self) -> bool:
        """Whether packets pass the judge."""
        return self in {Place.FORWARD, Place.INTERFACE}


def legacy(command: Sequence[str], text: str = "") -> str:
    """Run the older variant of a program of iptables."""
    return run_iptables([command[0].replace("tables", "tables-legacy"), *command[1:]], text)


class Yard:
    """A client, a server, perhaps a host between them, and an enforcer somewhere."""

    def __init__(self, network: Network, place: Place, version: int) -> None:
        self.place, self.version = place, version
        self.client = network.namespace("client")
        self.target = network.namespace("target")
        self.server = self.target  # who judges, as an enforcer calls it
        width = {4: 24, 6: 64}[version]
        client, gate = f"{CLIENT[version]}/{width}", f"{STRANGER[version]}/{width}"
        self.address = BEHIND[version] if place.forwards else DIRECT[version]
        own = f"{self.address}/{width}"
        if place.forwards:
            self.server = network.namespace("host")
            near, far = f"{NEAR[version]}/{width}", f"{FAR[version]}/{width}"
            network.link(self.client, "eth0", [client, gate], self.server, "near", [near])
            network.link(self.server, "far", [far], self.target, "eth0", [own])
            family = f"-{version}"
            self.client.ip(family, "route", "add", "default", "via", NEAR[version])
            self.target.ip(family, "route", "add", "default", "via", FAR[version])
            forwarding = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}[version]
            self.server.set_kernel(forwarding, "1")
        else:
            network.link(self.client, "eth0", [client, gate], self.target, "eth0", [own])
        for namespace in {self.server, self.target}:
            # What the kernel itself would refuse, it leaves to the policy here.
            for name in ("all", "near" if namespace is not self.target else "eth0"):
                if version == 4:
                    namespace.set_kernel(f"net/ipv4/conf/{name}/accept_source_route", "1")
                    namespace.set_kernel(f"net/ipv4/conf/{name}/rp_filter", "0")
                else:
                    namespace.set_kernel(f"net/ipv6/conf/{name}/accept_source_route", "1")
        first = self.server if place.forwards else self.target
        words = first.ip("link", "show", "near" if place.forwards else "eth0").split()
        self.hop = words[words.index("link/ether") + 1]
        self.policy = UNIT.format(select=self._selector())

    def _selector(self) -> str:
        return {
            Place.HOST: "local = true",
            Place.INTERFACE: 'interface = "far"',
        }.get(self.place, f'address = "{self.address}"')

    def rules(self, mode: QueueMode) -> QueueRules:
        hooks = {
            Place.CONTAINER: (RuleHook.INPUT,),
            Place.HOST: (RuleHook.INPUT, RuleHook.OUTPUT),
        }.get(self.place, (RuleHook.FORWARD,))
        return QueueRules(queue=QUEUE, hooks=hooks, mode=mode)

    def ip(self, **fields: object) -> Packet:
        layer = IP if self.version == 4 else IPv6
        return layer(**{"src": CLIENT[self.version], "dst": self.address, **fields})

    def send(self, packets: Sequence[Packet]) -> None:
        raw = self.client.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        with raw:
            raw.bind(("eth0", 0))
            kind = 0x0800 if self.version == 4 else 0x86DD
            for packet in packets:
                raw.send(bytes(Ether(src="02:00:00:00:00:01", dst=self.hop, type=kind) / packet))


class Catcher:
    """Takes what arrives at the server, whatever it is."""

    def __init__(self, namespace: Namespace, version: int) -> None:
        self._sockets = []
        for protocol in PROTOCOLS[version]:
            made = _raw(namespace, version, protocol)
            made.settimeout(0.05)
            self._sockets.append(made)
        self._caught: list[bytes] = []
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._catch, args=(one,)) for one in self._sockets]
        for thread in self._threads:
            thread.start()

    def _catch(self, made: socket.socket) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                self._caught.append(made.recv(65_535))

    @property
    def caught(self) -> bytes:
        """All that arrived."""
        return b"\n".join(self._caught)

    def close(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()
        for made in self._sockets:
            made.close()


def _raw(namespace: Namespace, version: int, protocol: int) -> socket.socket:
    return namespace.call(lambda: socket.socket(FAMILY[version], socket.SOCK_RAW, protocol))


# The packets. A port that is denied is tried in every disguise; where the disguise itself is what
# is refused, the port is one that is allowed.


def udp(port: int, word: str, size: int = 0) -> Packet:
    return UDP(sport=40_000, dport=port) / Raw(word.encode() + b"." * size)


def tcp(port: int, word: str, flags: str) -> Packet:
    return TCP(sport=40_001, dport=port, flags=flags, seq=7, ack=9) / Raw(word.encode())


def pieces_4(yard: Yard, body: Packet, size: int) -> list[Packet]:
    return list(fragment(yard.ip(id=hash(bytes(body)) & 0xFFFF) / body, size))


def overlapping_4(yard: Yard) -> list[Packet]:
    """A first piece to the allowed port, and a second one that writes the denied one over it."""
    good, bad = udp(ALLOWED, "whatever", 16), udp(DENIED, "overlaps", 16)
    start = {"id": 4_242, "proto": 17}
    first = yard.ip(flags="MF", **start) / Raw(bytes(good)[:24])
    again = yard.ip(flags="MF", **start) / Raw(bytes(bad)[:16])
    last = yard.ip(frag=3, **start) / Raw(bytes(bad)[24:])
    return [first, again, last]


def ways_of_4(yard: Yard) -> dict[str, list[Packet]]:
    def quoted(word: str) -> Packet:
        return IP(src=yard.address, dst=CLIENT[4]) / UDP(sport=DENIED, dport=9) / Raw(word.encode())

    route = [STRANGER[4]]
    return {
        "tiny-pieces": pieces_4(yard, udp(DENIED, "tiny-pieces", 40), 8),
        "tiny-segment": pieces_4(yard, tcp(DENIED, "tiny-segment", "S"), 8),
        "large-pieces": pieces_4(yard, udp(DENIED, "large-pieces", 3_000), 1_000),
        "overlaps": overlapping_4(yard),
        "headless": [yard.ip(id=77, frag=64, proto=17) / Raw(b"headless")],
        "loose-route": [
            yard.ip(options=[IPOption_LSRR(routers=route)]) / udp(ALLOWED, "loose-route")
        ],
        "spent-route": [
            yard.ip(options=[IPOption_SSRR(routers=route, pointer=8)]) / udp(ALLOWED, "spent-route")
        ],
        "ip-in-ip": [yard.ip() / yard.ip() / udp(DENIED, "ip-in-ip")],
        "six-in-four": [yard.ip(proto=41) / IPv6(dst="2001:db8::2") / udp(DENIED, "six-in-four")],
        "in-gre": [yard.ip() / GRE() / yard.ip() / udp(ALLOWED, "in-gre")],
        "an-error": [yard.ip() / ICMP(type=3, code=1) / quoted("an-error")],
        "a-redirect": [yard.ip() / ICMP(type=5, code=1, gw=CLIENT[4]) / quoted("a-redirect")],
        "a-reply": [yard.ip() / ICMP(type=0, id=5, seq=1) / Raw(b"a-reply")],
        "a-stamp": [yard.ip() / ICMP(type=13) / Raw(b"a-stamp")],
    }


def ways_of_6(yard: Yard) -> dict[str, list[Packet]]:
    quoted = IPv6(src=yard.address, dst=CLIENT[6]) / UDP(sport=DENIED, dport=9)
    chain = IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt()
    hidden = yard.ip() / IPv6ExtHdrFragment(id=5) / udp(DENIED, "hidden-pieces", 2_000)
    short = bytes(IPv6ExtHdrDestOpt(nh=17)) + bytes(udp(DENIED, "late-header"))
    return {
        "hidden-pieces": list(fragment6(hidden, 1_280)),
        "one-piece": [yard.ip() / IPv6ExtHdrFragment(id=6) / udp(DENIED, "one-piece")],
        "late-header": [
            yard.ip() / IPv6ExtHdrFragment(id=8, m=1, nh=60) / Raw(short[:8]),
            yard.ip() / IPv6ExtHdrFragment(id=8, offset=1, nh=60) / Raw(short[8:]),
        ],
        "headless": [yard.ip() / IPv6ExtHdrFragment(id=7, offset=9, nh=17) / Raw(b"headless")],
        "behind-options": [yard.ip() / chain / udp(DENIED, "behind-options")],
        "spent-routing": [
            yard.ip()
            / IPv6ExtHdrRouting(type=0, segleft=0, addresses=[STRANGER[6]])
            / udp(DENIED, "spent-routing")
        ],
        "live-routing": [
            yard.ip()
            / IPv6ExtHdrRouting(type=0, segleft=1, addresses=[yard.address])
            / udp(ALLOWED, "live-routing")
        ],
        "mapped": [yard.ip(src="::ffff:192.0.2.1") / udp(ALLOWED, "mapped")],
        "no-next": [yard.ip(nh=59) / Raw(b"no-next")],
        "six-in-six": [yard.ip() / yard.ip() / udp(DENIED, "six-in-six")],
        "four-in-six": [yard.ip(nh=4) / IP(dst="192.0.2.2") / udp(DENIED, "four-in-six")],
        "in-gre": [yard.ip() / GRE(proto=0x86DD) / yard.ip() / udp(ALLOWED, "in-gre")],
        "an-error": [yard.ip() / ICMPv6DestUnreach(code=1) / quoted / Raw(b"an-error")],
        "too-big": [yard.ip() / ICMPv6PacketTooBig(mtu=1_280) / quoted / Raw(b"too-big")],
    }


def ways_round(yard: Yard) -> dict[str, list[Packet]]:
    """Give all of them, by the word that they carry."""
    own = ways_of_4(yard) if yard.version == 4 else ways_of_6(yard)
    wrong = yard.ip() / udp(DENIED, "bad-sum")
    wrong[UDP].chksum = 0x1234
    middle = {
        f"middle-{flags.lower() or 'none'}": [
            yard.ip() / tcp(ALLOWED, f"middle-{flags.lower() or 'none'}", flags)
        ]
        for flags in ("A", "PA", "SA", "FA", "R", "RA", "SF", "SR", "", "FPU", "SAFR")
    }
    return {
        **own,
        **middle,
        "in-the-open": [yard.ip() / udp(DENIED, "in-the-open")],
        "opening": [yard.ip() / tcp(DENIED, "opening", "S")],
        "bad-sum": [wrong],
        "somebody": [yard.ip(src=STRANGER[yard.version]) / udp(ALLOWED, "somebody")],
    }


def mark_everything(
    judge: Namespace, run: Callable[[Sequence[str], str], str], version: int
) -> None:
    """Let somebody else's rules put our own marks on all that comes, before ours see it."""
    program = "iptables" if version == 4 else "ip6tables"
    mark = ConnectionMark()
    add = [program, "-t", "mangle", "-A", "PREROUTING"]
    for target in (
        ["CONNMARK", "--set-xmark", f"{mark.accepted | mark.exempt:#x}"],
        ["CONNMARK", "--set-xmark", f"{mark.accepted:#x}"],
        ["MARK", "--set-xmark", f"{DEFAULT_ACCEPT_MARK:#x}"],
    ):
        judge.call(lambda words=[*add, "-j", *target]: run(words, ""))  # type: ignore[misc]  # bound now


@pytest.fixture
def yard(means: None, place: Place, version: int) -> Iterator[Yard]:  # noqa: ARG001  fails first
    with Network() as network:
        yield Yard(network, place, version)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("place", [Place.CONTAINER, Place.FORWARD])
def test_where_no_rule_is_they_lead_to_the_server(yard: Yard) -> None:
    catcher = Catcher(yard.target, yard.version)
    try:
        ways = ways_round(yard)
        for packets in ways.values():
            yard.send(packets)
        yard.send([yard.ip() / udp(ALLOWED, "the-honest-one")])
        assert wait_for(lambda: b"the-honest-one" in catcher.caught, 10)
        refused = {word for word in ways if word.encode() not in catcher.caught}
    finally:
        catcher.close()
    assert refused <= REFUSED_ANYWAY[yard.version]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("place", list(Place))
@pytest.mark.parametrize(
    ("variant", "mode"),
    [("nft", QueueMode.NEW), ("nft", QueueMode.ALL), ("legacy", QueueMode.NEW)],
)
def test_every_way_round_is_shut(yard: Yard, variant: str, mode: QueueMode) -> None:
    run = legacy if variant == "legacy" else run_iptables
    catcher = Catcher(yard.target, yard.version)
    with contextlib.ExitStack() as stack:
        stack.callback(catcher.close)
        ways = ways_round(yard)
        enforcer = Enforcer(
            yard,  # type: ignore[arg-type]  # it has what is used of a laboratory
            "netlink",
            policy=yard.policy,
            rules=yard.rules(mode),
            run=run,
        )
        stack.callback(enforcer.stop)
        assert yard.server.call(enforcer.rules.verify) == []
        mark_everything(yard.server, run, yard.version)
        for packets in ways.values():
            yard.send(packets)
        # What is sent last and allowed tells that all before it was judged.
        yard.send([yard.ip() / udp(ALLOWED, "the-honest-one")])
        assert wait_for(lambda: b"the-honest-one" in catcher.caught, 10)
        passed = sorted(word for word in ways if word.encode() in catcher.caught)
        assert passed == []
        # What belongs to no flow is reported as a packet, with its reason and its first bytes.
        reports = enforcer.collector.packets
        assert all(one.drop_reason and len(one.payload or b"") <= 64 for one in reports)
        assert {one.drop_reason for one in reports} >= REPORTED[yard.version], reports
        assert enforcer.waiting() == 0
        assert enforcer.backend.counters["judge_errors"] == 0
