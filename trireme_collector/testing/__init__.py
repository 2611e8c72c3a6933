"""Collectors, clocks and a contract for tests; importing them needs nothing but this library."""

from __future__ import annotations

from trireme_collector.testing._clock import FakeClock
from trireme_collector.testing._collectors import FailingCollector, MemoryCollector
from trireme_collector.testing._contract import CollectorContract, CollectorHarness, Fault

__all__ = [
    "CollectorContract",
    "CollectorHarness",
    "FailingCollector",
    "FakeClock",
    "Fault",
    "MemoryCollector",
]
