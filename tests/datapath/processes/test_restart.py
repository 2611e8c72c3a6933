"""A planned restart: the children first, then the program; who asked hears what came of it."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from trireme_collector.control import RestartResult
from trireme_collector.errors import ConfigError, DatapathError
from trireme_datapath.agent._jobs import LoopJobs
from trireme_datapath.processes import _restart
from trireme_datapath.processes._restart import PlannedRestart

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.agent._files import AgentFiles
    from trireme_datapath.processes._state import SupervisorState
    from trireme_datapath.processes._tree import Tree

DONE = RestartResult(enforcers=2, longest_pause_ms=1.0, program_version="2.0")


class Scene:
    """A supervisor, its children and its files; the test says how they fare."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.result: RestartResult | DatapathError = DONE
        self.changed: tuple[str, ...] = ()
        self.files_error: ConfigError | None = None
        self.problem = ""
        self.urgent = self.ending = False
        self.jobs = LoopJobs()
        self.gatherings = SimpleNamespace(any_open=False)
        exchange = SimpleNamespace(run=self._exchange)
        monkeypatch.setattr(_restart, "Exchange", lambda *_: exchange)
        monkeypatch.setattr(_restart, "probe_program", lambda _: self.problem)
        monkeypatch.setattr(_restart, "exec_program", self._exec)
        self.restart = PlannedRestart(
            self, cast("AgentFiles", self), ("text", "plain"), whole_program=True
        )
        self.restart.begins = lambda: self.calls.append("begins")
        self.restart.ended = lambda: self.calls.append("ended")

    def turn(self) -> list[str]:
        """Turn once, and tell what was done."""
        self.calls.clear()
        self.restart.step(cast("Tree", self), 5.0, lambda: self.ending)
        return list(self.calls)

    def _exchange(self) -> RestartResult | DatapathError:
        self.calls.append("exchanged")
        return self.result

    def _exec(self, *_: object) -> None:
        self.calls.append("exec")
        raise OSError(2, "No such file or directory")

    # As the files.

    def read_again(self) -> SimpleNamespace:
        if self.files_error is not None:
            raise self.files_error
        return SimpleNamespace(restart_needed=self.changed)

    # As the tree.

    def step(self) -> None:
        self.jobs.run()

    def wait(self, done: Callable[[], bool], _seconds: float) -> bool:
        return done()

    # As the supervisor.

    def leave(self, control: tuple[int, int] | None) -> SupervisorState:
        return cast("SupervisorState", control)

    def rest(self) -> bool:
        return True

    def hand_over(self) -> tuple[int, int] | None:
        self.calls.append("hands over")
        return None

    def take_back(self, control: tuple[int, int] | None) -> None:
        assert control is None
        self.calls.append("takes back")

    def ask(self, job: Callable[[], object]) -> object:
        return self.jobs.post(job)

    def is_wanted_otherwise(self) -> bool:
        return self.urgent


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_nothing_happens_unasked(scene: Scene) -> None:
    assert scene.turn() == []


def test_the_children_go_first_and_then_the_program(scene: Scene) -> None:
    future: Future[RestartResult] = Future()
    scene.restart.ask(future)
    assert scene.turn() == ["begins", "exchanged", "ended"]
    assert future.result(0) is DONE
    # It cannot be run any more: the program of before goes on, and tries no more.
    assert scene.turn() == ["hands over", "exec", "takes back"]
    assert scene.turn() == []


def test_a_signal_asks_for_the_same(scene: Scene) -> None:
    scene.restart.asked = True
    assert scene.turn() == ["begins", "exchanged", "ended"]
    assert not scene.restart.asked


def test_what_is_more_urgent_comes_before_the_program(scene: Scene) -> None:
    scene.restart.asked = True
    scene.turn()
    scene.urgent = True
    assert scene.turn() == []
    scene.urgent = False
    assert "exec" in scene.turn()


def test_a_program_that_could_not_go_on_is_not_run(scene: Scene) -> None:
    scene.restart.asked = True
    scene.turn()
    scene.problem = "ModuleNotFoundError"
    assert scene.turn() == []
    scene.problem = ""
    assert scene.turn() == []


def test_with_mistakes_in_the_files_nobody_is_exchanged(scene: Scene) -> None:
    scene.files_error = ConfigError("a mistake")
    future: Future[RestartResult] = Future()
    scene.restart.ask(future)
    assert scene.turn() == ["begins", "ended"]
    assert future.exception(0) is scene.files_error
    assert scene.turn() == []


@pytest.mark.parametrize("why", ["ending", "changed", "failed"])
def test_the_program_stays_where_the_children_or_the_files_say_so(scene: Scene, why: str) -> None:
    scene.ending = why == "ending"
    scene.changed = ("processes.workers",) if why == "changed" else ("metrics.listen",)
    if why == "failed":
        scene.result = DatapathError("not every process could be exchanged")
    future: Future[RestartResult] = Future()
    scene.restart.ask(future)
    assert scene.turn() == ["begins", "exchanged", "ended"]
    assert (future.exception(0) is None) == (why != "failed")
    assert scene.turn() == []


def test_only_a_program_of_its_own_gives_its_place(scene: Scene) -> None:
    part = PlannedRestart(scene, cast("AgentFiles", scene), ("text", "plain"), whole_program=False)
    scene.restart = part
    part.asked = True
    assert scene.turn() == ["exchanged"]
    assert scene.turn() == []
