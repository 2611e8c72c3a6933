"""The loop that every fuzz target shares: change known inputs at random, and look for faults.

Each module ``fuzz_<name>.py`` in this folder has one ``TARGET``. It fails by raising, and by taking
too long.

An outcome that was not seen before makes its input a new starting point, which leads the changes
to places that no seed reaches. A run is made of its seed alone: the same seed gives the same
inputs, in the same order, whatever the time.
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

__all__ = ["Finding", "Report", "Target", "all_targets", "fuzz", "main"]

_MAX_CORPUS = 2048
_MAX_STACKED_CHANGES = 6
# Values at which lengths, offsets and versions change their meaning.
_TELLING_BYTES = (0, 1, 2, 4, 5, 7, 8, 15, 16, 20, 40, 63, 64, 127, 128, 254, 255)
_TELLING_WORDS = (0, 1, 7, 8, 20, 40, 255, 256, 1024, 1500, 0x1FFF, 0x2000, 0x7FFF, 0xFFF8, 0xFFFF)
_MEASUREMENTS = 5


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    Attributes:
        name: Names it in output and in the files of findings.
        seeds: Inputs to start from; sound and broken ones.
        run: Takes one input, raises if something is wrong, and returns what came of it: a value
            that is equal for inputs that went the same way, or ``None``.
        max_bytes: No input is longer.
        max_seconds: How long one input may take, or ``None``.
    """

    name: str
    seeds: tuple[bytes, ...]
    run: Callable[[bytes], Hashable]
    max_bytes: int = 4096
    max_seconds: float | None = None


@dataclass(frozen=True)
class Finding:
    """An input that the target does not stand."""

    data: bytes
    error: str


@dataclass
class Report:
    """What a run did.

    Attributes:
        inputs: How many inputs were tried.
        outcomes: How often each outcome came.
        finding: The first fault, made as short as could be.
        slowest_seconds: The time of the slowest input, measured once.
    """

    inputs: int = 0
    outcomes: Counter[Hashable] = field(default_factory=Counter)
    finding: Finding | None = None
    slowest_seconds: float = 0.0


def all_targets() -> list[Target]:
    """Load the targets of all modules in this folder, in the order of their names."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("fuzz_*.py"))
    return [importlib.import_module(f"tests.fuzz.{name}").TARGET for name in names]


def fuzz(
    target: Target,
    *,
    seed: int,
    seconds: float | None = None,
    max_inputs: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
    cost: Callable[[], float] = time.thread_time,
) -> Report:
    """Run a target until it fails, or the time or the number of inputs is used up.

    Args:
        target: What to run.
        seed: Decides all inputs.
        seconds: How long.
        max_inputs: How many inputs at most.
        clock: Tells the time in seconds.
        cost: Tells what was worked, in seconds: another program on the machine slows no input.
    """
    chance = random.Random(seed)
    corpus = list(target.seeds) or [b""]
    waiting = list(corpus)
    report = Report()
    started = clock()
    while max_inputs is None or report.inputs < max_inputs:
        # A seed goes in as it is before anything is changed.
        data = waiting.pop(0) if waiting else _change(chance, corpus, target.max_bytes)
        if seconds is not None and clock() - started >= seconds:
            break
        begin = cost()
        report.inputs += 1
        outcome, error = _try(target, data)
        taken = cost() - begin
        report.slowest_seconds = max(report.slowest_seconds, taken)
        if error is None and target.max_seconds is not None and taken > target.max_seconds:
            error = _confirm_slow(target, data, cost)
        if error is not None:
            report.finding = Finding(*_shorten(target, data, error))
            break
        if outcome not in report.outcomes and len(corpus) < _MAX_CORPUS:
            corpus.append(data)
        report.outcomes[outcome] += 1
    return report


def _try(target: Target, data: bytes) -> tuple[Hashable, str | None]:
    try:
        return target.run(data), None
    except Exception as error:  # noqa: BLE001  whatever escapes is what is looked for
        return None, f"{type(error).__name__}: {error}"


def _confirm_slow(target: Target, data: bytes, cost: Callable[[], float]) -> str | None:
    """Measure again: a busy machine makes one input slow, not always the same."""
    best = float("inf")
    for _ in range(_MEASUREMENTS):
        begin = cost()
        _try(target, data)
        best = min(best, cost() - begin)
    limit = target.max_seconds
    if limit is None or best <= limit:
        return None
    return f"took {best * 1000:.2f} ms, allowed are {limit * 1000:.2f} ms"


def _shorten(target: Target, data: bytes, error: str) -> tuple[bytes, str]:
    """Remove what the same kind of error does not need."""
    kind = error.partition(":")[0]
    size = len(data) // 2
    while size:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            found = _try(target, shorter)[1]
            if found is not None and found.partition(":")[0] == kind:
                data, error = shorter, found
            else:
                at += size
        size //= 2
    return data, error


def _change(chance: random.Random, corpus: Sequence[bytes], max_bytes: int) -> bytes:
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.randint(1, _MAX_STACKED_CHANGES)):
        chance.choice(_CHANGES)(chance, data, corpus)
    return bytes(data[:max_bytes])


def _flip_bit(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    del corpus
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set_byte(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    del corpus
    if data:
        value = chance.choice(_TELLING_BYTES) if chance.random() < 0.5 else chance.randrange(256)
        data[chance.randrange(len(data))] = value


def _set_word(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    """Write a 16-bit number at an even offset, where most fields are; in either byte order."""
    del corpus
    if len(data) >= 2:
        at = chance.randrange(len(data) // 2) * 2
        value = chance.choice((*_TELLING_WORDS, len(data), len(data) - at))
        network_order = (value & 0xFFFF).to_bytes(2, "big")
        data[at : at + 2] = network_order if chance.random() < 0.8 else network_order[::-1]


def _insert(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    del corpus
    at = chance.randint(0, len(data))
    data[at:at] = chance.randbytes(chance.choice((1, 2, 4, 8, 16, 64)))


def _remove(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    del corpus
    at = chance.randint(0, len(data))
    del data[at : at + chance.choice((1, 2, 4, 8, 16))]


def _repeat(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    del corpus
    at = chance.randint(0, len(data))
    block = data[at : at + chance.choice((1, 2, 4, 8, 24, 64))]
    data[at:at] = block * chance.choice((1, 2, 8, 100))


def _truncate(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    del corpus
    del data[chance.randint(0, len(data)) :]


def _splice(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    """Go on with the end of another input."""
    other = chance.choice(corpus)
    data[chance.randint(0, len(data)) :] = other[chance.randint(0, len(other)) :]


_CHANGES = (
    _flip_bit,
    _flip_bit,
    _set_byte,
    _set_byte,
    _set_word,
    _set_word,
    _insert,
    _remove,
    _repeat,
    _truncate,
    _splice,
)


def main(targets: Sequence[Target], arguments: Sequence[str] | None = None) -> int:
    """Fuzz from the command line; the time is shared evenly.

    Returns:
        0 if nothing was found, 1 otherwise.
    """
    parser = argparse.ArgumentParser(description="Fuzz decoders with changed inputs.")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for all (default: 10)")
    parser.add_argument("--seed", type=int, help="repeat the run with this seed")
    parser.add_argument("--save", type=Path, metavar="DIRECTORY", help="write findings there")
    parser.add_argument("--input", type=Path, metavar="FILE", help="try this one input instead")
    options = parser.parse_args(arguments)
    if options.input is not None:
        return _repeat_input(targets, options.input.read_bytes())
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    found = 0
    for target in targets:
        report = fuzz(target, seed=seed, seconds=options.seconds / len(targets))
        _say(
            f"{target.name}: seed {seed}, {report.inputs:,} inputs, "
            f"{len(report.outcomes):,} outcomes, slowest {report.slowest_seconds * 1000:.2f} ms"
        )
        if report.finding is not None:
            found += 1
            _say(f"{target.name}: {report.finding.error}\n  {report.finding.data.hex()}")
            if options.save is not None:
                options.save.mkdir(parents=True, exist_ok=True)
                path = options.save / f"{target.name}-{seed}.bin"
                path.write_bytes(report.finding.data)
                _say(f"  written to {path}; repeat with --input {path}")
    return 1 if found else 0


def _repeat_input(targets: Sequence[Target], data: bytes) -> int:
    errors = 0
    for target in targets:
        outcome, error = _try(target, data)
        _say(f"{target.name}: {error or outcome}")
        errors += error is not None
    return 1 if errors else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
