"""What following conversations costs: lines of NetObserv JSON in, lines out, on one core.

The input is that of the figures that are published for the original: flow logs of about 820 bytes,
20 for each conversation, 30 % IPv6, 78 % TCP, 20 % UDP and 2 % ICMP, spread over 70 seconds.
``--full`` takes a million of them with 50,000 conversations, as there; otherwise it is a tenth.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.figures import interleave, show, show_ratio

FULL_FLOWS = 1_000_000
SOME_FLOWS = 100_000
FLOWS_PER_CONVERSATION = 20
SPAN_MS = 70_000
BEGIN_MS = 1_700_000_000_000
ALL_TYPES = "flowLog,newConnection,heartbeat,endConnection"
ENDS = "endConnection"
TARGET_ALL_SECONDS = 20.0  # for a million flow logs
TARGET_ENDS_SECONDS = 10.0
TARGET_MIB = 1.2 * 317  # with 50,000 live conversations
MILLION = 1_000_000


def write_flows(path: Path, count: int) -> None:
    """Write flow logs with all fields that enrichment adds."""
    chance = random.Random(1)
    conversations: list[tuple[str, str, int, int, int, int]] = []
    for number in range(count // FLOWS_PER_CONVERSATION):
        is_ipv6 = chance.random() < 0.3
        if is_ipv6:
            ends = [
                f"2001:db8:{chance.randrange(65536):x}::{chance.randrange(1, 65536):x}"
                for _ in range(2)
            ]
        else:
            ends = [
                f"{net}.{chance.randrange(256)}.{chance.randrange(256)}"
                for net in ("10.1", "172.16")
            ]
        kind = chance.random()
        protocol = 6 if kind < 0.78 else 17 if kind < 0.98 else 58 if is_ipv6 else 1
        port = chance.randrange(32768, 61000)
        conversations.append(
            (ends[0], ends[1], port, chance.choice((80, 443, 53, 8443)), protocol, number)
        )
    with path.open("wb") as file:
        for index in range(count):
            one, other, port, service, protocol, who = chance.choice(conversations)
            is_back = chance.random() < 0.5
            now_ms = BEGIN_MS + index * SPAN_MS // count
            source, destination = (other, one) if is_back else (one, other)
            flow = {
                "SrcK8S_Namespace": f"ns-{who % 40}",
                "DstK8S_Namespace": f"ns-{who % 37}",
                "SrcK8S_OwnerName": f"deployment-{who % 400}",
                "DstK8S_OwnerName": f"deployment-{who % 370}",
                "FlowDirection": int(is_back),
                "SrcAddr": source,
                "DstAddr": destination,
                "SrcMac": f"0A:58:0A:80:00:{who % 256:02X}",
                "DstMac": f"0A:58:0A:81:00:{who % 251:02X}",
                "SrcK8S_Name": f"deployment-{who % 400}-7d9f8b6c5d-{who:05x}",
                "DstK8S_Name": f"deployment-{who % 370}-6c8d5b7f9c-{who:05x}",
                "SrcK8S_Type": "Pod",
                "DstK8S_Type": "Pod",
                "SrcPort": service if is_back else port,
                "DstPort": port if is_back else service,
                "SrcK8S_OwnerType": "Deployment",
                "DstK8S_OwnerType": "Deployment",
                "SrcK8S_HostIP": f"192.168.10.{who % 200}",
                "DstK8S_HostIP": f"192.168.11.{who % 200}",
                "SrcK8S_HostName": f"worker-{who % 200}",
                "DstK8S_HostName": f"worker-{who % 190}",
                "Proto": protocol,
                "Interface": "eth0",
                "Packets": chance.randrange(1, 500),
                "Bytes": chance.randrange(60, 500_000),
                "TimeFlowStartMs": now_ms - 5_000,
                "TimeFlowEndMs": now_ms,
                "TimeReceived": now_ms // 1000,
                "AgentIP": f"192.168.10.{who % 200}",
                "IfDirection": int(is_back),
                "Duplicate": False,
                "Flags": 16 if protocol == 6 else 0,
            }
            file.write(json.dumps(flow, separators=(",", ":")).encode() + b"\n")


def run() -> bool:
    """Measure the processor time of a million flow logs, and the memory."""
    is_full = bool(os.environ.get("BENCH_FULL"))
    count = FULL_FLOWS if is_full else SOME_FLOWS
    memory: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "flows.json"
        write_flows(path, count)
        print(f"  {count:,} flow logs of {path.stat().st_size // count} bytes")

        def measure(name: str) -> float:
            command = [sys.executable, "-m", "bench.netobserv_worker", str(path), name, str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, mebibytes = done.stdout.split()
            memory[name] = max(memory.get(name, 0), int(mebibytes))
            return float(seconds) / count * MILLION

        figures = interleave(
            1 if is_full else 3,
            {
                "plain": lambda: measure("plain"),
                "ends": lambda: measure(ENDS),
                "all": lambda: measure(ALL_TYPES),
            },
        )
    show("decode and encode each line, nothing else", figures["plain"], "s")
    ends = show("conversations, endConnection only", figures["ends"], "s")
    every = show("conversations, all record types", figures["all"], "s")
    largest = max(memory[ENDS], memory[ALL_TYPES])
    print(f"  {'largest resident memory':<46} {largest:9d} MiB")
    met = show_ratio("endConnection only against the target", ends / TARGET_ENDS_SECONDS, 1)
    met &= show_ratio("all record types against the target", every / TARGET_ALL_SECONDS, 1)
    return met & show_ratio("memory against the target", largest / TARGET_MIB, 1)
