"""Bulk TCP through an agent, beside the kernel's connection tracking alone.

One stream on one connection, in turn through three pairs of namespaces: one whose kernel tracks
connections and no more, one with an agent that judges what begins, and one with an agent that
judges every packet, large segments whole. Each is measured for a second or two at a time; the
ratios are of measurements right after each other.

What the sender's congestion control is decides more than anybody on the way: each is named, and
none is left to what the machine happens to have as its own. CUBIC, the default of Linux, is
measured twice: with both ends wherever the scheduler puts them, and with each held on a core of its
own, nearer to what two hosts are. BBR lets no more be on its way than twice the bandwidth times the
shortest round trip it saw, some microseconds here, and leaves cores idle.
"""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bench.agent_lab import Lab, require_means
from bench.figures import interleave, paired_ratio, show, show_ratio

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
SECONDS = 2.0
NEW_TARGET, ALL_TARGET = 0.95, 0.5
_CONGESTION = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


def run() -> bool:
    """Compare them."""
    require_means()
    with contextlib.ExitStack() as stack:
        labs = {name: stack.enter_context(Lab()) for name in ("tracked", "new", "all")}
        labs["tracked"].server.run(
            ["iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW"]
        )
        for mode in ("new", "all"):
            labs[mode].agent(mode=mode)
        clients = {}
        servers = {}
        for name, lab in labs.items():
            servers[name] = lab.traffic(lab.server, "take")
            clients[name] = lab.traffic(lab.client, "give")

        def measure(name: str, congestion: str) -> float:
            return labs[name].ask(clients[name], f"{SECONDS} {congestion}")["rate"] / 1e6

        for name in labs:
            measure(name, "cubic")  # the first is slower: windows grow, tables are filled
        met = _compare("CUBIC, wherever the scheduler puts everybody", measure, "cubic")
        if "bbr" in _CONGESTION.read_text(encoding="ascii").split():
            met &= _compare("BBR, wherever the scheduler puts everybody", measure, "bbr")
        cores = sorted(os.sched_getaffinity(0))
        for name in labs:
            os.sched_setaffinity(clients[name].pid, cores[:1])
            os.sched_setaffinity(servers[name].pid, cores[1:2] or cores)
        return _compare("CUBIC, each end on a core of its own", measure, "cubic") and met


def _compare(how: str, measure: Callable[[str, str], float], congestion: str) -> bool:
    print(f"  {how}:")
    names = ("tracked", "new", "all")
    figures = interleave(
        ROUNDS, {name: functools.partial(measure, name, congestion) for name in names}
    )
    show("connection tracking alone", figures["tracked"], "MB/s")
    show("agent, what begins is queued", figures["new"], "MB/s")
    show("agent, every packet is queued", figures["all"], "MB/s")
    new = paired_ratio(figures["new"], figures["tracked"])
    every = paired_ratio(figures["all"], figures["tracked"])
    met = show_ratio("what begins is queued", new, NEW_TARGET, at_least=True)
    return show_ratio("every packet is queued", every, ALL_TARGET, at_least=True) and met
