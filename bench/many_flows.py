"""A million flows in a minute, no two alike: memory, exact sums, and no stall.

Datagrams from 65,536 addresses, each with a port that is used once, are judged, written as JSON
lines, and taken by a server that looks how old they are. Meanwhile the memory of the agent's
processes is read, pages that they share divided among them. In the end every packet and byte has
to be in the records. The same stream without an agent is the yardstick for delays: sender and
server are Python, and the machine does other things, too.

``bench.many_flows send ... | take`` are sender and server.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import msgspec

from bench.agent_lab import PORT, SERVER, Lab, proportional_mebibytes, require_means, wait_until
from bench.packet_sender import PacketSender, ipv4_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.agent_lab import Agent

FLOWS = int(os.environ.get("BENCH_FLOWS", "1000000"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
MEBIBYTES = 100.0 * 1_000_000 / (1 << 20)
STALL_MS = 20.0
UDP_TIMEOUT_SECONDS: Final = 5
_IP_BYTES: Final = 44
_STAMP: Final = struct.Struct("!QQ")
_PORT: Final = struct.Struct("!H")
_STAMP_PLACE: Final = 14 + 20 + 8
_SO_RCVBUFFORCE: Final = 33
_QUIET_SECONDS: Final = 8.0
_PATIENCE_SECONDS: Final = 90.0


class _Flow(msgspec.Struct):
    """What is added up of a line."""

    type: str
    phase: str = ""
    count: int = 0
    packets: int = 0
    bytes: int = 0


def _frames(target: bytes) -> Iterator[bytes]:
    """Give a frame for each client address; ports and stamps come later."""
    server = bytes(map(int, SERVER.split(".")))
    for number in range(65_536):
        source = bytes((10, 78, number >> 8, number & 255))
        udp = struct.pack("!HHHH", 0, PORT, _IP_BYTES - 20, 0)
        yield (
            target
            + bytes.fromhex("02000000aa01")
            + b"\x08\0"
            + ipv4_header(source, server, 17, _IP_BYTES)
            + udp
            + bytes(_STAMP.size)
        )


def send(address: str, count: str, rate: str) -> None:
    """Send so many datagrams at a steady pace, each with a number and the time."""
    sender = PacketSender("out", list(_frames(bytes.fromhex(address.replace(":", "")))))
    buffer, size = sender.buffer, sender.size
    print("ready", flush=True)
    for line in sys.stdin:
        wanted = int(line or count)
        began, sent = time.monotonic(), 0
        while sent < wanted:
            due = int((time.monotonic() - began) * float(rate)) + 1
            while sent < min(due, wanted):
                first = sent % 65_536
                many = min(due - sent, wanted - sent, 65_536 - first, 64)
                now_ns = time.monotonic_ns()
                for number in range(sent, sent + many):
                    place = number % 65_536 * size
                    _PORT.pack_into(buffer, place + 34, 1_024 + (number >> 16))
                    _STAMP.pack_into(buffer, place + _STAMP_PLACE, number, now_ns)
                sent += sender.send(first, many)
            time.sleep(0.0005)
        print(json.dumps({"sent": sent, "seconds": time.monotonic() - began}), flush=True)


def take() -> None:
    """Take datagrams; each line of the input asks what came since the one before."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
    receiver.bind((SERVER, PORT))
    receiver.settimeout(0.2)
    seen: dict[str, float] = {}
    lock = threading.Lock()

    def forget() -> None:
        seen.update(taken=0, late=0, longest_ms=0.0)

    def work() -> None:
        buffer = bytearray(100)
        clock, unpack, receive = time.monotonic_ns, _STAMP.unpack_from, receiver.recv_into
        while True:
            try:
                receive(buffer)
            except TimeoutError:
                continue
            age_ns = clock() - unpack(buffer)[1]
            with lock:
                seen["taken"] += 1
                if age_ns > STALL_MS * 1e6:
                    seen["late"] += 1
                if age_ns > seen["longest_ms"] * 1e6:
                    seen["longest_ms"] = age_ns / 1e6

    forget()
    threading.Thread(target=work, daemon=True).start()
    print("ready", flush=True)
    for _ in sys.stdin:
        with lock:
            print(json.dumps(seen), flush=True)
            forget()


class _Memory:
    """Reads the memory of an agent twice a second."""

    def __init__(self, agent: Agent) -> None:
        self._pid = agent.pid
        self._names = {one.name: one.pid for one in agent.status().processes}
        self._ending = threading.Event()
        self.base = proportional_mebibytes(agent.pid)
        self.most = self.base
        self.parts: dict[str, float] = {}
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ending.wait(0.5):
            self.most = max(self.most, proportional_mebibytes(self._pid))
            for name, pid in self._names.items():
                self.parts[name] = max(self.parts.get(name, 0), proportional_mebibytes(pid))

    def close(self) -> None:
        self._ending.set()
        self._thread.join()


def _stream(lab: Lab, count: int) -> dict[str, float]:
    links = json.loads(lab.server.ip("-json", "link", "show", "in"))
    words = [links[0]["address"], str(count), str(FLOWS / SECONDS)]
    module = [sys.executable, "-m", "bench.many_flows"]
    server = lab.start(lab.server, [*module, "take"])
    client = lab.start(lab.client, [*module, "send", *words])
    for one in (server, client):
        if one.stdout is None or one.stdout.readline() != "ready\n":
            raise SystemExit("the traffic does not start")
    sent = lab.ask(client, str(count))
    time.sleep(1)
    return {**lab.ask(server, ""), **sent}


def _prepare(lab: Lab) -> None:
    for name in ("all", "in"):
        lab.server.set_kernel(f"net/ipv4/conf/{name}/rp_filter", "0")
    for name in ("udp_timeout", "udp_timeout_stream"):
        lab.server.set_kernel(f"net/netfilter/nf_conntrack_{name}", str(UDP_TIMEOUT_SECONDS))
    lab.server.ip("route", "add", "10.78.0.0/16", "dev", "in")


def _sums(path: Path) -> tuple[int, int, int]:
    flows = packets = size = 0
    decode = msgspec.json.Decoder(_Flow).decode
    with path.open("rb") as lines:
        for line in lines:
            record = decode(line)
            if record.type == "flow":
                flows += 0 if record.phase else record.count
                packets += record.packets
                size += record.bytes
    return flows, packets, size


def _print(name: str, seen: dict[str, float]) -> None:
    print(
        f"  {name:<46} {seen['sent']:,.0f} packets in {seen['seconds']:.1f} s,"
        f" lost {seen['sent'] - seen['taken']:.0f}, longest delay {seen['longest_ms']:.1f} ms,"
        f" {seen['late']:.0f} over {STALL_MS:g} ms",
        flush=True,
    )


def run() -> bool:
    """Send them all."""
    require_means(("conntrack", "apt-get install conntrack"))
    with Lab() as lab:
        _prepare(lab)
        lab.server.run(["iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW"])
        _print("no agent", _stream(lab, int(FLOWS / SECONDS * _QUIET_SECONDS)))
    with Lab() as lab:
        _prepare(lab)
        agent = lab.agent()
        memory = _Memory(agent)
        try:
            seen = _stream(lab, FLOWS)
            _print("agent", seen)
            wait_until(lambda: _ends(lab) == 0, _PATIENCE_SECONDS, "the kernel forgot all flows")
            made = -1
            while made != (made := _records_made(agent)):
                time.sleep(2)
        finally:
            memory.close()
        queue = agent.status().packets.queue
        agent.close()  # writes what is left
        flows, packets, size = _sums(agent.records)
    grown = memory.most - memory.base
    dropped = 0 if queue is None else queue.dropped_full + queue.dropped_socket
    print(f"  {'packets dropped by the queue':<46} {dropped}")
    passed = FLOWS - dropped  # what the kernel dropped is told by its own counter
    exact = (flows, packets, size) == (passed, passed, passed * _IP_BYTES)
    print(
        f"  {'in records':<46} {flows:,} flows, {packets:,} packets, {size:,} bytes"
        f"  (judged {passed:,}, {passed:,}, {passed * _IP_BYTES:,}) {'met' if exact else 'MISSED'}"
    )
    slim = grown <= MEBIBYTES
    print(
        f"  {'memory, more than before':<46} {grown:9.1f} MiB of {memory.base:.0f}"
        f"  (target {MEBIBYTES:.0f}) {'met' if slim else 'MISSED'}"
    )
    for name, most in memory.parts.items():
        print(f"    {name:<44} {most:9.1f} MiB at most")
    smooth = seen["longest_ms"] <= STALL_MS
    print(
        f"  {'longest delay of a packet':<46} {seen['longest_ms']:9.1f} ms"
        f"  (target {STALL_MS:g}) {'met' if smooth else 'MISSED'}"
    )
    return exact and slim and smooth


def _records_made(agent: Agent) -> int:
    crossing = agent.status().crossing
    return 0 if crossing is None else crossing.made


def _ends(lab: Lab) -> int:
    time.sleep(1)
    lab.server.run(["conntrack", "-L", "-p", "icmp"])  # has the kernel look for what expired
    return int(lab.server.run(["conntrack", "-C"]))


if __name__ == "__main__":
    {"send": send, "take": take}[sys.argv[1]](*sys.argv[2:])
