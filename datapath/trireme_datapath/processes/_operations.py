"""What needs answers of several children before it is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

__all__ = ["Gathering", "Gatherings"]

_SECOND_NS: Final = 1_000_000_000
_GRACE_NS: Final = _SECOND_NS // 2

AnswerT = TypeVar("AnswerT")


class Gathering(Generic[AnswerT]):
    """Waits until everybody has answered a question, or is gone, or the time is over.

    Attributes:
        request: The number of the question.
        answers: What was answered, by whom.
        complete: Whether everybody has answered.
    """

    def __init__(
        self,
        request: int,
        asked: Iterable[Hashable],
        done: Callable[[Gathering[AnswerT]], None],
        end_ns: int,
        is_needed: Callable[[Hashable], bool],
    ) -> None:
        """Wait for those who were asked."""
        self.request = request
        self.answers: dict[Hashable, AnswerT] = {}
        self.complete = True
        self.waiting = set(asked)
        self.done = done
        self.end_ns = end_ns
        self._is_needed = is_needed
        self._without_need_ns = 0

    def is_over(self, now_ns: int) -> bool:
        """Tell whether nobody is worth waiting for any more."""
        if any(map(self._is_needed, self.waiting)):
            self._without_need_ns = 0
        elif not self._without_need_ns:
            self._without_need_ns = now_ns
        alone_ns = now_ns - self._without_need_ns if self._without_need_ns else 0
        return now_ns >= self.end_ns or alone_ns >= _GRACE_NS


class Gatherings(Generic[AnswerT]):
    """The questions of a supervisor that are not answered yet."""

    def __init__(self) -> None:
        """Start without any."""
        self._open: dict[int, Gathering[AnswerT]] = {}
        self._last = 0

    @property
    def any_open(self) -> bool:
        """Whether a question is not answered yet."""
        return bool(self._open)

    def begin(
        self,
        asked: Iterable[Hashable],
        ask: Callable[[int], None],
        done: Callable[[Gathering[AnswerT]], None],
        *,
        patience_seconds: float,
        is_needed: Callable[[Hashable], bool] = lambda _: True,
    ) -> None:
        """Ask something.

        Args:
            asked: Those who have to answer.
            ask: Asks them, with the number of the question.
            done: Called once they have.
            patience_seconds: How long to wait for them.
            is_needed: Whether somebody is waited for so long; others have half a second after
                those who are.
        """
        self._last += 1
        end_ns = time.monotonic_ns() + round(patience_seconds * _SECOND_NS)
        gathering = Gathering(self._last, asked, done, end_ns, is_needed)
        self._open[gathering.request] = gathering
        ask(gathering.request)
        self._settle(gathering)

    def answer(self, request: int, who: Hashable, answer: AnswerT) -> None:
        """Take an answer."""
        gathering = self._open.get(request)
        if gathering is not None and who in gathering.waiting:
            gathering.waiting.discard(who)
            gathering.answers[who] = answer
            self._settle(gathering)

    def gone(self, who: Hashable) -> None:
        """Wait no more for somebody who is gone."""
        for gathering in tuple(self._open.values()):
            if who in gathering.waiting:
                gathering.waiting.discard(who)
                gathering.complete = False
                self._settle(gathering)

    def step(self) -> None:
        """Give up those whose time is over."""
        now_ns = time.monotonic_ns()
        for gathering in tuple(self._open.values()):
            if gathering.is_over(now_ns):
                gathering.waiting.clear()
                gathering.complete = False
                self._settle(gathering)

    def _settle(self, gathering: Gathering[AnswerT]) -> None:
        if not gathering.waiting and self._open.pop(gathering.request, None) is not None:
            gathering.done(gathering)
