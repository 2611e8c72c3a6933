"""What observing costs: a flow that nobody reads, one that is followed, and slow clients."""

from __future__ import annotations

import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import show, show_ratio
from trireme_collector.records import (
    ActionType,
    Direction,
    EndPoint,
    EndPointType,
    FlowRecord,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_datapath.observer import FlowObserver

RATE = 10_000  # flows per second
SECONDS = 5
RUNS = 5
WRITES = 50_000
SLOW_CLIENTS = 100
SLOW_SECONDS = 3
MAX_WRITE_US = 5.0
MAX_SLOWDOWN = 1.5
MAX_GROWTH_MIB = 100.0
_TURN = 0.005


def _record(port: int) -> FlowRecord:
    now_ns = time.time_ns()
    return FlowRecord(
        namespace="shop",
        source=EndPoint(ip="192.0.2.1", port=port & 0xFFFF),
        destination=EndPoint(id="web", ip="192.0.2.2", type=EndPointType.PU, port=443),
        tags=("app=web", "tier=front"),
        l4_protocol=6,
        tcp_flags=2,
        action=ActionType.ACCEPT,
        direction=Direction.INGRESS,
        policy_id="web-in",
        start_time_ns=now_ns,
        end_time_ns=now_ns,
    )


@contextlib.contextmanager
def _served(max_rate: int = 0) -> Iterator[tuple[FlowObserver, str]]:
    from trireme_datapath.agent._services import AgentServices
    from trireme_datapath.observer.config import ObserverConfig

    with tempfile.TemporaryDirectory() as directory:
        place = f"unix://{directory}/s"
        services = AgentServices(
            ObserverConfig(listen=[place], max_rate=max_rate), node_name="bench"
        )
        services.open()
        assert services.observer is not None
        try:
            yield services.observer, place
        finally:
            services.close()


def _client(*words: str) -> subprocess.Popen[str]:
    client = subprocess.Popen(
        [sys.executable, "-m", "bench.observer_client", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdout is not None
    client.stdout.readline()
    time.sleep(0.5)  # until the server has seen it
    return client


def _write(observer: FlowObserver, rate: int, seconds: float) -> tuple[int, float]:
    """Write at a rate; give how many flows that were, and the longest wait of the writer."""
    begin = time.perf_counter()
    written, longest = 0, 0.0
    while (elapsed := time.perf_counter() - begin) < seconds:
        due = int(elapsed * rate)
        while written < due:
            record = _record(written)
            before = time.perf_counter()
            observer.observe(record, time.time_ns())
            longest = max(longest, time.perf_counter() - before)
            written += 1
        time.sleep(_TURN)
    return written, longest


def _write_cost(observer: FlowObserver) -> float:
    """Measure the processor time of this thread for one flow, in microseconds."""
    records = [_record(port) for port in range(1000)]
    now_ns = time.time_ns()
    begin = time.thread_time()
    for number in range(WRITES):
        observer.observe(records[number % 1000], now_ns)
    return (time.thread_time() - begin) / WRITES * 1e6


def _resident_mib() -> float:
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * resource.getpagesize() / (1 << 20)


def run() -> bool:
    """Measure all three."""
    with _served() as (observer, _):
        alone = [_write_cost(observer) for _ in range(RUNS)]
    met = show_ratio(
        "keep a flow that nobody reads, against its limit",
        show("keep a flow that nobody reads", alone, "us") / MAX_WRITE_US,
        1.0,
    )
    met &= _measure_follower()
    return _measure_slow(statistics.median(alone)) and met


def _measure_follower() -> bool:
    with _served() as (observer, place):
        client = _client("follow", place)
        begin = time.process_time()
        written, longest = _write(observer, RATE, SECONDS)
        time.sleep(0.5)
        spent = time.process_time() - begin
    output, _ = client.communicate(timeout=20)
    got = json.loads(output)
    print(
        f"  one follower: {written / SECONDS:,.0f} flows/s written, {got['flows'] / SECONDS:,.0f}"
        f" got, told of loss {got['told_of_loss']} times"
    )
    show("CPU of the server for a flow, writing included", [spent / written * 1e6], "us")
    show("CPU of the client for a flow", [got["cpu"] / max(1, got["flows"]) * 1e6], "us")
    show("longest wait of the writer", [longest * 1e3], "ms")
    return show_ratio(
        "flows per second against the target", RATE * SECONDS / max(1, got["flows"]), 1.02
    )


def _measure_slow(alone_us: float) -> bool:
    with _served() as (observer, place):
        _write(observer, RATE, 1)
        before = _resident_mib()
        client = _client("slow", place, str(SLOW_CLIENTS))
        _, longest = _write(observer, RATE, SLOW_SECONDS)
        time.sleep(0.5)
        beside = [_write_cost(observer) for _ in range(RUNS)]
        growth = _resident_mib() - before
        client.communicate(timeout=20)
    median = show(f"keep a flow beside {SLOW_CLIENTS} slow clients", beside, "us")
    show("longest wait of the writer", [longest * 1e3], "ms")
    show(f"memory for {SLOW_CLIENTS} slow clients", [growth], "MiB")
    met = show_ratio("beside slow clients against alone", median / alone_us, MAX_SLOWDOWN)
    return show_ratio("memory against its limit", growth / MAX_GROWTH_MIB, 1.0) and met
