"""What needs answers of several children before it is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

__all__ = ["Gathering", "Gatherings"]

_SECOND_NS: Final = 1_000_000_000

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
    ) -> None:
        """Wait for those who were asked."""
        self.request = request
        self.answers: dict[Hashable, AnswerT] = {}
        self.complete = True
        self.waiting = set(asked)
        self.done = done
        self.end_ns = end_ns


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
    ) -> None:
        """Ask something.

        Args:
            asked: Those who have to answer.
            ask: Asks them, with the number of the question.
            done: Called once they have.
            patience_seconds: How long to wait for them.
        """
        self._last += 1
        end_ns = time.monotonic_ns() + round(patience_seconds * _SECOND_NS)
        gathering = Gathering(self._last, asked, done, end_ns)
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
            if now_ns >= gathering.end_ns:
                gathering.waiting.clear()
                gathering.complete = False
                self._settle(gathering)

    def _settle(self, gathering: Gathering[AnswerT]) -> None:
        if not gathering.waiting and self._open.pop(gathering.request, None) is not None:
            gathering.done(gathering)
