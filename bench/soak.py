"""Whether an agent stays as it is: memory, descriptors and threads over a long time.

Connections come at a steady pace, flows that the policy does not allow, too; the policy is loaded
anew twice a minute, and the status is asked for. One sink writes a file, another has a receiver
that comes and goes. After a while to settle down, what the processes take may not grow.

`--full` takes 20 minutes; two otherwise. `BENCH_SECONDS` says another time.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.agent_lab import (
    SERVER,
    Lab,
    cpu_seconds,
    processes_of,
    proportional_mebibytes,
    require_means,
)
from bench.connections import TIMEOUT_SECONDS, TIMEOUTS
from bench.round_trips import DISCARD
from trireme_collector.control import ReloadResult

if TYPE_CHECKING:
    import subprocess

    from bench.agent_lab import Agent

SECONDS = float(os.environ.get("BENCH_SECONDS", "1200" if os.environ.get("BENCH_FULL") else "120"))
RATE: Final = 300
CLIENTS: Final = 32
GROWTH_MEBIBYTES = 4.0
_SAMPLE_SECONDS: Final = 2.0
_RELOAD_SECONDS: Final = 30.0
_AWAY_SECONDS: Final = 20.0
_RECEIVER_PORT: Final = 6_514
_SECTIONS: Final = """
[delivery]
state_directory = "{directory}/state"
retry_max_seconds = 1.0
[collectors.file]
path = "{directory}/flows.json"
rotate_bytes = 10_000_000
keep = 3
[collectors.syslog]
transport = "tcp"
host = "127.0.0.1"
port = {port}
"""
_DENIED: Final = """
import socket, sys, time
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    client.sendto(b"x", (sys.argv[1], 9))
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other.sendto(b"x", (sys.argv[1], 9))
    other.close()
    time.sleep(0.01)
"""


class Sample(NamedTuple):
    """What all processes took at one time."""

    mebibytes: float
    descriptors: int
    threads: int


def _sample(agent: Agent) -> Sample:
    descriptors = threads = 0
    for pid in processes_of(agent.pid):
        descriptors += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        threads += len(list(Path(f"/proc/{pid}/task").iterdir()))
    return Sample(proportional_mebibytes(agent.pid), descriptors, threads)


class _Receiver:
    """A receiver that comes and goes."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._process: subprocess.Popen[str] | None = None

    def turn(self, elapsed: float) -> None:
        wanted = int(elapsed / _AWAY_SECONDS) % 2 == 0
        if wanted and self._process is None:
            command = [sys.executable, "-c", DISCARD, str(_RECEIVER_PORT)]
            self._process = self._lab.start(self._lab.server, command)
        elif not wanted and self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _watch(lab: Lab, agent: Agent) -> list[Sample]:
    receiver = _Receiver(lab)
    samples: list[Sample] = []
    began = time.monotonic()
    next_reload = _RELOAD_SECONDS
    while (elapsed := time.monotonic() - began) < SECONDS:
        receiver.turn(elapsed)
        if elapsed >= next_reload:
            next_reload += _RELOAD_SECONDS
            policy = lab.directory / "policy.toml"
            text = policy.read_text(encoding="utf-8")
            policy.write_text(f"{text}# {elapsed:.0f}\n", encoding="utf-8")
            agent.control.call("reload", ReloadResult)
        samples.append(_sample(agent))
        if len(samples) % 30 == 0:
            print(f"    {elapsed:6.0f} s: {samples[-1].mebibytes:.1f} MiB", flush=True)
        time.sleep(_SAMPLE_SECONDS)
    return samples


def _compare(name: str, ones: list[float], others: list[float], bound: float, unit: str) -> bool:
    before, after = statistics.median(ones), statistics.median(others)
    met = after - before <= bound
    print(
        f"  {name:<46} {before:9.1f} {unit} in the second quarter, {after:.1f} in the last"
        f"  (may grow by {bound:g}) {'met' if met else 'MISSED'}"
    )
    return met


def run() -> bool:
    """Watch it."""
    require_means()
    with Lab(clients=CLIENTS) as lab:
        for state in TIMEOUTS:
            lab.server.set_kernel(
                f"net/netfilter/nf_conntrack_tcp_timeout_{state}", str(TIMEOUT_SECONDS)
            )
        agent = lab.agent(sections=_SECTIONS.format(directory=lab.directory, port=_RECEIVER_PORT))

        lab.traffic(lab.server, "answer")
        count = str(int(RATE * (SECONDS + 10)))
        client = lab.traffic(lab.client, "connect", str(CLIENTS), str(RATE), count)
        if client.stdin is not None:
            client.stdin.write("\n")
            client.stdin.flush()
        lab.start(lab.client, [sys.executable, "-c", _DENIED, SERVER])
        spent = cpu_seconds(agent.pid)
        samples = _watch(lab, agent)
        spent = cpu_seconds(agent.pid) - spent
        status = agent.status()
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[3 * quarter :]
    print(f"  {SECONDS:.0f} s, {RATE} connections/s, {spent / SECONDS * 100:.1f} % of a core")
    met = _compare(
        "memory of all processes",
        [one.mebibytes for one in second],
        [one.mebibytes for one in last],
        GROWTH_MEBIBYTES,
        "MiB",
    )
    for name in ("descriptors", "threads"):
        met &= _compare(
            name,
            [float(getattr(one, name)) for one in second],
            [float(getattr(one, name)) for one in last],
            0,
            "",
        )
    balanced = all(
        one.accepted == one.delivered + one.dead_lettered + one.dropped + one.queued
        for one in status.records.collectors
    )
    crossing = status.crossing
    lost = -1 if crossing is None else crossing.dropped + crossing.lost
    print(f"  records lost between the processes: {lost}; the accounts balance: {balanced}")
    return met and balanced and lost == 0
