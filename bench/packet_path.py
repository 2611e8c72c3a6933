"""CPU per packet through one kernel queue, against a NetfilterQueue callback that only accepts.

A sender floods a virtual Ethernet pair with 64-byte UDP datagrams; the rules queue each of them
once and drop it behind the queue, so that what the rest of the stack does with it is not
measured. The queue fills up and is emptied again and again. The consumers run in turn, each as a
process of its own, and report the user and system time that the kernel accounted to them for a
fixed number of packets.

Three kinds of traffic: packets of known flows; new flows of one client to one server (new source
ports, so that the decision is remembered); and new flows that have nothing in common (random
addresses and ports, so that nothing is).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

from bench.figures import interleave, show, show_ratio
from trireme_datapath.kernel.namespaces import Network, missing_means

if TYPE_CHECKING:
    from trireme_datapath.kernel.namespaces import Namespace

RUNS = 5
TRAFFIC = {
    "known": ("known flows", 0.7),
    "ports": ("new flows, known pair of hosts", 1.6),
    "random": ("new flows, random addresses and ports", 1.6),
}


def _prepare(network: Network) -> tuple[Namespace, Namespace]:
    sender, judge = network.namespace("sender"), network.namespace("judge")
    network.link(sender, "out", ["10.77.0.1/16"], judge, "in", ["10.77.0.2/16"])
    for name in ("all", "in"):
        judge.set_kernel(f"net/ipv4/conf/{name}/rp_filter", "0")
    queue = ["-p", "udp", "-j", "NFQUEUE", "--queue-num", "7"]
    judge.run(["iptables", "-t", "raw", "-A", "PREROUTING", *queue])
    judge.run(["iptables", "-t", "mangle", "-A", "PREROUTING", "-p", "udp", "-j", "DROP"])
    return sender, judge


def _start(namespace: Namespace, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        namespace.command([sys.executable, "-m", *arguments]),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


def _measure(sender: Namespace, judge: Namespace, consumer: str, traffic: str) -> float:
    """Give the CPU microseconds per packet of one consumer under one kind of traffic."""
    target = json.loads(judge.ip("-json", "link", "show", "in"))[0]["address"]
    consuming = _start(judge, "bench.packet_consumer", consumer)
    flood = _start(sender, "bench.packet_flood", traffic, target)
    try:
        output, _ = consuming.communicate(timeout=120)
    finally:
        for process in (flood, consuming):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
    if consuming.returncode:
        raise SystemExit(f"the consumer {consumer} ended with {consuming.returncode}")
    return float(output)


def run() -> bool:
    """Compare both consumers under each kind of traffic."""
    missing = missing_means()
    if missing:
        print(f"  cannot be measured here: {'; '.join(missing)}")
        return False
    met = True
    with Network() as network:
        sender, judge = _prepare(network)
        for traffic, (words, target) in TRAFFIC.items():
            figures = interleave(
                RUNS,
                {
                    consumer: partial(_measure, sender, judge, consumer, traffic)
                    for consumer in ("accept", "engine")
                },
            )
            print(f"  {words}")
            base = show("  NetfilterQueue, accepts only", figures["accept"], "us")
            ours = show("  netlink backend and engine, 1,002 rules", figures["engine"], "us")
            met &= show_ratio("  ratio", ours / base, target)
    return met
