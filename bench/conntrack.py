"""CPU per connection that ended, as the kernel tells it: read, accounted, written as JSON.

A client opens one connection from each of many ports, then all are forgotten at once and their
ends wait in the socket. What is measured is the CPU time of the one who reads them, system calls
included. None may be lost.
"""

from __future__ import annotations

import shutil
import socket
import time
from typing import TYPE_CHECKING

from bench.figures import interleave, show
from trireme_collector.records import encode_json
from trireme_datapath.engine import Engine
from trireme_datapath.kernel.conntrack import (
    ConnectionEvents,
    ConnectionTracker,
    TrackerSettings,
    enable_accounting,
)
from trireme_datapath.kernel.namespaces import Network, missing_means
from trireme_datapath.packets import Hook, QueuedPacket
from trireme_datapath.policy import compile_policy, parse_policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.kernel.namespaces import Namespace

RUNS = 5
PORTS = range(20_000, 40_000)
TARGET_US = 3.5
"""For reading alone: 290,000 ends per core and second."""
CLIENT, SERVER, PORT = "10.78.0.1", "10.78.0.2", 9

POLICY = f"""
version = 1
[[unit]]
id = "server"
select = {{ address = "{SERVER}" }}
[[unit.ingress]]
id = "all"
action = "accept"
from = "any"
"""


def _prepare(network: Network) -> tuple[Namespace, Namespace]:
    client, server = network.namespace("client"), network.namespace("server")
    network.link(client, "out", [f"{CLIENT}/24"], server, "in", [f"{SERVER}/24"])
    problems = server.call(enable_accounting)
    if problems:
        raise SystemExit("; ".join(problems))
    server.set_kernel("net/netfilter/nf_conntrack_udp_timeout", "120")
    server.run(["iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW"])
    return client, server


def _open_all() -> None:
    for port in PORTS:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((CLIENT, port))
            sender.sendto(b"x", (SERVER, PORT))


def _first_packet(port: int) -> QueuedPacket:
    addresses = socket.inet_aton(CLIENT) + socket.inet_aton(SERVER)
    header = b"\x45\0\0\x1d\0\0\0\0\x40\x11\0\0" + addresses
    ports = port.to_bytes(2, "big") + PORT.to_bytes(2, "big")
    return QueuedPacket(data=header + ports + b"\0\x09\0\0x", hook=Hook.LOCAL_IN)


class _Lab:
    def __init__(self, client: Namespace, server: Namespace) -> None:
        self._client, self._server = client, server

    def burst(self) -> None:
        self._client.call(_open_all)
        self._server.run(["conntrack", "-F"])

    def clear(self) -> None:
        self._server.run(["conntrack", "-F"])

    def _measure(self, take: Callable[[], int]) -> float:
        begin, ended = time.thread_time(), 0
        while ended < len(PORTS):
            found = take()
            if not found:
                raise SystemExit(f"{len(PORTS) - ended} ends of connections were lost")
            ended += found
        return (time.thread_time() - begin) / len(PORTS) * 1e6

    def read(self) -> float:
        """Read only."""
        self.clear()
        events = self._server.call(ConnectionEvents.open)
        try:
            self.burst()
            return self._measure(lambda: len(events.drain()))
        finally:
            events.close()

    def account(self, *, json: bool = False) -> float:
        """Read, find the flow, make a record; perhaps write it."""
        self.clear()
        engine = Engine(compile_policy(parse_policy(POLICY, "bench.toml")))
        account = engine.keep_account()
        now_ns = time.time_ns()
        for port in PORTS:
            engine.receive(_first_packet(port), now_ns)
        tracker = self._server.call(lambda: ConnectionTracker.open(account, TrackerSettings()))

        def take() -> int:
            records = tracker.drain(now_ns)
            if json:
                for record in records:
                    encode_json(record)
            return len(records)

        try:
            self.burst()
            return self._measure(take)
        finally:
            tracker.close()


def run() -> bool:
    """Measure reading, accounting and writing in turn."""
    missing = missing_means(queues=False)
    if not shutil.which("conntrack"):
        missing.append("the program conntrack is not installed")
    if missing:
        print(f"  cannot be measured here: {'; '.join(missing)}")
        return False
    with Network() as network:
        lab = _Lab(*_prepare(network))
        figures = interleave(
            RUNS,
            {
                "read": lab.read,
                "account": lab.account,
                "json": lambda: lab.account(json=True),
            },
        )
    median = show("read", figures["read"], "us")
    show("read and made a record", figures["account"], "us")
    show("read, made a record, written as JSON", figures["json"], "us")
    met = median <= TARGET_US
    rate = 1e6 / median
    print(
        f"  {rate:,.0f} ends per core and second, none lost"
        f"   (target {1e6 / TARGET_US:,.0f}) {'met' if met else 'MISSED'}"
    )
    return met
