"""The demo: real packets in a network of namespaces, or a replayed capture where that fails."""

from __future__ import annotations

from trireme_datapath.demo._attempts import ATTEMPTS, Attempt, Outcome, Result
from trireme_datapath.demo._live import run_live
from trireme_datapath.demo._replayed import run_replayed
from trireme_datapath.demo._report import DemoReport
from trireme_datapath.demo._screen import Screen
from trireme_datapath.demo._topology import Topology

__all__ = [
    "ATTEMPTS",
    "Attempt",
    "DemoReport",
    "Outcome",
    "Result",
    "Screen",
    "Topology",
    "run_live",
    "run_replayed",
]
