"""Bulk TCP through an agent, beside the kernel's connection tracking alone.

One stream on one connection, in turn through three pairs of namespaces: one whose kernel tracks
connections and no more, one with an agent that judges what begins, and one with an agent that
judges every packet, large segments whole. Each is measured for a second or two at a time; the
ratios are of measurements right after each other.

All of it is measured twice: with both ends of the stream wherever the scheduler puts them, and with
each held on a core of its own, nearer to what two hosts are.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from bench.agent_lab import Lab, require_means
from bench.figures import interleave, paired_ratio, show, show_ratio

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
SECONDS = 2.0
NEW_TARGET, ALL_TARGET = 0.95, 0.5


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

        def measure(name: str) -> float:
            return labs[name].ask(clients[name], str(SECONDS))["rate"] / 1e6

        for name in labs:
            measure(name)  # the first is slower: windows grow, tables are filled
        met = _compare("ends and agent wherever the scheduler puts them", measure)
        cores = sorted(os.sched_getaffinity(0))
        for name in labs:
            os.sched_setaffinity(clients[name].pid, cores[:1])
            os.sched_setaffinity(servers[name].pid, cores[1:2] or cores)
        return _compare("each end on a core of its own", measure) and met


def _compare(how: str, measure: Callable[[str], float]) -> bool:
    print(f"  {how}:")
    figures = interleave(
        ROUNDS,
        {
            "tracked": lambda: measure("tracked"),
            "new": lambda: measure("new"),
            "all": lambda: measure("all"),
        },
    )
    show("connection tracking alone", figures["tracked"], "MB/s")
    show("agent, what begins is queued", figures["new"], "MB/s")
    show("agent, every packet is queued", figures["all"], "MB/s")
    new = paired_ratio(figures["new"], figures["tracked"])
    every = paired_ratio(figures["all"], figures["tracked"])
    met = show_ratio("what begins is queued", new, NEW_TARGET, at_least=True)
    return show_ratio("every packet is queued", every, ALL_TARGET, at_least=True) and met
