"""Look-ups through a real queue: what is reported, and what answers open."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import dns.message
import dns.rcode
import dns.rrset
import pytest

from tests.live.conftest import CLIENT, FAMILY, QUEUE, SERVER, Enforcer, Lab, wait_for
from trireme_collector.records import DNSRequestReport
from trireme_datapath.backends.netlink import QueueSettings
from trireme_datapath.dns_observer import DNSLimits
from trireme_datapath.kernel.rules import QueueRules, RuleHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.live

POLICY = """
version = 1

[[unit]]
id = "app"
context = "ctx-app"
select = { address = ["192.0.2.2", "2001:db8::2"] }

[[unit.egress]]
id = "resolver"
action = "accept"
to = ["192.0.2.1", "2001:db8::1"]
protocol = ["udp", "tcp"]
ports = 53

[[unit.egress]]
id = "api"
action = "accept"
to = "dns:*.example.com"
protocol = "tcp"
ports = 8443
"""
TIMEOUT = 0.3


class NameServer:
    """Answers look-ups in the client's namespace; names decide how."""

    def __init__(self, lab: Lab, version: int) -> None:
        self._version = version
        self._datagrams = lab.open_socket(lab.client, version, socket.SOCK_DGRAM)
        self._listener = lab.open_socket(lab.client, version, socket.SOCK_STREAM)
        for one in (self._datagrams, self._listener):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((CLIENT[version], 53))
            one.settimeout(0.05)
        self._listener.listen()
        self._ending = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._ending:
            with contextlib.suppress(TimeoutError):
                question, peer = self._datagrams.recvfrom(2_000)
                answer = self._answer(question)
                if answer:
                    self._datagrams.sendto(answer, peer)
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                with connection:
                    question = connection.recv(2_000)
                    answer = self._answer(question[2:])
                    connection.sendall(len(answer).to_bytes(2, "big") + answer)
                    connection.recv(1)

    def _answer(self, question: bytes) -> bytes:
        query = dns.message.from_wire(question)
        answer = dns.message.make_response(query)
        name = query.question[0].name
        if str(name).startswith("silent"):
            return b""
        if str(name).startswith("gone"):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            kind = "A" if self._version == 4 else "AAAA"
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, CLIENT[self._version]))
        return answer.to_wire()

    def stop(self) -> None:
        self._ending = True
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture(params=[4, 6])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def name_server(lab: Lab, version: int) -> Iterator[NameServer]:
    server = NameServer(lab, version)
    yield server
    server.stop()


@pytest.fixture
def enforcer(enforce: Callable[..., Enforcer]) -> Enforcer:
    return enforce(
        "netlink",
        policy=POLICY,
        rules=QueueRules(queue=QUEUE, hooks=(RuleHook.INPUT, RuleHook.OUTPUT)),
        settings=QueueSettings(copy_range=1_536),
        prepare=lambda engine: engine.observe_dns(DNSLimits(timeout_seconds=TIMEOUT)),
    )


def told(enforcer: Enforcer) -> list[tuple[str, str, int]]:
    return [
        (one.name_lookup, one.error, one.count)
        for one in enforcer.collector.records
        if isinstance(one, DNSRequestReport)
    ]


def look_up(lab: Lab, version: int, name: str, times: int = 1) -> list[bytes]:
    """Ask from one socket, again and again."""
    asking = lab.open_socket(lab.server, version, socket.SOCK_DGRAM)
    asking.connect((CLIENT[version], 53))
    answers = []
    for number in range(times):
        asking.send(dns.message.make_query(name, "A", id=number).to_wire())
        with contextlib.suppress(TimeoutError):
            answers.append(asking.recv(2_000))
    return answers


def connect(lab: Lab, version: int) -> str:
    client = lab.open_socket(lab.server, version, socket.SOCK_STREAM)
    try:
        client.connect((CLIENT[version], 8443))
    except ConnectionRefusedError:
        return "reached"  # nobody listens there: the answer came through all the same
    except TimeoutError:
        return "timed out"
    return "connected"


@pytest.mark.usefixtures("name_server")
def test_every_look_up_of_one_socket_is_seen(lab: Lab, version: int, enforcer: Enforcer) -> None:
    assert len(look_up(lab, version, "api.example.com", times=10)) == 10
    assert wait_for(lambda: enforcer.engine.counters["dns_answers"] == 10)
    assert told(enforcer) == [("api.example.com.", "", 1)]
    report = next(one for one in enforcer.collector.records if isinstance(one, DNSRequestReport))
    assert (report.source.id, report.source.ip) == ("app", SERVER[version])
    assert report.ips == (CLIENT[version],)


@pytest.mark.usefixtures("name_server")
def test_failures_are_told(lab: Lab, version: int, enforcer: Enforcer) -> None:
    look_up(lab, version, "gone.example.com")
    look_up(lab, version, "silent.example.com")
    expected = [("gone.example.com.", "NXDOMAIN", 1), ("silent.example.com.", "timeout", 1)]
    assert wait_for(lambda: told(enforcer) == expected), told(enforcer)


@pytest.mark.usefixtures("name_server")
def test_an_answer_opens_the_way(lab: Lab, version: int, enforcer: Enforcer) -> None:
    assert connect(lab, version) == "timed out"
    assert look_up(lab, version, "api.example.com")
    assert wait_for(lambda: bool(told(enforcer)))
    assert connect(lab, version) == "reached"


@pytest.mark.usefixtures("name_server")
def test_look_ups_over_tcp(lab: Lab, version: int, enforcer: Enforcer) -> None:
    asking = lab.open_socket(lab.server, version, socket.SOCK_STREAM)
    assert asking.family == FAMILY[version]
    asking.connect((CLIENT[version], 53))
    query = dns.message.make_query("tcp.example.com", "A").to_wire()
    asking.sendall(len(query).to_bytes(2, "big") + query)
    assert asking.recv(2_000)
    asking.close()
    assert wait_for(lambda: told(enforcer) == [("tcp.example.com.", "", 1)]), told(enforcer)
    assert connect(lab, version) == "reached"
