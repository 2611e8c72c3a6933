"""Collectors and clocks for tests; they need neither pytest nor anything else."""

from __future__ import annotations

from trireme_collector.testing._clock import FakeClock
from trireme_collector.testing._collectors import FailingCollector, MemoryCollector

__all__ = ["FailingCollector", "FakeClock", "MemoryCollector"]
