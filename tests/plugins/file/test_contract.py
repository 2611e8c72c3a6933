"""The file collector keeps the contract of collectors."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from structlog.testing import capture_logs

from trireme_collector.testing import CollectorContract, Fault
from trireme_collector_file import FileCollector, FileOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path


class FileHarness:
    """A file on a disk that may be full."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.collectors: list[FileCollector] = []

    def build(self) -> object:
        self.collectors.append(FileCollector(FileOptions(path=str(self.path)), name="contract"))
        return self.collectors[-1]

    def received(self) -> Sequence[int]:
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["sequence"] for line in lines]

    def fail(self, fault: Fault) -> AbstractContextManager[object] | None:
        return self._full_disk() if fault is Fault.AWAY else None

    @contextlib.contextmanager
    def _full_disk(self) -> Iterator[None]:
        write = os.write

        def refuse(descriptor: int, data: bytes) -> int:
            if self.path.exists() and os.path.samestat(os.fstat(descriptor), self.path.stat()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(descriptor, data)

        with mock.patch.object(os, "write", refuse):
            yield


class TestFileCollector(CollectorContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[FileHarness]:
        with capture_logs():
            yield (harness := FileHarness(tmp_path / "flows.jsonl"))
        for collector in harness.collectors:
            collector.close()
