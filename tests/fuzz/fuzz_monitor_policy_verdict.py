"""Fuzz policy verdicts: ``python -m tests.fuzz.fuzz_monitor_policy_verdict --seconds 60``."""

from __future__ import annotations

import sys

from tests.fuzz.harness import main
from tests.fuzz.monitor_messages import message_target
from trireme_datapath.monitor import MessageType

__all__ = ["TARGET"]

TARGET = message_target(MessageType.POLICY_VERDICT, "policy-verdict")

if __name__ == "__main__":
    sys.exit(main([TARGET]))
