from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.fuzz import harness
from tests.fuzz.harness import Target, all_targets, fuzz, main

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path


def _planted(data: bytes) -> Hashable:
    """Fail for a length field that lies, and for nothing else."""
    if len(data) >= 4 and data[:2] == b"ab" and data[2] > len(data):
        return data[data[2]]
    return len(data) // 8


class _Clock:
    """Goes on by a fixed step whenever it is read."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self._step = step

    def __call__(self) -> float:
        self.now += self._step
        return self.now


def test_a_planted_fault_is_found_and_made_short() -> None:
    report = fuzz(
        Target("planted", (b"ab\x04\x00" + bytes(60),), _planted), seed=1, max_inputs=5000
    )
    assert report.finding is not None
    assert report.finding.error.startswith("IndexError")
    assert len(report.finding.data) == 4
    assert report.finding.data[:2] == b"ab"


def test_a_sound_target_has_no_finding() -> None:
    report = fuzz(Target("sound", (b"seed",), len), seed=1, max_inputs=500)
    assert report.finding is None
    assert report.inputs == 500
    assert sum(report.outcomes.values()) == 500
    assert len(report.outcomes) > 10


def test_the_seed_decides_the_inputs() -> None:
    def inputs(seed: int) -> list[bytes]:
        seen: list[bytes] = []

        def run(data: bytes) -> Hashable:
            seen.append(data)
            return len(data)

        fuzz(Target("seen", (b"one", b"two"), run), seed=seed, max_inputs=200)
        return seen

    assert inputs(7) == inputs(7)
    assert inputs(7) != inputs(8)
    assert inputs(7)[:2] == [b"one", b"two"]


def test_inputs_stay_below_the_limit() -> None:
    sizes: list[int] = []

    def run(data: bytes) -> Hashable:
        sizes.append(len(data))
        return len(data)

    fuzz(Target("sizes", (b"x" * 40,), run, max_bytes=50), seed=1, max_inputs=1000)
    assert max(sizes) == 50


def test_time_ends_a_run() -> None:
    report = fuzz(Target("time", (b"",), len), seed=1, seconds=10, clock=_Clock(1.0))
    assert 3 <= report.inputs <= 10


def test_a_slow_input_is_a_finding_when_it_is_slow_again() -> None:
    clock = _Clock(1e-9)

    def run(data: bytes) -> Hashable:
        clock.now += len(data)
        return None

    target = Target("slow", (b"12345678",), run, max_seconds=5.0)
    report = fuzz(target, seed=1, max_inputs=1, cost=clock)
    assert report.finding is not None
    assert report.finding.error.startswith("took 8000.00 ms")


def test_an_input_that_was_slow_once_is_none() -> None:
    clock = _Clock(1e-9)
    delays = [9.0]

    def run(data: bytes) -> Hashable:
        clock.now += delays.pop() if delays else 0.0
        return data

    report = fuzz(Target("once", (b"x",), run, max_seconds=5.0), seed=1, max_inputs=3, cost=clock)
    assert report.finding is None
    assert report.slowest_seconds > 8


def test_the_command_writes_findings_and_repeats_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = Target("planted", (b"ab\xff\x00",), _planted)
    assert main([target], ["--seconds", "5", "--seed", "3", "--save", str(tmp_path)]) == 1
    saved = tmp_path / "planted-3.bin"
    assert saved.read_bytes() == b"ab\xff\x00"
    assert "IndexError" in capsys.readouterr().out
    assert main([target], ["--input", str(saved)]) == 1
    saved.write_bytes(b"ab")
    assert main([target], ["--input", str(saved)]) == 0


@pytest.mark.parametrize(
    "target", [pytest.param(target, id=target.name) for target in all_targets()]
)
def test_a_short_run_of_every_target(target: Target) -> None:
    # Without the time limit: on a machine that runs other tests it would tell nothing.
    report = fuzz(
        Target(target.name, target.seeds, target.run, target.max_bytes), seed=1, max_inputs=500
    )
    assert report.finding is None, report.finding


def test_every_change_stands_empty_input() -> None:
    chance = random.Random(1)
    for change in harness._CHANGES:
        data = bytearray()
        change(chance, data, [b"other"])
        assert len(data) <= 6400
