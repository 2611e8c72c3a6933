"""A planned restart as the supervisor makes it: its children first, then itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from trireme_collector.control import RestartResult
from trireme_collector.errors import TriremeError
from trireme_datapath.agent._background import BackgroundWork
from trireme_datapath.processes._exchange import (
    Exchange,
    exec_program,
    probe_program,
    signals_held,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Protocol

    from structlog.typing import FilteringBoundLogger

    from trireme_datapath.agent._files import AgentFiles
    from trireme_datapath.processes._state import SupervisorState
    from trireme_datapath.processes._tree import Tree

    class Restarted(Protocol):
        """What a restart needs of a supervisor."""

        def leave(self, control: tuple[int, int] | None) -> SupervisorState:
            """Give what the next program has to know.

            Args:
                control: The control socket and its lock.
            """
            ...

        def rest(self) -> bool:
            """Answer nobody for now; say whether nobody waits for an answer."""
            ...

        def hand_over(self) -> tuple[int, int] | None:
            """Let go of the control socket, and do nothing beside the loop any more."""
            ...

        def take_back(self, control: tuple[int, int] | None) -> None:
            """Go on after all."""

        def ask(self, job: Callable[[], object]) -> object:
            """Have the loop do something; from any thread."""
            ...

        def is_wanted_otherwise(self) -> bool:
            """Tell whether something else is more urgent than another program."""
            ...


__all__ = ["PlannedRestart"]

_ANSWER_SECONDS: Final = 5.0
_CLIENT_SECONDS: Final = 15.0  # then he hears that the agent ended before the command did
# What was built by these keys outlives a planned restart.
_FIXED: Final = ("control", "datapath.", "processes")

ResultT = TypeVar("ResultT")

_log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.supervisor")


class PlannedRestart:
    """Exchanges every process of an agent, without a loss.

    Args:
        supervisor: Who is restarted.
        files: What the next program will read; with mistakes, nobody is exchanged.
        log: How the next program logs.
        whole_program: Whether the supervisor gives its place to the program as it is installed
            then; otherwise only the children are exchanged.

    Attributes:
        asked: Whether one is wanted that has not begun; may be set by signal handlers.
        begins: Called when one begins.
        ended: Called when the children are exchanged.
    """

    def __init__(
        self,
        supervisor: Restarted,
        files: AgentFiles,
        log: tuple[str, str],
        *,
        whole_program: bool,
    ) -> None:
        """Exchange nobody yet."""
        self._supervisor = supervisor
        self._files = files
        self._log_words = log
        self._whole_program = whole_program
        self._futures: list[Future[RestartResult]] = []
        self._gives_place = False
        self.asked = False
        self.begins: Callable[[], None] = lambda: None
        self.ended: Callable[[], None] = lambda: None

    def ask(self, future: Future[RestartResult]) -> None:
        """Want one, and be given what comes of it."""
        self._futures.append(future)
        self.asked = True

    def step(self, tree: Tree, deadline_seconds: float, given_up: Callable[[], bool]) -> None:
        """Do what is due; called while no policy is being changed.

        Args:
            tree: The children.
            deadline_seconds: How long the collectors deliver what waits in memory.
            given_up: Tells whether the supervisor is to end instead.
        """
        if self.asked:
            self.asked = False
            self.begins()
            done = self._exchange_children(tree, deadline_seconds, given_up)
            self.ended()
            self._gives_place = done and self._whole_program
        elif self._gives_place and not self._supervisor.is_wanted_otherwise():
            self._gives_place = self._give_place(tree)

    def _exchange_children(
        self, tree: Tree, deadline_seconds: float, given_up: Callable[[], bool]
    ) -> bool:
        """Exchange every child: first those that judge, one by one, then the collectors.

        Returns:
            Whether the supervisor itself may give its place to the program as it is now.
        """
        futures, self._futures = self._futures, []
        _log.info("restart_begins")
        try:
            changed = self._beside(tree, lambda: self._files.read_again().restart_needed)
        except TriremeError as error:
            _log.error("restart_refused", reason=str(error))
            for future in futures:
                future.set_exception(error)
            return False
        result = Exchange(tree, deadline_seconds, given_up).run()
        for future in futures:
            if isinstance(result, RestartResult):
                future.set_result(result)
            else:
                future.set_exception(result)
        fixed = [key for key in changed if key.startswith(_FIXED)]
        if fixed:
            _log.warning("restart_incomplete", keys=fixed, remedy="stop it and start it anew")
        return isinstance(result, RestartResult) and not fixed and not given_up()

    def _give_place(self, tree: Tree) -> bool:
        """Run the program as it is installed now in our place; the children notice nothing.

        Returns:
            Whether to try again later: something else came first. If it is impossible, the program
            of before goes on.
        """
        supervisor = self._supervisor
        state = supervisor.leave(None)
        problem = self._beside(tree, lambda: probe_program(state))
        if problem:
            _log.error("program_kept", reason=problem)
            return False
        tree.wait(lambda: not tree.gatherings.any_open, _ANSWER_SECONDS)
        # Whoever asked something meanwhile is answered first.
        tree.wait(lambda: supervisor.is_wanted_otherwise() or supervisor.rest(), _CLIENT_SECONDS)
        if supervisor.is_wanted_otherwise():
            return True
        held = supervisor.hand_over()
        wanted = False
        with signals_held():
            wanted = supervisor.is_wanted_otherwise()
            if not wanted:
                try:
                    exec_program(supervisor.leave(held), self._log_words)
                except OSError as error:
                    _log.error("program_kept", reason=str(error))
            # Still here: something else came first, or it is impossible. Threads that begin here
            # get no signal, like all others: the next program must not miss one.
            supervisor.take_back(held)
        return wanted

    def _beside(self, tree: Tree, work: Callable[[], ResultT]) -> ResultT:
        """Do something while the children are watched over, and give what comes of it."""
        results: list[ResultT] = []
        errors: list[Exception] = []
        BackgroundWork(self._supervisor.ask).do(work, results.append, errors.append)
        while not (results or errors):
            tree.step()
        if errors:
            raise errors[0]
        return results[0]
