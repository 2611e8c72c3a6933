"""Fuzz trace notifications: ``python -m tests.fuzz.fuzz_monitor_trace --seconds 60 --seed 1``."""

from __future__ import annotations

import sys

from tests.fuzz.harness import main
from tests.fuzz.monitor_messages import message_target
from trireme_datapath.monitor import MessageType

__all__ = ["TARGET"]

TARGET = message_target(MessageType.TRACE, "trace")

if __name__ == "__main__":
    sys.exit(main([TARGET]))
