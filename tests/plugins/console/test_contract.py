"""The console collector keeps the contract of collectors."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from trireme_collector.testing import CollectorContract, Fault
from trireme_collector_console import ConsoleCollector, ConsoleOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager


class ConsoleHarness:
    """A screen that may be paused."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("screen")
        self.paused = False

    def build(self) -> object:
        return ConsoleCollector(
            ConsoleOptions(json=True),
            name="contract",
            descriptor=self.descriptor,
            wait_writable=lambda _: not self.paused,
        )

    def received(self) -> Sequence[int]:
        lines = os.pread(self.descriptor, 1 << 24, 0).decode().splitlines()
        return [json.loads(line)["sequence"] for line in lines]

    def fail(self, fault: Fault) -> AbstractContextManager[object] | None:
        # One whose reader is gone never comes back: the contract has no word for that.
        return self._pause() if fault is Fault.AWAY else None

    @contextlib.contextmanager
    def _pause(self) -> Iterator[None]:
        self.paused = True
        yield
        self.paused = False


class TestConsoleCollector(CollectorContract):
    @pytest.fixture
    def harness(self) -> Iterator[ConsoleHarness]:
        with capture_logs():
            yield (harness := ConsoleHarness())
        os.close(harness.descriptor)
