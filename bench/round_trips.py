"""Round trips through the queue while every sink is busy, beside the same while they are not.

A client asks an echo by UDP, again and again; both directions are queued and judged. The agent
has a spool with a million records for each of two syslog receivers that are away: quiet. Then
they come: busy, the process of the collectors takes all the time that it gets. Besides, a file is
synced at each batch, and an HTTP server refuses all the time.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final

import structlog

from bench.agent_lab import CLIENT, PORT, SERVER, Lab, cpu_seconds, require_means
from bench.figures import paired_ratio, show, show_ratio
from trireme_collector import ActionType, EndPoint, FlowRecord
from trireme_datapath.agent import load_agent_config

if TYPE_CHECKING:
    from pathlib import Path

    from bench.agent_lab import Agent

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS: Final = 1.5
RATE_TARGET, P99_TARGET = 0.8, 2.0
_RECORDS: Final = 1_000_000
_RECEIVERS: Final = (6_514, 6_515)
_SECTIONS: Final = """
[delivery]
state_directory = "{directory}/state"
retry_initial_seconds = 0.2
retry_max_seconds = 0.2
log_interval_seconds = 3600
[collectors.file]
path = "{directory}/flows.json"
fsync = "always"
[collectors.refused]
type = "http"
url = "http://127.0.0.1:9/"
"""
_RECEIVER: Final = """
[collectors.away{port}]
type = "syslog"
transport = "tcp"
host = "127.0.0.1"
port = {port}
"""
DISCARD: Final = """
import selectors, socket, sys
selector = selectors.DefaultSelector()
for port in sys.argv[1:]:
    listener = socket.create_server(("127.0.0.1", int(port)))
    selector.register(listener, selectors.EVENT_READ, True)
buffer = bytearray(1 << 20)
while True:
    for key, _ in selector.select():
        if key.data:
            selector.register(key.fileobj.accept()[0], selectors.EVENT_READ, False)
        elif not key.fileobj.recv_into(buffer):
            selector.unregister(key.fileobj)
"""


def _fill(config: Path) -> None:
    """Leave the spools as an agent does whose receivers were away."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # they are away
    pipeline = load_agent_config(config).pipeline()
    pipeline.start()
    for number in range(_RECORDS):
        record = FlowRecord(
            context_id="server",
            source=EndPoint(id="default", ip=CLIENT, port=number & 0xFFFF),
            destination=EndPoint(id="server", ip=SERVER, port=PORT),
            policy_id="service",
            action=ActionType.ACCEPT,
            l4_protocol=6,
            count=1,
            start_time_ns=number,
        )
        pipeline.collect_flow_event(record)
        if not number % 20_000:
            pipeline.flush(0.2)
    pipeline.close(2)


class _Scene:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        receivers = "".join(_RECEIVER.format(port=port) for port in _RECEIVERS)
        sections = _SECTIONS.format(directory=lab.directory) + receivers
        (lab.directory / "policy.toml").write_text("version = 1\n", encoding="utf-8")
        fill = lab.directory / "fill.toml"
        quiet = sections.replace(f"{lab.directory}/flows.json", "/dev/null")
        fill.write_text(
            '[datapath]\npolicy = "policy.toml"\n[aggregation]\nwindow_seconds = 0\n' + quiet,
            encoding="utf-8",
        )
        print(f"  filling the spools with {_RECORDS:,} records", flush=True)
        _fill(fill)
        self.agent: Agent = lab.agent(mode="all", sections=sections)
        lab.traffic(lab.server, "echo")
        self._client = lab.traffic(lab.client, "ask", "udp")
        self._collectors = self.agent.pid_of("collectors")
        self.shares: dict[str, list[float]] = {"quiet": [], "busy": []}

    def quiet(self) -> dict[str, float]:
        return self._ask("quiet")

    def busy(self) -> dict[str, float]:
        ports = [str(port) for port in _RECEIVERS]
        receiver = self._lab.start(self._lab.server, [sys.executable, "-c", DISCARD, *ports])
        time.sleep(0.8)  # until they are found again
        try:
            return self._ask("busy")
        finally:
            receiver.kill()
            receiver.wait()
            time.sleep(0.3)

    def _ask(self, name: str) -> dict[str, float]:
        before, began = cpu_seconds(self._collectors), time.monotonic()
        seen = self._lab.ask(self._client, str(SECONDS))
        spent = cpu_seconds(self._collectors) - before
        self.shares[name].append(spent / (time.monotonic() - began) * 100)
        return seen


def run() -> bool:
    """Compare quiet and busy."""
    require_means()
    with Lab() as lab:
        scene = _Scene(lab)
        scene.quiet()
        quiet, busy = [], []
        for _ in range(ROUNDS):
            quiet.append(scene.quiet())
            busy.append(scene.busy())
        left: list[int] = []
        # While the process of the collectors is busy, it may not answer in time.
        while not left:
            left = [one.queued for one in scene.agent.status().records.collectors]
    rates = [[one["rate"] / 1000 for one in ones] for ones in (quiet, busy)]
    tails = [[one["p99_us"] for one in ones] for ones in (quiet, busy)]
    show("quiet, round trips", rates[0], "k/s")
    show("busy", rates[1], "k/s")
    show("quiet, 99th percentile", tails[0], "us")
    show("busy", tails[1], "us")
    show("quiet, collectors' share of a core", scene.shares["quiet"], "%")
    share = show("busy", scene.shares["busy"], "%")
    print(f"  records that still wait: {max(left):,}")
    met = show_ratio(
        "round trips, busy to quiet", paired_ratio(*reversed(rates)), RATE_TARGET, at_least=True
    )
    met &= show_ratio("99th percentile, busy to quiet", paired_ratio(*reversed(tails)), P99_TARGET)
    if share < 30 or not max(left):
        print("  the sinks were not busy all the time: this says nothing")
        return False
    return met
