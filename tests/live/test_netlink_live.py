"""Real packets through the kernel's queue, judged by policy, as the client sees it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import (
    ALLOWED,
    CLIENT,
    DENIED,
    NO_PING,
    POLICY,
    QUEUE,
    SERVER,
    Enforcer,
    Lab,
    wait_for,
)
from trireme_collector.records import (
    ActionType,
    Direction,
    EndPoint,
    EndPointType,
    FlowDropReason,
    FlowRecord,
)
from trireme_datapath.backends.netlink import (
    NetlinkBackend,
    NetlinkQueue,
    QueueBusyError,
    QueueSettings,
)
from trireme_datapath.backends.nfqueue import NfqueueBackend
from trireme_datapath.kernel.rules import QueueMode, QueueRules, RuleHook

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.live

BACKENDS = ["netlink", "nfqueue"]
PROTOCOLS = {"tcp": 6, "udp": 17}
EVERY_PACKET = QueueRules(queue=QUEUE, hooks=(RuleHook.INPUT,), mode=QueueMode.ALL)


def check_record(
    enforcer: Enforcer, version: int, protocol: int, port: int, *, accepted: bool
) -> None:
    collector = enforcer.collector
    assert wait_for(lambda: any(one.l4_protocol == protocol for one in collector.flows))
    records = [one for one in collector.flows if one.l4_protocol == protocol]
    assert len({one.source.port for one in records}) == len(records), "one record for each flow"
    record = records[0]
    assert record == FlowRecord(
        context_id="ctx-server",
        namespace="/live",
        source=EndPoint(
            id="clients" if accepted else "default",
            ip=CLIENT[version],
            type=EndPointType.EXTERNAL_IP,
            port=record.source.port,
        ),
        destination=EndPoint(id="server", ip=SERVER[version], type=EndPointType.PU, port=port),
        tags=("app=server",),
        policy_id="service" if accepted else "default",
        drop_reason="" if accepted else FlowDropReason.POLICY_DROP,
        count=1,
        action=ActionType.ACCEPT if accepted else ActionType.REJECT,
        l4_protocol=protocol,
        packets=1,
        bytes=record.bytes,
        start_time_ns=record.start_time_ns,
        end_time_ns=record.start_time_ns,
        direction=Direction.INGRESS,
        interface="eth0",
        tcp_flags=record.tcp_flags,
        policy_revision=enforcer.engine.policy.revision,
    )
    assert (record.tcp_flags == 2) == (protocol == 6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("version", [4, 6])
def test_tcp(lab: Lab, enforce: Callable[..., Enforcer], backend: str, version: int) -> None:
    enforcer = enforce(backend)
    lab.listen(version, ALLOWED)
    lab.listen(version, DENIED)
    assert lab.connect(version, ALLOWED) == "connected"
    check_record(enforcer, version, 6, ALLOWED, accepted=True)
    enforcer.collector.clear()
    assert lab.connect(version, DENIED) == "timed out"
    check_record(enforcer, version, 6, DENIED, accepted=False)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("version", [4, 6])
def test_udp(lab: Lab, enforce: Callable[..., Enforcer], backend: str, version: int) -> None:
    enforcer = enforce(backend)
    assert lab.ask(version, ALLOWED) == "answered"
    check_record(enforcer, version, 17, ALLOWED, accepted=True)
    enforcer.collector.clear()
    assert lab.ask(version, DENIED) == "timed out"
    check_record(enforcer, version, 17, DENIED, accepted=False)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("accepted", [True, False])
def test_icmp(
    lab: Lab, enforce: Callable[..., Enforcer], backend: str, version: int, accepted: bool
) -> None:
    enforcer = enforce(backend, policy=POLICY if accepted else NO_PING)
    assert lab.ping(version) == ("answered" if accepted else "timed out")
    assert wait_for(lambda: len(enforcer.collector.flows) > 0)
    record = enforcer.collector.flows[0]
    assert record.l4_protocol == (1 if version == 4 else 58)
    assert record.source.ip == CLIENT[version]
    assert record.policy_id == "ping"
    assert record.action == (ActionType.ACCEPT if accepted else ActionType.REJECT)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("version", [4, 6])
def test_a_rejected_client_is_answered_when_asked_for(
    lab: Lab, enforce: Callable[..., Enforcer], backend: str, version: int
) -> None:
    enforcer = enforce(backend, refuse=True)
    lab.listen(version, ALLOWED)
    lab.listen(version, DENIED)
    assert lab.connect(version, ALLOWED) == "connected"
    assert lab.connect(version, DENIED) == "refused"
    assert lab.ask(version, DENIED).startswith("refused with")
    assert wait_for(lambda: len(enforcer.collector.flows) == 3)
    assert enforcer.waiting() == 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("version", [4, 6])
def test_every_packet_of_a_flood_gets_one_verdict(
    lab: Lab, enforce: Callable[..., Enforcer], backend: str, version: int
) -> None:
    enforcer = enforce(backend, rules=EVERY_PACKET)
    server = lab.open_socket(lab.server, version, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: nothing is lost here
    server.bind((SERVER[version], ALLOWED))
    senders = [lab.open_socket(lab.client, version, socket.SOCK_DGRAM) for _ in range(4)]
    allowed = denied = 0
    for number in range(20_000):
        port = DENIED if number % 10 == 9 else ALLOWED
        senders[number % 4].sendto(b"x" * 36, (SERVER[version], port))
        if port == ALLOWED:
            allowed += 1
        else:
            denied += 1
        if number % 500 == 499:
            # Half the queue's length is never exceeded, so that nothing may be lost.
            assert wait_for(lambda: enforcer.waiting() < 4_000)
    server.settimeout(2)
    received = 0
    while received < allowed:
        server.recv(100)
        received += 1
    assert wait_for(lambda: enforcer.waiting() == 0)
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.recv(100)
    statistics = lab.server.call(enforcer.backend.statistics)
    assert statistics is not None
    assert (statistics.dropped, statistics.user_dropped) == (0, 0)
    assert enforcer.backend.counters["packets"] == statistics.last_packet_id == 20_000
    assert enforcer.engine.counters["packets_denied"] == denied
    assert not enforcer.backend.counters["judge_errors"]
    if backend == "netlink":
        counters = enforcer.backend.counters
        assert not counters["unknown_packet_ids"] + counters["malformed_messages"]
        assert counters["single_packets"] < 2_000, "the fast door judges the bulk"


def test_ipv4_and_ipv6_together_stay_on_the_fast_door(
    lab: Lab, enforce: Callable[..., Enforcer]
) -> None:
    enforcer = enforce("netlink", rules=EVERY_PACKET)
    senders = {one: lab.open_socket(lab.client, one, socket.SOCK_DGRAM) for one in (4, 6)}
    for number in range(2_000):
        version = 4 if number % 2 else 6
        size = 300 if number % 4 < 2 else 36  # longer than the copy range, and shorter
        senders[version].sendto(b"x" * size, (SERVER[version], ALLOWED))
    assert wait_for(lambda: enforcer.backend.counters["packets"] >= 2_000)
    assert enforcer.backend.counters["single_packets"] < 500


def test_a_queue_in_use_names_its_holder(lab: Lab, enforce: Callable[..., Enforcer]) -> None:
    enforcer = enforce("netlink")
    message = rf"queue {QUEUE} .* process {os.getpid()} "
    with pytest.raises(QueueBusyError, match=message):
        lab.server.call(lambda: NetlinkBackend.open(QUEUE, enforcer.engine))
    with pytest.raises(QueueBusyError, match=message):
        lab.server.call(lambda: NfqueueBackend.open(QUEUE, enforcer.engine))


def test_without_the_capability_the_message_names_it() -> None:
    script = (
        "from trireme_datapath.backends.netlink import NetlinkQueue\n"
        "from trireme_collector.errors import PrivilegeError\n"
        "try:\n    NetlinkQueue.open(7)\n"
        "except PrivilegeError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--reuid=65534",
         "--clear-groups", sys.executable, "-c", script],
        capture_output=True, text=True, check=False, timeout=10,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert "CAP_NET_ADMIN is missing" in done.stdout, done.stderr


def test_a_socket_that_is_taken_over_keeps_the_queue_and_fails_closed(
    lab: Lab, enforce: Callable[..., Enforcer]
) -> None:
    enforcer = enforce("netlink")
    assert lab.ask(4, ALLOWED) == "answered"
    enforcer.loop.stop()
    enforcer._thread.join(5)
    server = lab.open_socket(lab.server, 4, socket.SOCK_DGRAM)
    server.bind((SERVER[4], ALLOWED))
    client = lab.open_socket(lab.client, 4, socket.SOCK_DGRAM)
    client.sendto(b"read by the first owner, never judged", (SERVER[4], ALLOWED))
    assert isinstance(enforcer.backend, NetlinkBackend)
    first = enforcer.backend.queue
    assert wait_for(lambda: enforcer.waiting() == 1)
    os.read(first.fileno(), 4096)
    client.sendto(b"still in the socket when it is taken over", (SERVER[4], ALLOWED))
    assert wait_for(lambda: enforcer.waiting() == 2)
    second = NetlinkBackend.from_socket(os.dup(first.fileno()), QUEUE, enforcer.engine)
    lab.server.call(lambda: second.drain(1))
    assert enforcer.waiting() == 0
    assert server.recv(100).startswith(b"still in the socket")
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.recv(100)
    os.close(second.queue.detach())


def test_the_buffer_holds_a_full_queue(lab: Lab) -> None:
    settings = QueueSettings(max_length=3_000)
    queue = lab.server.call(lambda: NetlinkQueue.open(QUEUE + 1, settings))
    with queue:
        assert queue.capacity >= 3_000
