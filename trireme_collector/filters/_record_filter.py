"""What stands between the numbering of records and the queue of one collector."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from trireme_collector.errors import ConfigError
from trireme_collector.filters._compile import compile_expression, join_tests
from trireme_collector.filters._expression import ExpressionError
from trireme_collector.filters._masks import MAX_KEY_BYTES, MIN_KEY_BYTES, compile_mask
from trireme_collector.filters._sample import compile_sample
from trireme_collector.records import RECORD_TYPES, Checkpoint, FlowRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trireme_collector.filters._compile import Test
    from trireme_collector.filters._config import FilterConfig, MaskConfig
    from trireme_collector.records import Record

__all__ = ["DROPPED_FILTERED", "DROPPED_FILTER_FAILED", "DROPPED_SAMPLED", "RecordFilter"]

DROPPED_FILTERED: Final = "filtered"
"""The reason of a drop: a filter of the collector left the record out."""
DROPPED_FILTER_FAILED: Final = "filter_failed"
"""The reason of a drop: the filter of a plugin raised, so that nobody knows whether it passes."""
DROPPED_SAMPLED: Final = "sampled"
"""The reason of a drop: the flow is not in the part that the collector gets."""

_NOTHING: Mapping[str, int] = {}


class _Plan(NamedTuple):
    passes: Test
    keep: Callable[[Record], bool] | None
    mask: Callable[[Record], Record] | None


class RecordFilter:
    """Chooses, samples and masks records as a configuration says.

    Args:
        config: What passes. Its `plugins` are only names here: `tests` are what stands behind.
        tests: Filters of plugins: functions that tell whether a record passes. They are not asked
            about the records that carry the counts.

    Attributes:
        passes_all: Whether every record passes as it is.
        error: What a filter of a plugin raised last.

    Raises:
        ConfigError: An expression is wrong, or the key of a mask cannot be read.
    """

    def __init__(
        self, config: FilterConfig, tests: Sequence[Callable[[Record], bool]] = ()
    ) -> None:
        """Compile the configuration."""
        self._tests = tuple(tests)
        self.error: Exception | None = None
        allow = [_compiled(text) for text in config.allow]
        deny = [_compiled(text) for text in config.deny]
        key = _read_key(config.mask) if config.mask.hash else b""
        keep = cast("Callable[[Record], bool] | None", compile_sample(config.sample))
        self._plans: dict[type[Record], _Plan] = {}
        for kind in RECORD_TYPES.values():
            # A list of what is wanted is about records; without the counts nobody could tell that
            # one of them is missing. Only `deny` leaves them out.
            anything = not allow or kind is Checkpoint
            allowed = anything or join_tests([tests[kind] for tests in allow], any_of=True)
            denied = join_tests([tests[kind] for tests in deny], any_of=True)
            self._plans[kind] = _Plan(
                passes=_but(allowed, denied),
                keep=keep if kind is FlowRecord else None,
                mask=compile_mask(kind, config.mask.blank, config.mask.hash, key),
            )
        everything = _Plan(passes=True, keep=None, mask=None)
        self.passes_all = not self._tests and all(
            plan == everything for plan in self._plans.values()
        )

    def sift(
        self, records: Sequence[Record], sizes: Sequence[int]
    ) -> tuple[Sequence[Record], Sequence[int], Mapping[str, int]]:
        """Choose among records.

        Args:
            records: The records.
            sizes: Their estimated sizes, one each.

        Returns:
            The records that pass, masked; their sizes; how many did not pass, by reason.
        """
        if self.passes_all:
            return records, sizes, _NOTHING
        passed: list[Record] = []
        passed_sizes: list[int] = []
        filtered = sampled = failed = 0
        tests = self._tests
        for record, size in zip(records, sizes, strict=True):
            plan = self._plans[type(record)]
            try:
                if plan.passes is not True and (plan.passes is False or not plan.passes(record)):
                    filtered += 1
                    continue
                if tests and (verdict := self._ask(record)) is not True:
                    failed += verdict is None
                    filtered += verdict is not None
                    continue
                if plan.keep is not None and not plan.keep(record):
                    sampled += 1
                    continue
                passed.append(record if plan.mask is None else plan.mask(record))
            except (AttributeError, KeyError, TypeError, ValueError):
                # A value that is not what the record promises cannot match anything.
                filtered += 1
                continue
            passed_sizes.append(size)
        counts = {
            DROPPED_FILTERED: filtered,
            DROPPED_FILTER_FAILED: failed,
            DROPPED_SAMPLED: sampled,
        }
        return passed, passed_sizes, {reason: count for reason, count in counts.items() if count}

    def _ask(self, record: Record) -> bool | None:
        """Ask the filters of plugins; None when one of them fails."""
        if type(record) is Checkpoint:
            return True
        try:
            return all(test(record) for test in self._tests)
        except Exception as error:  # noqa: BLE001  a plugin's filter may raise anything; the worker tells
            self.error = error
            return None


def _compiled(text: str) -> dict[type[Record], Test]:
    try:
        return compile_expression(text)
    except ExpressionError as error:
        raise ConfigError(f"filter {text!r}: {error}") from error


def _but(allowed: Test, denied: Test) -> Test:
    if allowed is False or denied is True:
        return False
    if denied is False:
        return allowed
    if allowed is True:
        return lambda record: not denied(record)
    return lambda record: allowed(record) and not denied(record)


def _read_key(config: MaskConfig) -> bytes:
    if not config.key_file:
        return secrets.token_bytes(MAX_KEY_BYTES)
    path = Path(config.key_file)
    try:
        if path.stat().st_mode & 0o007:
            message = f"key file {config.key_file!r} is open to everybody: take that right away"
            raise ConfigError(message)
        with path.open("rb") as file:
            key = file.read(MAX_KEY_BYTES + 3).rstrip(b"\r\n")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        message = f"key file {config.key_file!r} cannot be read: {reason}; check path and rights"
        raise ConfigError(message) from error
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        message = (
            f"key file {config.key_file!r} holds a key of another length:"
            f" give it {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes"
        )
        raise ConfigError(message)
    return key
