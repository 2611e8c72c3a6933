"""Numbers in shared memory: what one process writes, another reads, and they outlive both."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from trireme_datapath.processes import MAX_WORKERS
from trireme_datapath.processes._board import CollectorBoard, EnforcerBoard

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = EnforcerBoard.make()
    yield descriptor
    os.close(descriptor)


def test_another_sees_what_was_written(memory: int) -> None:
    first, second = EnforcerBoard(memory), EnforcerBoard(memory)
    first.write(beat_ns=1, judged=2, denied=3, made=4, sent=5, unsent=2**63)
    first.settled = 6
    first.listed_ns = 2**61
    first.report([7, 8, 9, -1])
    assert (second.beat_ns, second.judged, second.denied, second.settled) == (1, 2, 3, 6)
    assert (second.made, second.sent, second.unsent) == (4, 5, 2**63)
    assert second.listed_ns == 2**61
    assert second.reported == (7, 8, 9, 0)
    first.beat(10)
    assert second.beat_ns == 10
    assert second.judged == 2
    first.close()
    second.close()


def test_a_process_that_is_gone_leaves_its_numbers(memory: int) -> None:
    code = (
        "from trireme_datapath.processes._board import EnforcerBoard\n"
        f"board = EnforcerBoard({memory})\n"
        "board.write(beat_ns=1, judged=77, denied=0, made=0, sent=0, unsent=0)\n"
    )
    subprocess.run([sys.executable, "-c", code], pass_fds=[memory], check=True)
    board = EnforcerBoard(memory)
    assert board.judged == 77
    board.close()


def test_each_slot_has_its_own_numbers() -> None:
    descriptor = CollectorBoard.make()
    board = CollectorBoard(descriptor)
    for slot in range(MAX_WORKERS + 1):
        board.take(slot, 10 * slot, slot)
    board.beat(5)
    assert [board.taken(slot) for slot in range(MAX_WORKERS + 1)] == [
        10 * slot for slot in range(MAX_WORKERS + 1)
    ]
    assert board.lost(MAX_WORKERS) == MAX_WORKERS
    assert board.beat_ns == 5
    board.close()
    os.close(descriptor)
