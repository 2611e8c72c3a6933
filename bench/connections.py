"""What a short connection costs: a JSON record each, beside Suricata and ulogd2.

A client opens TCP connections at a steady pace, one request and one answer on each, to a server
in another namespace. Only what begins a connection is queued. In turn, the same traffic meets:

* our agent, all its processes, as it is by default: it judges each connection, and writes one
  record with packets and bytes of both directions when it ends;
* Suricata 7 on the queue, without rules, with its EVE log of flows;
* ulogd2, which hears of connections from the kernel and writes JSON. It does not judge.

What is measured is user and system time of all processes and threads of the program under test,
from before the first connection until it has written the last record. Time of kernel threads is
nobody's. A packet that is let go on from a queue is delivered in the time of who let it go, so
much of a handshake is in the figures of those who judge.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Final, Protocol

from bench.agent_lab import Lab, cpu_seconds, require_means
from bench.figures import interleave, show, show_ratio
from bench.flow_loggers import Suricata, Ulogd
from trireme_datapath.kernel.conntrack import enable_accounting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUNS = int(os.environ.get("BENCH_ROUNDS", "3"))
RATE = int(os.environ.get("BENCH_RATE", "8000"))
SECONDS = 6
CLIENTS = 32
SURICATA_TARGET = 0.75
ULOGD_TARGET = 1.35
# How long the kernel keeps a connection that ended: its end is told then. Two minutes are usual.
TIMEOUTS: Final = ("time_wait", "fin_wait", "close_wait", "last_ack")
TIMEOUT_SECONDS: Final = 3
_BUFFERED: Final = 100  # what a program may keep until it ends
_PATIENCE_SECONDS: Final = 60.0

# One record for each connection: nothing merged, and nothing said when it is judged.
SECTIONS = """
[datapath.accounting]
report_opened = false
[aggregation]
window_seconds = 0
[collectors.file]
path = "{records}"
"""
# And another one when it is judged.
BOTH_SECTIONS = SECTIONS.replace("report_opened = false", "")


class Logger(Protocol):
    """A program that writes a line for each connection."""

    pid: int
    records: Path

    def close(self) -> None:
        """End it."""
        ...


def _measure(start: Callable[[Lab], Logger], expected: Callable[[bytes], bool]) -> float:
    """Give the CPU microseconds for a connection."""
    with Lab(clients=CLIENTS) as lab:
        lab.server.call(enable_accounting)
        for state in TIMEOUTS:
            lab.server.set_kernel(
                f"net/netfilter/nf_conntrack_tcp_timeout_{state}", str(TIMEOUT_SECONDS)
            )
        logger = start(lab)
        try:
            lab.traffic(lab.server, "answer")
            time.sleep(1)
            return _connect(lab, logger, expected)
        finally:
            logger.close()


def _connect(lab: Lab, logger: Logger, expected: Callable[[bytes], bool]) -> float:
    count = RATE * SECONDS
    client = lab.traffic(lab.client, "connect", str(CLIENTS), str(RATE), str(count))
    before = cpu_seconds(logger.pid)
    out, _ = client.communicate("\n", timeout=SECONDS * 10)
    seen = json.loads(out)
    if seen["failed"]:
        raise SystemExit(f"{seen['failed']} of {count} connections failed")
    # The kernel tells of the end of a connection when it comes to it; a list makes it do so.
    end = time.monotonic() + _PATIENCE_SECONDS
    while count - _lines(logger.records, expected) > _BUFFERED:
        if time.monotonic() > end:
            break
        time.sleep(1)
        lab.server.run(["conntrack", "-L", "-p", "icmp"])
    figure = (cpu_seconds(logger.pid) - before) / count * 1e6
    logger.close()
    missing = count - _lines(logger.records, expected)
    print(
        f"    {type(logger).__name__:<10} {count / seen['seconds']:6.0f} connections/s,"
        f" {missing} records missing, {figure:6.1f} us"
    )
    return figure


def _lines(path: Path, expected: Callable[[bytes], bool]) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as lines:
        return sum(map(expected, lines))


def _agent(lab: Lab, sections: str = SECTIONS) -> Logger:
    return lab.agent(sections=sections.format(records=lab.directory / "flows.json"))


def _ended(line: bytes) -> bool:
    return b'"phase":"ended"' in line


def _flow(line: bytes) -> bool:
    return b'"event_type":"flow"' in line


def run() -> bool:
    """Compare them."""
    require_means(("conntrack", "apt-get install conntrack"), *Suricata.needs, *Ulogd.needs)
    figures = interleave(
        RUNS,
        {
            "agent": lambda: _measure(_agent, _ended),
            "both": lambda: _measure(lambda lab: _agent(lab, BOTH_SECTIONS), _ended),
            "suricata": lambda: _measure(Suricata, _flow),
            "workers": lambda: _measure(lambda lab: Suricata(lab, "workers"), _flow),
            "ulogd": lambda: _measure(Ulogd, lambda line: b"orig.raw.pktlen" in line),
        },
    )
    ours = show("agent", figures["agent"], "us")
    suricata = show("Suricata, NFQ and EVE flow log", figures["suricata"], "us")
    ulogd = show("ulogd2, NFCT and JSON, does not judge", figures["ulogd"], "us")
    show("agent, another record at the judgement", figures["both"], "us")
    show("Suricata in the run mode workers", figures["workers"], "us")
    met = show_ratio("agent to Suricata", ours / suricata, SURICATA_TARGET)
    return show_ratio("agent to ulogd2", ours / ulogd, ULOGD_TARGET) and met
