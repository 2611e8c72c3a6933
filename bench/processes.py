"""What a crash and a planned restart cost: packets lost, let through or delayed.

An agent judges every packet in a namespace. A client sends numbered datagrams at a steady rate
from another one, every tenth of them to a port that the policy does not allow. Enforcers are
killed, or every process is exchanged, meanwhile. The same stream without that is the yardstick
for delays: client and server are Python threads, and the machine does other things, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trireme_collector.control import AgentStatus, ControlClient, ControlError, RestartResult
from trireme_datapath.kernel.namespaces import Network, missing_means

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trireme_datapath.kernel.namespaces import Namespace

KILLS = 20
ALLOWED, DENIED = 8080, 8081
POLICY = """
version = 1
[[unit]]
id = "server"
select.address = "10.77.0.2"
[[unit.ingress]]
id = "service"
action = "accept"
from = "any"
protocol = "udp"
ports = 8080
"""
CONFIG = """
[datapath]
policy = "policy.toml"
[datapath.rules]
hooks = ["input"]
mode = "all"
[control]
path = "{directory}/control"
[collectors.file]
path = "{directory}/flows.json"
"""
_STAMP = struct.Struct("!QQ")
_SO_RCVBUFFORCE = 33


class Seen(NamedTuple):
    """What became of a stream."""

    sent: int
    lost: int
    let_through: int
    longest_ms: float


class _Stream:
    def __init__(self, client: Namespace, server: Namespace, rate: int) -> None:
        self._rate = rate
        self._sender = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._receivers = {port: self._listen(server, port) for port in (ALLOWED, DENIED)}
        self._ending = threading.Event()
        self._sent = 0
        self._arrived: set[int] = set()
        self._longest_ns = 0

    @staticmethod
    def _listen(server: Namespace, port: int) -> socket.socket:
        made = server.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
        made.bind(("10.77.0.2", port))
        made.settimeout(0.2)
        return made

    @contextlib.contextmanager
    def flowing(self) -> Iterator[None]:
        threads = [threading.Thread(target=one) for one in (self._send, self._receive)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ending.set()
            for thread in threads:
                thread.join()

    def _send(self) -> None:
        began, number = time.monotonic(), 0
        while not self._ending.is_set():
            while number < (time.monotonic() - began) * self._rate:
                number += 1
                port = ALLOWED if number % 10 else DENIED
                stamp = _STAMP.pack(number, time.monotonic_ns())
                self._sender.sendto(stamp, ("10.77.0.2", port))
                self._sent += port == ALLOWED
            time.sleep(0.001)

    def _receive(self) -> None:
        idle = 0
        while idle < 10:
            try:
                number, stamp = _STAMP.unpack(self._receivers[ALLOWED].recv(100))
            except TimeoutError:
                idle += self._ending.is_set()
                continue
            self._arrived.add(number)
            self._longest_ns = max(self._longest_ns, time.monotonic_ns() - stamp)

    def seen(self) -> Seen:
        let_through = 0
        with contextlib.suppress(TimeoutError):
            while self._receivers[DENIED].recv(100):
                let_through += 1
        for one in (self._sender, *self._receivers.values()):
            one.close()
        lost = self._sent - len(self._arrived)
        return Seen(self._sent, lost, let_through, self._longest_ns / 1e6)


class _Agent:
    def __init__(self, server: Namespace, directory: Path) -> None:
        (directory / "policy.toml").write_text(POLICY, encoding="utf-8")
        config = directory / "agent.toml"
        config.write_text(CONFIG.format(directory=directory), encoding="utf-8")
        self._client = ControlClient(str(directory / "control"), timeout_seconds=60)
        program = "import sys; from trireme_collector.cli import main; sys.exit(main(sys.argv[1:]))"
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                server.command([sys.executable, "-P", "-c", program, "run", "-c", str(config)]),
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        _wait(lambda: self.judges(0))

    def judges(self, not_this: int) -> bool:
        with contextlib.suppress(ControlError):
            one = self._client.call("status", AgentStatus).processes[0]
            return one.pid != not_this and one.state == "judging"
        return False

    def kill(self) -> float:
        """Kill the enforcer, and give the milliseconds until another one said that it judges."""
        pid = self._client.call("status", AgentStatus).processes[0].pid
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        _wait(lambda: self.judges(pid))
        return (time.monotonic() - began) * 1e3

    def restart(self) -> float:
        """Exchange everybody, and give the longest pause."""
        return self._client.call("restart", RestartResult).longest_pause_ms

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("the agent does not judge")
        time.sleep(0.01)


def _show(name: str, seen: Seen, quiet_ms: float) -> bool:
    met = not seen.lost and not seen.let_through
    print(
        f"  {name:<46} {seen.sent:9} packets, lost {seen.lost}, let through {seen.let_through},"
        f" longest delay {seen.longest_ms:.1f} ms (quiet {quiet_ms:.1f})"
        f" {'met' if met else 'MISSED'}"
    )
    return met


def _measure(
    client: Namespace,
    server: Namespace,
    rate: int,
    disturb: list[Callable[[], float]],
    name: str,
    target_ms: float,
) -> bool:
    """Disturb a stream, and compare it with one that is left alone."""
    quiet = _Stream(client, server, rate)
    with quiet.flowing():
        time.sleep(3)
    quiet_ms = quiet.seen().longest_ms
    stream = _Stream(client, server, rate)
    with stream.flowing():
        time.sleep(0.5)
        pauses = [one() for one in disturb]
        time.sleep(0.5)
    met = _show(name, stream.seen(), quiet_ms)
    longest = max(pauses)
    word = "met" if longest < target_ms else "MISSED"
    print(f"  {'nobody judged, at most':<46} {longest:9.1f} ms  (target {target_ms:g}) {word}")
    return met and longest < target_ms


def run() -> bool:
    """Kill and exchange under load."""
    missing = missing_means()
    if missing:
        raise SystemExit("this benchmark needs: " + "; ".join(missing))
    met = True
    with Network() as network, tempfile.TemporaryDirectory() as name:
        client, server = network.namespace("client"), network.namespace("server")
        network.link(client, "out", ["10.77.0.1/24"], server, "in", ["10.77.0.2/24"])
        agent = _Agent(server, Path(name))
        try:
            kills = [agent.kill] * KILLS
            met &= _measure(client, server, 1_000, kills, f"{KILLS} kills at 1,000/s", 1_000)
            met &= _measure(client, server, 3_000, [agent.restart], "restart at 3,000/s", 50)
        finally:
            agent.end()
    return met
