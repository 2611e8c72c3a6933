"""Established connections while packets flood in that open others.

A client asks an echo on one TCP connection, again and again. Meanwhile SYNs come from addresses
and ports that change with every packet, to the port that the policy allows. The agent judges what
begins, and has a queue of its own for packets that open connections. The same without an agent
shows what the flood itself costs a machine of this size, sender included.

``bench.syn_flood HARDWARE-ADDRESS RATE`` is the sender.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import struct
import sys
import time

from bench.agent_lab import PORT, SERVER, Lab, require_means
from bench.figures import paired_ratio, show, show_ratio
from bench.packet_sender import PacketSender, checksum, ipv4_header

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
RATE = int(os.environ.get("BENCH_RATE", "20000"))
SECONDS = 1.5
TARGET = 0.8
P99_US = 1_000.0
_FRAMES = 65_536
_SECONDS = 120


def _syn(target: bytes, source: bytes, port: int) -> bytes:
    destination = bytes(map(int, SERVER.split(".")))
    segment = struct.pack("!HHIIBBHHH", port, PORT, 1, 0, 0x50, 2, 1024, 0, 0)
    value = checksum(source + destination + struct.pack("!HH", 6, 20) + segment)
    segment = segment[:16] + struct.pack("!H", value) + segment[18:]
    return (
        target
        + bytes.fromhex("02000000aa01")
        + b"\x08\0"
        + (ipv4_header(source, destination, 6, 40) + segment)
    )


def send(address: str, rate: str) -> None:
    """Send SYNs at a steady pace, until it is ended or two minutes are over."""
    target = bytes.fromhex(address.replace(":", ""))
    chooser = random.Random()
    sources = ((198, 18 + chooser.randrange(2)), (203, 0), (192, 0))
    frames = [
        _syn(
            target,
            bytes((*chooser.choice(sources), *chooser.randbytes(2))),
            chooser.randrange(1024, 65_536),
        )
        for _ in range(_FRAMES)
    ]
    sender = PacketSender("out", frames)
    print("ready", flush=True)
    began, sent, pace = time.monotonic(), 0, float(rate)
    while (elapsed := time.monotonic() - began) < _SECONDS:
        due = min(int(elapsed * pace) - sent, 256)
        first = sent % _FRAMES
        sent += sender.send(first, min(due, _FRAMES - first)) if due > 0 else 0
        time.sleep(0.001)


class _Scene:
    """A pair of namespaces, and what happens in it."""

    def __init__(self, *, agent: bool, stack: contextlib.ExitStack) -> None:
        self.lab = lab = stack.enter_context(Lab())
        for name in ("all", "in"):
            lab.server.set_kernel(f"net/ipv4/conf/{name}/rp_filter", "0")
        lab.server.ip("route", "add", "blackhole", "192.0.0.0/2")  # nobody is there to answer
        self.agent = lab.agent(datapath="opening_queue = 1") if agent else None
        lab.traffic(lab.server, "echo")
        self._client = lab.traffic(lab.client, "ask", "tcp")
        links = json.loads(lab.server.ip("-json", "link", "show", "in"))
        self._flood = [
            *(sys.executable, "-m", "bench.syn_flood", links[0]["address"], str(RATE)),
        ]

    def quiet(self) -> dict[str, float]:
        return self.lab.ask(self._client, str(SECONDS))

    def flooded(self) -> dict[str, float]:
        process = self.lab.start(self.lab.client, self._flood)
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise SystemExit("the flood does not start")
        time.sleep(0.5)
        try:
            return self.quiet()
        finally:
            process.kill()
            process.wait()


def _compare(name: str, scene: _Scene) -> tuple[float, float]:
    quiet, flooded = [], []
    scene.quiet()
    for _ in range(ROUNDS):
        quiet.append(scene.quiet())
        flooded.append(scene.flooded())
        time.sleep(0.5)
    print(f"  {name}")
    rates = [[one["rate"] / 1000 for one in ones] for ones in (quiet, flooded)]
    show("  quiet, round trips", rates[0], "k/s")
    show("  flooded", rates[1], "k/s")
    show("  quiet, 99th percentile", [one["p99_us"] for one in quiet], "us")
    p99 = show("  flooded, 99th percentile", [one["p99_us"] for one in flooded], "us")
    ratio = paired_ratio(rates[1], rates[0])
    print(f"  {'  ratio':<46} {ratio:9.2f} x")
    return ratio, p99


def run() -> bool:
    """Compare quiet and flooded."""
    require_means()
    print(f"  {RATE:,} SYNs a second")
    with contextlib.ExitStack() as stack:
        alone = _compare("no agent", _Scene(agent=False, stack=stack))
    with contextlib.ExitStack() as stack:
        scene = _Scene(agent=True, stack=stack)
        guarded = _compare("agent", scene)
        packets = scene.agent.status().packets if scene.agent is not None else None
        if packets is not None and packets.queue is not None:
            print(
                f"  judged {packets.judged:,}, dropped by the kernel because the queue was full"
                f" {packets.queue.dropped_full + packets.queue.dropped_socket:,}"
            )
    print(f"  {'agent to no agent':<46} {guarded[0] / alone[0]:9.2f} x")
    met = show_ratio("established traffic, flooded to quiet", guarded[0], TARGET, at_least=True)
    word = "met" if guarded[1] <= P99_US else "MISSED"
    print(f"  {'99th percentile, flooded':<46} {guarded[1]:9.0f} us  (target {P99_US:g}) {word}")
    return met and guarded[1] <= P99_US


if __name__ == "__main__":
    send(*sys.argv[1:])
