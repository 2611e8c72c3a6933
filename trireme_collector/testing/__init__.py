"""Collectors, clocks, queues, scripts and a contract for tests.

Importing it needs nothing but this library, and loads no test framework. `strategies` needs
hypothesis. What belongs to the datapath is at home in ``trireme_datapath.testing`` and is loaded
from there when it is first asked for; ``__init__.pyi`` tells type checkers.
"""

from __future__ import annotations

from trireme_collector.testing._clock import FakeClock
from trireme_collector.testing._collectors import (
    FailingCollector,
    MemoryCollector,
    SlowCollector,
)
from trireme_collector.testing._contract import CollectorContract, CollectorHarness, Fault
from trireme_collector.testing._elsewhere import find as _find
from trireme_collector.testing._elsewhere import names as _names
from trireme_collector.testing._expectations import Expectation
from trireme_collector.testing._matchers import (
    Matcher,
    RecordMatcher,
    absent,
    anything,
    between,
    contains,
    differences,
    glob,
    in_network,
    like,
    not_,
    one_of,
    regex,
)
from trireme_collector.testing._mock import Expectations, MockCollector, UnexpectedCallError

__all__ = [
    "CollectorContract",
    "CollectorHarness",
    "Expectation",
    "Expectations",
    "FailingCollector",
    "FakeClock",
    "Fault",
    "Matcher",
    "MemoryCollector",
    "MockCollector",
    "RecordMatcher",
    "SlowCollector",
    "UnexpectedCallError",
    "absent",
    "anything",
    "between",
    "contains",
    "differences",
    "glob",
    "in_network",
    "like",
    "not_",
    "one_of",
    "regex",
]


def __getattr__(name: str) -> object:
    found = globals()[name] = _find(__name__, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_names()})
