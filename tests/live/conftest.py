"""A client and a server in namespaces of their own, and an enforcer in front of the server."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

import pytest

from trireme_collector.testing import MemoryCollector
from trireme_datapath.backends.netlink import NetlinkBackend, QueueSettings
from trireme_datapath.backends.nfqueue import NfqueueBackend
from trireme_datapath.engine import Engine
from trireme_datapath.kernel.install import KernelRules, run_iptables
from trireme_datapath.kernel.marks import DEFAULT_ACCEPT_MARK
from trireme_datapath.kernel.namespaces import Namespace, Network, missing_means
from trireme_datapath.kernel.rules import QueueRules, RuleHook
from trireme_datapath.loop import DatapathLoop
from trireme_datapath.policy import compile_policy, parse_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

QUEUE = 7
REFUSE_MARK = 0x40000000
CLIENT = {4: "192.0.2.1", 6: "2001:db8::1"}
SERVER = {4: "192.0.2.2", 6: "2001:db8::2"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
ALLOWED, DENIED = 8080, 8081

POLICY = """
version = 1

[networks]
clients = ["192.0.2.1", "2001:db8::1"]

[[unit]]
id = "server"
context = "ctx-server"
namespace = "/live"
tags = ["app=server"]
select = { address = ["192.0.2.2", "2001:db8::2"] }

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
NO_PING = POLICY.replace(
    'action = "accept"\nfrom = "@clients"\nprotocol = ["icmp',
    'action = "reject"\nfrom = "@clients"\nprotocol = ["icmp',
)

BACKENDS: dict[str, type[NetlinkBackend | NfqueueBackend]] = {
    "netlink": NetlinkBackend,
    "nfqueue": NfqueueBackend,
}


def wait_for(condition: Callable[[], bool], seconds: float = 3) -> bool:
    """Wait until something is so; there is no other way to learn what a kernel did."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


class Lab:
    """The two namespaces, and what a client sees of the server."""

    def __init__(self, network: Network) -> None:
        self.client, self.server = network.namespace("client"), network.namespace("server")
        network.link(
            *(self.client, "eth0", [f"{CLIENT[4]}/24", f"{CLIENT[6]}/64"]),
            *(self.server, "eth0", [f"{SERVER[4]}/24", f"{SERVER[6]}/64"]),
        )
        self.sockets = contextlib.ExitStack()

    def open_socket(self, where: Namespace, version: int, kind: socket.SocketKind) -> socket.socket:
        made = self.sockets.enter_context(where.socket(FAMILY[version], kind))
        made.settimeout(0.6)
        return made

    def listen(self, version: int, port: int) -> socket.socket:
        listener = self.open_socket(self.server, version, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((SERVER[version], port))
        listener.listen()
        return listener

    def connect(self, version: int, port: int) -> str:
        """Tell what a client's connect ends with."""
        client = self.open_socket(self.client, version, socket.SOCK_STREAM)
        try:
            client.connect((SERVER[version], port))
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            client.close()  # the kernel would go on asking
            return "timed out"
        return "connected"

    def ask(self, version: int, port: int) -> str:
        """Send a datagram to an echoing server and tell what comes back."""
        server = self.open_socket(self.server, version, socket.SOCK_DGRAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((SERVER[version], port))
        client = self.open_socket(self.client, version, socket.SOCK_DGRAM)
        client.connect((SERVER[version], port))
        client.send(b"question in a datagram")
        try:
            question, peer = server.recvfrom(100)
            server.sendto(question, peer)
            client.recv(100)
        except TimeoutError:
            try:
                client.recv(100)
            except TimeoutError:
                return "timed out"
            except OSError as error:
                return f"refused with {error.errno}"
        finally:
            server.close()
        return "answered"

    def ping(self, version: int) -> str:
        """Send an echo request and tell what comes back."""
        protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
        raw = self.client.call(lambda: socket.socket(FAMILY[version], socket.SOCK_RAW, protocol))
        with raw:
            raw.settimeout(0.6)
            kind, answer = (8, 0) if version == 4 else (128, 129)
            body = struct.pack("!HH8s", 77, 1, b"pingpong")
            message = struct.pack("!BBH", kind, 0, 0) + body
            if version == 4:
                total = sum(struct.unpack(f"!{len(message) // 2}H", message))
                total = (total & 0xFFFF) + (total >> 16)
                message = struct.pack("!BBH", kind, 0, ~total & 0xFFFF) + body
            raw.sendto(message, (SERVER[version], 0))
            try:
                for _ in range(50):
                    received = raw.recv(500)
                    found = received[20:] if version == 4 else received
                    if found[0] == answer and found[4:6] == b"\0\x4d":
                        return "answered"
            except TimeoutError:
                pass
            return "timed out"


class Enforcer:
    """A backend, an engine and a loop in the server's namespace."""

    def __init__(
        self,
        lab: Lab,
        backend: str,
        *,
        policy: str = POLICY,
        refuse: bool = False,
        rules: QueueRules | None = None,
        settings: QueueSettings | None = None,
        prepare: Callable[[Engine], object] = lambda _: None,
        run: Callable[[Sequence[str], str], str] = run_iptables,
    ) -> None:
        self.engine = Engine(
            compile_policy(parse_policy(policy, "live.toml")),
            refuse_mark=REFUSE_MARK if refuse else None,
            accept_mark=DEFAULT_ACCEPT_MARK,
        )
        prepare(self.engine)
        self.collector = MemoryCollector()
        self._server = lab.server
        self.backend = lab.server.call(
            lambda: BACKENDS[backend].open(QUEUE, self.engine, settings or QueueSettings())
        )
        self.rules = KernelRules(
            rules
            or QueueRules(
                queue=QUEUE,
                hooks=(RuleHook.INPUT,),
                refuse_mark=REFUSE_MARK if refuse else None,
            ),
            run=run,
        )
        lab.server.call(self.rules.install)
        self.loop = DatapathLoop(self.backend, self.engine, self.collector)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self._server.enter()
        self.loop.run()

    def waiting(self) -> int:
        """Tell how many packets the kernel holds for a verdict."""
        statistics = self._server.call(self.backend.statistics)
        assert statistics is not None
        return statistics.waiting

    def stop(self) -> None:
        self.loop.stop()
        self._thread.join(5)
        assert not self._thread.is_alive()
        self.backend.close()
        self.loop.close()


@pytest.fixture(scope="session")
def means() -> None:
    """Fail, not skip: who asks for live tests wants to know that they cannot run."""
    missing = missing_means()
    if missing:
        pytest.fail("live tests need: " + "; ".join(missing))


@pytest.fixture
def lab(means: None) -> Iterator[Lab]:  # noqa: ARG001  fails first where it cannot work
    with Network() as network:
        made = Lab(network)
        with made.sockets:
            yield made


@pytest.fixture
def enforce(lab: Lab) -> Iterator[Callable[..., Enforcer]]:
    with contextlib.ExitStack() as stack:

        def start(
            backend: str,
            *,
            policy: str = POLICY,
            refuse: bool = False,
            rules: QueueRules | None = None,
            settings: QueueSettings | None = None,
            prepare: Callable[[Engine], object] = lambda _: None,
        ) -> Enforcer:
            enforcer = Enforcer(
                lab,
                backend,
                policy=policy,
                refuse=refuse,
                rules=rules,
                settings=settings,
                prepare=prepare,
            )
            stack.callback(enforcer.stop)
            return enforcer

        yield start
