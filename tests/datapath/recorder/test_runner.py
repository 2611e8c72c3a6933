"""From source to output until the end, whatever the end is."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.datapath.recorder.sources import ScriptedSource, frames
from trireme_datapath.recorder import CaptureFormat, StopCondition, StopReason
from trireme_datapath.recorder._output import StreamOutput
from trireme_datapath.recorder._recording import Recording
from trireme_datapath.recorder._runner import RecordingRunner
from trireme_datapath.recorder.capture_formats import CaptureInterface, encoder_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENCODER = encoder_of(CaptureFormat.PCAP, [CaptureInterface("test0")])


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    made = os.open(tmp_path / "out.pcap", os.O_RDWR | os.O_CREAT)
    yield made
    os.close(made)


def runner_of(
    source: ScriptedSource,
    descriptor: int,
    stop: StopCondition | None = None,
    *,
    max_bytes: int = 0,
    space: bool = True,
) -> RecordingRunner:
    now_ns = time.monotonic_ns()
    return RecordingRunner(
        Recording(stop or StopCondition(), now_ns),
        source,
        StreamOutput(descriptor, ENCODER, now_ns),
        max_bytes=max_bytes,
        has_space=lambda: space,
    )


def test_packets_that_wait_at_the_end_are_written(descriptor: int) -> None:
    source = ScriptedSource(frames(5))
    runner = runner_of(source, descriptor)
    runner.start()
    source.put(frames(7))
    runner.stop()
    runner.stop()
    assert runner.join(5)
    assert runner.statistics.packets_captured == 12
    assert runner.reason is StopReason.ASKED
    assert source.closed
    assert os.fstat(descriptor).st_size == 24 + 12 * 76
    runner.stop()  # long after the end


def test_a_limit_ends_it_in_the_middle_of_a_batch(descriptor: int) -> None:
    source = ScriptedSource(frames(5), frames(5))
    runner = runner_of(source, descriptor, StopCondition(packets_captured_count=7))
    runner.run()
    assert runner.statistics.packets_captured == 7
    assert runner.reason is StopReason.PACKETS


def test_time_ends_it_without_packets(descriptor: int) -> None:
    runner = runner_of(ScriptedSource(), descriptor, StopCondition(time_elapsed_ns=20_000_000))
    runner.run()
    assert runner.reason is StopReason.TIME
    assert os.fstat(descriptor).st_size == 24


def test_the_end_of_the_source_ends_it(descriptor: int) -> None:
    runner = runner_of(ScriptedSource(frames(3), ends=True), descriptor)
    runner.run()
    assert runner.reason is StopReason.SOURCE_END
    assert runner.statistics.packets_captured == 3


def test_losses_of_the_source_are_counted_once(descriptor: int) -> None:
    source = ScriptedSource(frames(3), ends=True)
    source.lost = (4, 100)
    runner = runner_of(source, descriptor)
    runner.run()
    assert (runner.statistics.packets_lost, runner.statistics.bytes_lost) == (4, 100)


@pytest.mark.parametrize(
    ("max_bytes", "space", "reason"),
    [(10, True, StopReason.SIZE), (0, False, StopReason.SPACE)],
)
def test_the_recorder_has_limits_of_its_own(
    descriptor: int, max_bytes: int, space: bool, reason: StopReason
) -> None:
    runner = runner_of(ScriptedSource(), descriptor, max_bytes=max_bytes, space=space)
    runner.run()
    assert runner.reason is reason
    assert runner.error is None


def test_an_output_that_breaks_ends_it(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ScriptedSource(frames(3))
    runner = runner_of(source, descriptor)

    def full(_descriptor: int, _parts: list[bytes]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.writev", full)
    runner.run()
    assert runner.reason is StopReason.FAILED
    assert isinstance(runner.error, OSError)
    assert runner.statistics.packets_captured == 0
    assert runner.statistics.packets_lost == 3
    assert source.closed


def test_a_source_that_breaks_ends_it(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ScriptedSource(frames(3))
    runner = runner_of(source, descriptor)
    monkeypatch.setattr(source, "losses", lambda: 1 / 0)
    runner.run()
    assert isinstance(runner.error, ZeroDivisionError)
    assert runner.reason is StopReason.FAILED
