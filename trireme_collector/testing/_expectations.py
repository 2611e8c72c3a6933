"""One expected call of a `MockCollector`, and how often it is to come."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from trireme_collector.collector import COLLECT_METHODS
from trireme_collector.testing._matchers import RecordMatcher, differences, said, said_fields

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from trireme_collector.records import Record

__all__ = ["Expectation", "method_of"]

_MANY: Final = math.inf


class Expectation:
    """A call that a `MockCollector` expects: once, unless one of its methods says otherwise.

    Attributes:
        kind: The kind of record.
        calls: How often it came.
    """

    def __init__(
        self, kind: type[Record], expected: object, where: str, *, is_default: bool = False
    ) -> None:
        """Expect one call; `MockCollector.expect` makes these."""
        self.kind = kind
        self.calls = 0
        self._expected = expected
        self._where = where
        self._is_default = is_default
        self._low: float = 1
        self._high: float = 1
        self._is_set = False
        self._before: list[Expectation] = []
        self._is_retired = False
        self._action: Callable[[Record], object] | None = None

    # What a test says.

    def times(self, count: int) -> Self:
        """Expect it exactly so many times; 0 is `never`."""
        return self._expect(count, count)

    def once(self) -> Self:
        """Expect it exactly once, as without saying so."""
        return self._expect(1, 1)

    def never(self) -> Self:
        """Refuse it, even if another expectation would take it."""
        return self._expect(0, 0)

    def any_times(self) -> Self:
        """Allow it as often as it comes, also never."""
        return self._expect(0, _MANY)

    def at_least(self, count: int) -> Self:
        """Expect it so many times or more; with `at_most` both are limits."""
        return self._expect(count, self._high if self._is_set else _MANY)

    def at_most(self, count: int) -> Self:
        """Expect it so many times or fewer; with `at_least` both are limits."""
        return self._expect(self._low if self._is_set else 0, count)

    def after(self, *earlier: Expectation) -> Self:
        """Expect it only once these have come as often as they have to.

        From its first call on, those are over and may not come any more.
        """
        if self in earlier:
            raise ValueError("an expectation cannot come after itself")
        self._before.extend(earlier)
        return self

    def does(self, action: Callable[[Record], object]) -> Self:
        """Call a function with each record that is taken; what it raises, the caller gets."""
        self._action = action
        return self

    def raises(self, error: BaseException | type[BaseException]) -> Self:
        """Raise an error whenever a record is taken."""

        def fail(_: Record) -> None:
            raise error

        return self.does(fail)

    # What the mock asks.

    @property
    def is_met(self) -> bool:
        """Whether it came often enough."""
        return self.calls >= self._low

    @property
    def is_default(self) -> bool:
        """Whether it only takes what no other expectation takes."""
        return self._is_default

    @property
    def refuses(self) -> bool:
        """Whether it says that something must not come."""
        return self._high == 0

    def objection(self) -> str:
        """Say why no further call can be taken, whatever its record; empty when one can."""
        if self.calls >= self._high:
            return f"it came {_times(self.calls)} already"
        if self._is_retired:
            return "its turn was over, as a call that is expected after it came"
        waiting = next((earlier for earlier in self._before if not earlier.is_met), None)
        return "" if waiting is None else f"it is expected only after {waiting}"

    def differences(self, record: Record) -> list[str]:
        """Say in what a record differs from what is expected; nothing when it fits."""
        try:
            return differences(self._expected, record)
        except Exception as error:  # noqa: BLE001  a test's own function; the mock says what it raised
            return [f"{self} cannot be compared: {error!r}"]

    def take(self) -> Callable[[Record], object] | None:
        """Count a call, and give what is to be done with its record."""
        self.calls += 1
        for earlier in self._before:
            earlier.retire()
        return self._action

    def retire(self) -> None:
        """Take no further call: its turn is over, and that of those before it."""
        if not self._is_retired:
            self._is_retired = True
            for earlier in self._before:
                earlier.retire()

    @property
    def summary(self) -> str:
        """What was expected, how often, and how often it came."""
        return f"{self}: expected {self._said_times()}, came {_times(self.calls)} ({self._where})"

    def _said_times(self) -> str:
        low, high = self._low, self._high
        if high == 0:
            return "never"
        if low == high:
            return f"exactly {_times(low)}"
        if high == _MANY:
            return f"at least {_times(low)}" if low else "any number of times"
        return f"{low} to {_times(high)}" if low else f"at most {_times(high)}"

    def _expect(self, low: float, high: float) -> Self:
        if not 0 <= low <= high:
            raise ValueError(f"a call cannot come at least {low} and at most {high} times")
        self._low, self._high, self._is_set = low, high, True
        return self

    def __repr__(self) -> str:
        """Show the call as the test wrote it."""
        expected = self._expected
        if isinstance(expected, RecordMatcher):
            shown = said_fields(expected.fields) or "anything"
        else:
            shown = said(expected)
        return f"{method_of(self.kind)}({shown})"


def method_of(kind: type[Record]) -> str:
    """Give the name of the method that takes a kind of record."""
    return COLLECT_METHODS[str(kind.__struct_config__.tag)]


def _times(count: float) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(int(count), f"{count:g} times")
