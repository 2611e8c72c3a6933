"""What accepted connections carry, and what marks let pass, with a real kernel."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from tests.live.conftest import (
    ALLOWED,
    CLIENT,
    DENIED,
    POLICY,
    QUEUE,
    SERVER,
    Lab,
    wait_for,
)
from trireme_collector.records import ActionType, FlowPhase, FlowRecord
from trireme_collector.testing import MemoryCollector
from trireme_datapath.accounting import AccountLimits
from trireme_datapath.agent._accounting import AgentAccounting
from trireme_datapath.backends.netlink import (
    OPENING_BATCHES,
    NetlinkBackend,
    NetlinkQueue,
    QueueSettings,
)
from trireme_datapath.backends.paired import PairedBackend
from trireme_datapath.engine import Engine, EngineLimits
from trireme_datapath.kernel.conntrack import (
    ConnectionTable,
    ConnectionTracker,
    TrackerSettings,
    enable_accounting,
    is_local_address,
)
from trireme_datapath.kernel.install import KernelRules, run_iptables
from trireme_datapath.kernel.marks import DEFAULT_ACCEPT_MARK, ConnectionMark
from trireme_datapath.kernel.rules import QueueMode, QueueRules, RuleHook
from trireme_datapath.loop import DatapathLoop
from trireme_datapath.policy import compile_policy, parse_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trireme_datapath.backends.paced import PacedBackend

pytestmark = pytest.mark.live

SECOND = 8082
POLICY_OF_TWO = POLICY.replace("[8080]", "[8080, 8082]")
"""A policy that lets two services pass; `POLICY` lets one."""
TIMEOUTS = (
    "tcp_timeout_time_wait",
    "tcp_timeout_close",
    "udp_timeout",
    "udp_timeout_stream",
    "icmp_timeout",
    "icmpv6_timeout",
)


class Accountant:
    """An enforcer in the server's namespace that follows connections."""

    def __init__(
        self,
        lab: Lab,
        *,
        policy: str = POLICY,
        rules: QueueRules | None = None,
        tracker: TrackerSettings | None = None,
        limits: EngineLimits | None = None,
        update_seconds: float = 60,
        run: Callable[[Sequence[str], str], str] = run_iptables,
    ) -> None:
        rules = rules or QueueRules(queue=QUEUE, hooks=(RuleHook.INPUT,))
        marked = rules.mode is QueueMode.NEW
        mark = ConnectionMark() if marked else None
        self._server = lab.server
        assert lab.server.call(enable_accounting) == []
        self.engine = Engine(
            compile_policy(parse_policy(policy, "live.toml")),
            limits or EngineLimits(),
            accept_mark=DEFAULT_ACCEPT_MARK if marked else None,
        )
        account = self.engine.keep_account(
            AccountLimits(update_seconds=update_seconds), mark=mark, is_local=is_local_address
        )
        self.queue = lab.server.call(
            lambda: NetlinkBackend.open(QUEUE, self.engine, QueueSettings(max_length=30_000))
        )
        tracker = tracker or TrackerSettings(list_seconds=1)
        self.tracker = lab.server.call(lambda: ConnectionTracker.open(account, tracker, mark))
        self.both = AgentAccounting(self.queue, self.tracker, self.engine)
        self.rules = KernelRules(rules, run=run)
        lab.server.call(self.rules.install)
        assert lab.server.call(self.rules.verify) == []
        self.collector = MemoryCollector()
        self.loop = DatapathLoop(self.both, self.both, self.collector)
        self.reload: str | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self._server.enter()
        self.loop.run(until=self._obey)

    def _obey(self) -> bool:
        if self.reload is not None:
            self.engine.replace_policy(compile_policy(parse_policy(self.reload, "live.toml")))
            self.both.revoke(time.time_ns())
            self.reload = None
        return False

    def enforce(self, policy: str) -> None:
        """Replace the policy; return once it is in force."""
        self.reload = policy
        self.loop.wake()
        assert wait_for(lambda: self.reload is None)

    def of_phase(self, phase: FlowPhase) -> list[FlowRecord]:
        return [one for one in self.collector.flows if one.phase is phase]

    @property
    def ended(self) -> list[FlowRecord]:
        return self.of_phase(FlowPhase.ENDED)

    def stop(self) -> None:
        self.loop.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.both.close()
        self.loop.close()


@pytest.fixture
def follow(lab: Lab) -> Iterator[Callable[..., Accountant]]:
    for name in TIMEOUTS:
        lab.server.set_kernel(f"net/netfilter/nf_conntrack_{name}", "1")
    with contextlib.ExitStack() as stack:

        def start(**settings: object) -> Accountant:
            made = Accountant(lab, **settings)  # type: ignore[arg-type]  # passed on as it is
            stack.callback(made.stop)
            return made

        yield start


def count_at_client(lab: Lab, version: int, protocol: str, port: int) -> Callable[[], list[int]]:
    """Let the client's own firewall count; give packets and bytes sent, then received."""
    program = "iptables" if version == 4 else "ip6tables"
    lab.client.run([program, "-A", "OUTPUT", "-p", protocol, "--dport", str(port)])
    lab.client.run([program, "-A", "INPUT", "-p", protocol, "--sport", str(port)])

    def counts() -> list[int]:
        found: dict[str, list[int]] = {}
        for line in lab.client.run([f"{program}-save", "-c"]).splitlines():
            match = re.match(r"\[(\d+):(\d+)\] -A (\S+) -p (\S+) .*port (\d+)", line)
            if match and match.group(4, 5) == (protocol, str(port)):
                found[match.group(3)] = [int(match.group(1)), int(match.group(2))]
        return found["OUTPUT"] + found["INPUT"]

    return counts


def carried(records: Sequence[FlowRecord]) -> list[int]:
    """Add up what records of one flow say: sent packets and bytes, answered ones."""
    values = [
        (r.source_packets, r.source_bytes, r.destination_packets, r.destination_bytes)
        for r in records
    ]
    assert all(isinstance(one, int) for row in values for one in row)
    return [sum(int(row[i] or 0) for row in values) for i in range(4)]


@pytest.mark.parametrize("mode", list(QueueMode))
@pytest.mark.parametrize("version", [4, 6])
def test_the_counts_are_those_of_the_client(
    lab: Lab, follow: Callable[..., Accountant], version: int, mode: QueueMode
) -> None:
    accountant = follow(
        rules=QueueRules(queue=QUEUE, hooks=(RuleHook.INPUT,), mode=mode, follow_connections=True)
    )
    tcp = count_at_client(lab, version, "tcp", ALLOWED)
    udp = count_at_client(lab, version, "udp", ALLOWED)
    before = time.time_ns()
    listener = lab.listen(version, ALLOWED)
    client = lab.open_socket(lab.client, version, socket.SOCK_STREAM)
    client.connect((SERVER[version], ALLOWED))
    served, _ = listener.accept()
    with served:
        for size in range(1, 40):
            client.sendall(b"q" * size)
            served.recv(1000)
            served.sendall(b"a" * size * 3)
            client.recv(1000)
        client.close()
        assert served.recv(10) == b""
    assert lab.ask(version, ALLOWED) == "answered"
    assert wait_for(lambda: len(accountant.ended) == 2, 6)
    records = {one.l4_protocol: one for one in accountant.ended}
    assert carried([records[6]]) == tcp()
    assert carried([records[17]]) == udp()
    for record in records.values():
        assert record.source.ip == CLIENT[version]
        assert (record.destination.ip, record.destination.port) == (SERVER[version], ALLOWED)
        assert record.packets == (record.source_packets or 0) + (record.destination_packets or 0)
        assert record.bytes == (record.source_bytes or 0) + (record.destination_bytes or 0)
        assert (record.policy_id, record.context_id, record.count) == ("service", "ctx-server", 1)
        assert isinstance(record.start_time_ns, int)
        assert isinstance(record.end_time_ns, int)
        assert before < record.start_time_ns < record.end_time_ns < time.time_ns()
    opened = [one for one in accountant.collector.flows if not one.phase]
    assert len(opened) == 2
    assert not any(one.packets or one.bytes for one in opened)
    judged = accountant.engine.counters["packets"]
    assert judged == 2 if mode is QueueMode.NEW else judged > 40


def test_a_long_connection_is_reported_while_it_lives(
    lab: Lab, follow: Callable[..., Accountant]
) -> None:
    accountant = follow(update_seconds=1)
    counts = count_at_client(lab, 4, "udp", ALLOWED)
    server = lab.open_socket(lab.server, 4, socket.SOCK_DGRAM)
    server.bind((SERVER[4], ALLOWED))
    client = lab.open_socket(lab.client, 4, socket.SOCK_DGRAM)
    client.connect((SERVER[4], ALLOWED))
    for number in range(40):
        client.send(b"x" * (number + 1))
        server.recv(100)
        time.sleep(0.1)  # longer than what a list and an update need, shorter than the time-out
    assert wait_for(lambda: len(accountant.ended) == 1, 6)
    continued = accountant.of_phase(FlowPhase.CONTINUED)
    assert len(continued) >= 2
    assert carried([*continued, *accountant.ended]) == counts()
    # Nobody answers, and still only the first packet needed a decision.
    assert accountant.engine.counters["packets"] == 1


def send_from_each(ports: range) -> None:
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((CLIENT[4], port))
            client.sendto(b"one", (SERVER[4], ALLOWED))


@pytest.mark.parametrize("room", [33_554_432, 65_536])
def test_a_burst_of_ends_loses_none(lab: Lab, follow: Callable[..., Accountant], room: int) -> None:
    lab.server.set_kernel("net/netfilter/nf_conntrack_udp_timeout", "60")
    accountant = follow(tracker=TrackerSettings(list_seconds=60, event_buffer_bytes=room))
    sink = lab.open_socket(lab.server, 4, socket.SOCK_DGRAM)
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    sink.bind((SERVER[4], ALLOWED))
    lab.client.call(lambda: send_from_each(range(20_000, 40_000)))
    assert wait_for(lambda: accountant.engine.counters["packets"] == 20_000, 20)
    lab.server.run(["conntrack", "-F"])
    assert wait_for(lambda: len(accountant.ended) >= 20_000, 30), len(accountant.ended)
    ports = Counter(one.source.port for one in accountant.ended)
    assert ports == dict.fromkeys(range(20_000, 40_000), 1)
    assert carried(accountant.ended) == [20_000, 20_000 * 31, 0, 0]
    overruns = accountant.engine.counters["connection_overruns"]
    assert (overruns > 0) == (room < 1_000_000)


def test_evicted_flows_are_reported_and_the_sums_stay_exact(
    lab: Lab, follow: Callable[..., Accountant]
) -> None:
    accountant = follow(limits=EngineLimits(max_flows=100), update_seconds=1)
    counts = count_at_client(lab, 4, "udp", ALLOWED)
    for _ in range(3):
        lab.client.call(lambda: send_from_each(range(20_000, 20_500)))
        time.sleep(0.5)
    assert wait_for(lambda: carried(accounted(accountant)) == counts(), 8), (
        carried(accounted(accountant)),
        counts(),
    )
    assert len(accountant.of_phase(FlowPhase.EVICTED)) >= 400
    assert len(accountant.engine.flows) <= 100
    assert counts()[0] == 1_500


def accounted(accountant: Accountant) -> list[FlowRecord]:
    return [one for one in accountant.collector.flows if one.phase]


def test_the_list_is_that_of_the_tool(lab: Lab, follow: Callable[..., Accountant]) -> None:
    for name in TIMEOUTS:
        lab.server.set_kernel(f"net/netfilter/nf_conntrack_{name}", "60")
    follow()
    lab.server.run(
        [
            *("iptables", "-t", "nat", "-A", "PREROUTING", "-p", "udp", "--dport", "53"),
            *("-j", "REDIRECT", "--to-ports", str(ALLOWED)),
        ]
    )
    for command in (
        ["-A", "PREROUTING", "-p", "tcp", "--dport", str(ALLOWED)],
        ["-A", "OUTPUT", "-p", "tcp", "--sport", str(ALLOWED)],
    ):
        lab.server.run(["iptables", "-t", "raw", *command, "-j", "CT", "--zone", "7"])
    for version in (4, 6):
        lab.listen(version, ALLOWED)
        assert lab.connect(version, ALLOWED) == "connected"
        assert lab.ask(version, ALLOWED) == "answered"
        assert lab.ping(version) == "answered"
    lab.client.call(lambda: _send_once(53))
    text = lab.server.run(["conntrack", "-L", "-o", "xml,id"]) + lab.server.run(
        ["conntrack", "-L", "-f", "ipv6", "-o", "xml,id"]
    )
    documents = [part for part in re.split(r"<\?xml[^>]*\?>", text) if part.strip()]
    by_tool = {
        _by_tool(flow) for document in documents for flow in ElementTree.fromstring(document)
    }
    table = lab.server.call(ConnectionTable.open)
    try:
        table.begin_list()
        found = []
        while table.listing:
            listing = table.read()
            found += [listing.connection(index) for index in range(len(listing.rows))]
    finally:
        table.close()
    ours = {
        (
            one.id,
            one.original.protocol,
            socket.inet_ntop(_family(one.original.source), one.original.source),
            socket.inet_ntop(_family(one.reply.source), one.reply.source),
            one.mark,
            one.zone,
            one.sent and (one.sent.packets, one.sent.bytes),
            one.answered and (one.answered.packets, one.answered.bytes),
            one.original.ports if one.original.protocol in {6, 17} else b"",
            one.reply.ports if one.original.protocol in {6, 17} else b"",
        )
        for one in found
    }
    assert len(ours) == len(found) == 7
    assert ours == by_tool


def _send_once(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"question", (SERVER[4], port))
        time.sleep(0.1)


def _family(address: bytes) -> socket.AddressFamily:
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6


def _by_tool(flow: ElementTree.Element) -> tuple[object, ...]:
    def text(path: str) -> str:
        return flow.findtext(path) or ""

    def counters(direction: str) -> tuple[int, int]:
        path = f"meta[@direction='{direction}']/counters"
        return int(text(f"{path}/packets")), int(text(f"{path}/bytes"))

    def ports(direction: str) -> bytes:
        path = f"meta[@direction='{direction}']/layer4"
        values = (text(f"{path}/sport"), text(f"{path}/dport"))
        return b"".join(int(one).to_bytes(2, "big") for one in values if one)

    original, reply = "meta[@direction='original']", "meta[@direction='reply']"
    alone = "meta[@direction='independent']"
    layer4 = flow.find(f"{original}/layer4")
    assert layer4 is not None
    return (
        int(text(f"{alone}/id")),
        int(layer4.get("protonum", "")),
        text(f"{original}/layer3/src"),
        text(f"{reply}/layer3/src"),
        int(text(f"{alone}/mark") or 0),
        int(text(f"{alone}/zone") or text(f"{original}/zone") or 0),
        counters("original"),
        counters("reply"),
        ports("original"),
        ports("reply"),
    )


class Talk:
    """An open connection to a service, in both directions."""

    def __init__(self, lab: Lab, version: int, port: int) -> None:
        self.client = lab.open_socket(lab.client, version, socket.SOCK_STREAM)
        listener = lab.listen(version, port)
        self.client.connect((SERVER[version], port))
        self.served = lab.sockets.enter_context(listener.accept()[0])
        listener.close()
        for one in (self.client, self.served):
            one.settimeout(0.5)

    def works(self) -> tuple[bool, bool]:
        """Tell whether bytes get to the server, and from it."""
        return self._passes(self.client, self.served), self._passes(self.served, self.client)

    @staticmethod
    def _passes(sender: socket.socket, receiver: socket.socket) -> bool:
        try:
            sender.send(b"x")
            return receiver.recv(1) == b"x"
        except (TimeoutError, ConnectionError):
            return False


EVERYWHERE = QueueRules(queue=QUEUE)


@pytest.mark.parametrize("version", [4, 6])
def test_a_revoked_connection_is_cut_within_a_second_and_others_go_on(
    lab: Lab, follow: Callable[..., Accountant], version: int
) -> None:
    accountant = follow(
        policy=POLICY_OF_TWO, rules=EVERYWHERE, tracker=TrackerSettings(list_seconds=300)
    )
    allowed, revoked = Talk(lab, version, ALLOWED), Talk(lab, version, SECOND)
    assert allowed.works() == revoked.works() == (True, True)
    begin = time.monotonic()
    accountant.enforce(POLICY)
    assert wait_for(lambda: accountant.engine.counters["connections_revoked"] == 1)
    assert time.monotonic() - begin < 1
    assert allowed.works() == (True, True)
    assert revoked.works() == (False, False)
    assert allowed.works() == (True, True)
    assert wait_for(lambda: len(accountant.ended) == 1)
    (ended,) = accountant.ended
    assert (ended.destination.port, ended.action) == (SECOND, ActionType.ACCEPT)
    rejects = [one for one in accountant.collector.flows if one.action is ActionType.REJECT]
    assert [(one.destination.port, one.drop_reason) for one in rejects] == [(SECOND, "policy")]
    accountant.enforce(POLICY_OF_TWO)
    assert Talk(lab, version, SECOND).works() == (True, True)


def test_a_revoked_datagram_service_is_cut(lab: Lab, follow: Callable[..., Accountant]) -> None:
    accountant = follow(policy=POLICY_OF_TWO, rules=EVERYWHERE)
    for name in ("udp_timeout", "udp_timeout_stream"):
        lab.server.set_kernel(f"net/netfilter/nf_conntrack_{name}", "60")
    server = lab.open_socket(lab.server, 4, socket.SOCK_DGRAM)
    server.bind((SERVER[4], SECOND))
    client = lab.open_socket(lab.client, 4, socket.SOCK_DGRAM)
    client.connect((SERVER[4], SECOND))
    client.send(b"x")
    _, peer = server.recvfrom(10)
    server.sendto(b"y", peer)
    assert client.recv(10) == b"y"
    accountant.enforce(POLICY)
    assert wait_for(lambda: accountant.engine.counters["connections_revoked"] == 1)
    client.send(b"x")
    with pytest.raises(TimeoutError):
        server.recv(10)
    server.sendto(b"y", peer)
    with pytest.raises(TimeoutError):
        client.recv(10)


def test_a_server_that_goes_on_opens_nothing_again_where_only_arrivals_are_judged(
    lab: Lab, follow: Callable[..., Accountant]
) -> None:
    accountant = follow(policy=POLICY_OF_TWO)
    for name in ("udp_timeout", "udp_timeout_stream"):
        lab.server.set_kernel(f"net/netfilter/nf_conntrack_{name}", "60")
    server = lab.open_socket(lab.server, 4, socket.SOCK_DGRAM)
    server.bind((SERVER[4], SECOND))
    client = lab.open_socket(lab.client, 4, socket.SOCK_DGRAM)
    client.connect((SERVER[4], SECOND))
    client.send(b"x")
    _, peer = server.recvfrom(10)
    accountant.enforce(POLICY)
    assert wait_for(lambda: accountant.engine.counters["connections_revoked"] == 1)
    server.sendto(b"y", peer)
    assert client.recv(10) == b"y"
    client.send(b"x")
    with pytest.raises(TimeoutError):
        server.recv(10)
    assert accountant.engine.counters["connection_requests_refused"] == 0
    accountant.enforce(POLICY_OF_TWO)
    client.send(b"z")
    assert server.recv(10) == b"z"


def test_marks_that_others_set_open_nothing(lab: Lab, follow: Callable[..., Accountant]) -> None:
    accountant = follow(rules=EVERYWHERE)
    mark = ConnectionMark()
    for version in (4, 6):
        lab.listen(version, DENIED)
    for program in ("iptables", "ip6tables"):
        for value in (mark.accepted, mark.exempt):
            # Somebody else's rules, before ours, on every packet that comes or goes.
            for chain in ("PREROUTING", "OUTPUT"):
                new = [program, "-t", "mangle", "-A", chain, "-m", "conntrack", "--ctstate", "NEW"]
                lab.server.run([*new, "-j", "CONNMARK", "--set-xmark", f"{value:#x}"])
                lab.server.run([*new, "-j", "MARK", "--set-xmark", f"{DEFAULT_ACCEPT_MARK:#x}"])
            for version in (4, 6):
                if program == ("iptables" if version == 4 else "ip6tables"):
                    assert lab.connect(version, DENIED) == "timed out"
                    assert lab.ask(version, DENIED) == "timed out"
    assert {one.action for one in accountant.collector.flows} == {ActionType.REJECT}
    # What the host sends is judged as well, whatever mark its sender puts on it.
    for version in (4, 6):
        sender = lab.open_socket(lab.server, version, socket.SOCK_DGRAM)
        sender.setsockopt(socket.SOL_SOCKET, 36, DEFAULT_ACCEPT_MARK)  # SO_MARK
        catcher = lab.open_socket(lab.client, version, socket.SOCK_DGRAM)
        catcher.bind((CLIENT[version], 5_555))
        with contextlib.suppress(PermissionError):
            for _ in range(2):
                sender.sendto(b"out", (CLIENT[version], 5_555))
        with pytest.raises(TimeoutError):
            catcher.recv(10)


def test_connections_from_before_are_not_let_through(
    lab: Lab, follow: Callable[..., Accountant]
) -> None:
    lab.server.run(["iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW"])
    before = Talk(lab, 4, ALLOWED)
    assert before.works() == (True, True)
    accountant = follow(rules=EVERYWHERE)
    assert before.works() == (False, False)
    assert accountant.engine.counters["flows_accepted"] == 0


def test_connections_from_before_are_judged_once_where_that_is_wanted(
    lab: Lab, follow: Callable[..., Accountant]
) -> None:
    lab.server.run(["iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW"])
    allowed, denied = Talk(lab, 4, ALLOWED), Talk(lab, 4, DENIED)
    policy = POLICY.replace("version = 1", 'version = 1\nmidstream = "judge"')
    accountant = follow(policy=policy, rules=EVERYWHERE)
    assert allowed.works() == (True, True)
    assert denied.works() == (False, False)
    judged = accountant.engine.counters["packets"]
    assert allowed.works() == allowed.works() == (True, True)
    flows = accountant.collector.flows
    assert {one.destination.port: one.action for one in flows} == {
        ALLOWED: ActionType.ACCEPT,
        DENIED: ActionType.REJECT,
    }
    # Only those of the other one come again: its sender tries.
    assert accountant.engine.counters["packets"] - judged <= 8


@pytest.mark.parametrize("version", [4, 6])
def test_what_begins_where_nothing_is_judged_is_answered(
    lab: Lab, follow: Callable[..., Accountant], version: int
) -> None:
    accountant = follow()
    there = lab.open_socket(lab.client, version, socket.SOCK_STREAM)
    there.bind((CLIENT[version], 4_444))
    there.listen()
    here = lab.open_socket(lab.server, version, socket.SOCK_STREAM)
    here.connect((CLIENT[version], 4_444))
    other = lab.sockets.enter_context(there.accept()[0])
    other.sendall(b"x" * 10_000)
    assert len(here.recv(10_000, socket.MSG_WAITALL)) == 10_000
    assert accountant.engine.counters["packets"] == 0
    # Once its entry is gone, it could as well be one from outside: closed.
    lab.server.run(["conntrack", "-F"])
    here.settimeout(0.5)
    other.sendall(b"y")
    with pytest.raises(TimeoutError):
        here.recv(1)


@pytest.mark.parametrize("version", [4, 6])
def test_the_older_rules_of_the_kernel_do_the_same(
    lab: Lab, follow: Callable[..., Accountant], version: int
) -> None:
    def legacy(command: Sequence[str], text: str) -> str:
        return run_iptables([command[0].replace("tables-", "tables-legacy-"), *command[1:]], text)

    accountant = follow(policy=POLICY_OF_TWO, rules=EVERYWHERE, run=legacy)
    assert "TRIREME-KEEP" in lab.server.run(["iptables-legacy-save"])
    talk = Talk(lab, version, SECOND)
    assert talk.works() == (True, True)
    judged = accountant.engine.counters["packets"]
    assert judged >= 1  # a SYN that was repeated is judged again
    assert talk.works() == (True, True)
    assert accountant.engine.counters["packets"] == judged
    accountant.enforce(POLICY)
    assert wait_for(lambda: accountant.engine.counters["connections_revoked"] == 1)
    assert talk.works() == (False, False)


def test_a_new_life_knows_the_connections_of_the_one_before(
    lab: Lab, follow: Callable[..., Accountant]
) -> None:
    first = follow(policy=POLICY_OF_TWO, rules=EVERYWHERE)
    kept, cut = Talk(lab, 4, ALLOWED), Talk(lab, 4, SECOND)
    counts = count_at_client(lab, 4, "tcp", ALLOWED)
    assert kept.works() == (True, True)
    first.stop()
    second = follow(rules=EVERYWHERE)
    assert wait_for(lambda: second.engine.counters["connections_adopted"] == 1)
    assert kept.works() == (True, True)
    assert cut.works() == (False, False)
    kept.client.close()
    kept.served.close()
    assert wait_for(lambda: any(one.action.accepted for one in second.ended), 6)
    (record,) = [one for one in second.ended if one.destination.port == ALLOWED]
    handshake = [2, 112, 1, 60]  # before the client began to count
    assert carried([record]) == [a + b for a, b in zip(counts(), handshake, strict=True)]


def dropped(lab: Lab, backend: NetlinkBackend | PacedBackend) -> int:
    statistics = lab.server.call(backend.statistics)
    return 0 if statistics is None else statistics.dropped


def test_a_flood_of_opening_packets_leaves_room_for_all_others(lab: Lab) -> None:
    policy = compile_policy(parse_policy(POLICY, "live.toml"))
    engine = Engine(policy)

    def opened() -> PairedBackend:
        others = NetlinkBackend.open(QUEUE, engine, QueueSettings(max_length=500))
        opening = NetlinkQueue.open(QUEUE + 1, QueueSettings(max_length=100))
        return PairedBackend(others, NetlinkBackend(opening, engine, max_batches=OPENING_BATCHES))

    backend = lab.server.call(opened)
    rules = QueueRules(
        queue=QUEUE, opening_queue=QUEUE + 1, hooks=(RuleHook.INPUT,), mode=QueueMode.ALL
    )
    lab.server.call(KernelRules(rules).install)
    loop = DatapathLoop(backend, engine, MemoryCollector())

    def judge() -> None:
        lab.server.enter()
        loop.run()

    thread = threading.Thread(target=judge)
    thread.start()
    try:
        talk = Talk(lab, 4, ALLOWED)
        assert talk.works() == (True, True)
        flood = subprocess.Popen(
            lab.client.command([sys.executable, "-c", FLOOD, SERVER[4], str(DENIED)])
        )
        try:
            assert wait_for(lambda: dropped(lab, backend.second) > 1_000, 10)
            times = []
            for _ in range(200):
                begin = time.perf_counter()
                assert talk.works() == (True, True)
                times.append(time.perf_counter() - begin)
        finally:
            flood.kill()
            flood.wait()
        first = lab.server.call(backend.first.statistics)
        assert first is not None
        assert (first.dropped, first.user_dropped) == (0, 0)
        assert sorted(times)[100] < 0.1
    finally:
        loop.stop()
        thread.join(10)
        backend.close()
        loop.close()


FLOOD = """
import socket, struct, sys, time
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.connect((sys.argv[1], 0))
end = time.monotonic() + 20
port = 1024
while time.monotonic() < end:
    port = port + 1 if port < 65_000 else 1024
    segment = struct.pack("!HHIIBBHHH", port, int(sys.argv[2]), 1, 0, 0x50, 2, 1024, 0, 0)
    total = sum(struct.unpack("!10H", segment)) + 26
    addresses = socket.inet_aton("192.0.2.1") + socket.inet_aton(sys.argv[1])
    total += sum(struct.unpack("!4H", addresses))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    try:
        raw.send(segment[:16] + struct.pack("!H", total) + segment[18:])
    except OSError:
        time.sleep(0.001)
"""
