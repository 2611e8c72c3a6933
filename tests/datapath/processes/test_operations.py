"""Questions to several children: answered by all, by those who are left, or not in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.processes._operations import Gathering, Gatherings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.datapath.processes.conftest import Clock


class Questions:
    """Asks, and keeps what came of it."""

    def __init__(self) -> None:
        self.gatherings: Gatherings[str] = Gatherings()
        self.requests: list[int] = []
        self.done: list[tuple[dict[object, str], bool]] = []

    def ask(self, who: Iterable[str]) -> None:
        self.gatherings.begin(who, self.requests.append, self.end, patience_seconds=2)

    def end(self, gathering: Gathering[str]) -> None:
        self.done.append((dict(gathering.answers), gathering.complete))


def test_it_is_done_when_the_last_has_answered(clock: Clock) -> None:
    del clock
    questions = Questions()
    questions.ask(["a", "b"])
    questions.gatherings.answer(questions.requests[0], "a", "yes")
    assert questions.done == []
    assert questions.gatherings.any_open
    questions.gatherings.answer(questions.requests[0], "b", "no")
    assert questions.done == [({"a": "yes", "b": "no"}, True)]
    assert not questions.gatherings.any_open


def test_nobody_to_ask_is_an_answer(clock: Clock) -> None:
    del clock
    questions = Questions()
    questions.ask([])
    assert questions.done == [({}, True)]


def test_who_is_gone_is_not_waited_for(clock: Clock) -> None:
    del clock
    questions = Questions()
    questions.ask(["a", "b"])
    questions.gatherings.gone("b")
    questions.gatherings.gone("stranger")
    questions.gatherings.answer(questions.requests[0], "a", "yes")
    assert questions.done == [({"a": "yes"}, False)]


def test_time_is_limited(clock: Clock) -> None:
    questions = Questions()
    questions.ask(["a"])
    clock.step(1.9)
    questions.gatherings.step()
    assert questions.done == []
    clock.step(0.2)
    questions.gatherings.step()
    assert questions.done == [({}, False)]


def test_answers_to_nobody_and_of_nobody_change_nothing(clock: Clock) -> None:
    del clock
    questions = Questions()
    questions.ask(["a"])
    questions.gatherings.answer(99, "a", "late")
    questions.gatherings.answer(questions.requests[0], "stranger", "hello")
    assert questions.done == []
    questions.gatherings.answer(questions.requests[0], "a", "yes")
    questions.gatherings.answer(questions.requests[0], "a", "again")
    assert questions.done == [({"a": "yes"}, True)]
