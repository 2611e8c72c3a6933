"""The datapath's part of the testing kit: queues, packets, packet scripts and policy assertions.

All of it is found in ``trireme_collector.testing``, too. `strategies` needs hypothesis.
"""

from __future__ import annotations

from trireme_datapath.backends.fake import Door, FakeVerdict
from trireme_datapath.testing._assertions import assert_allows, assert_denies, explain_flow
from trireme_datapath.testing._crafting import ScriptError, craft
from trireme_datapath.testing._flow_text import FlowError
from trireme_datapath.testing._policies import PolicySource
from trireme_datapath.testing._policy_tests import (
    PolicyTestCase,
    PolicyTestReport,
    PolicyTestResult,
    run_policy_tests,
)
from trireme_datapath.testing._queue import FakeQueue
from trireme_datapath.testing._script import SECOND_NS, START_NS, PlayScript, play
from trireme_datapath.testing._script_records import tell

__all__ = [
    "SECOND_NS",
    "START_NS",
    "Door",
    "FakeQueue",
    "FakeVerdict",
    "FlowError",
    "PlayScript",
    "PolicySource",
    "PolicyTestCase",
    "PolicyTestReport",
    "PolicyTestResult",
    "ScriptError",
    "assert_allows",
    "assert_denies",
    "craft",
    "explain_flow",
    "play",
    "run_policy_tests",
    "tell",
]
