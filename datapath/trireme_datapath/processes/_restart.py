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
    from collections.abc import Callable, Sequence
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


__all__ = ["exchange_children", "give_place"]

_ANSWER_SECONDS: Final = 5.0
_CLIENT_SECONDS: Final = 15.0  # then he hears that the agent ended before the command did
# What was built by these keys outlives a planned restart.
_FIXED: Final = ("control", "datapath.", "processes")

ResultT = TypeVar("ResultT")

_log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.supervisor")


def exchange_children(
    tree: Tree,
    files: AgentFiles,
    futures: Sequence[Future[RestartResult]],
    deadline_seconds: float,
    given_up: Callable[[], bool],
    ask: Callable[[Callable[[], None]], object],
) -> bool:
    """Exchange every child: first those that judge, one by one, then the collectors.

    Args:
        tree: Whose.
        files: What the next program will read; with mistakes, nobody is exchanged.
        futures: Where the result goes.
        deadline_seconds: How long the collectors deliver what waits in memory.
        given_up: Tells whether something else is more urgent.
        ask: Has the loop do something; from any thread.

    Returns:
        Whether the supervisor itself may give its place to the program as it is now.
    """
    _log.info("restart_begins")
    try:
        changed = _beside(tree, ask, lambda: files.read_again().restart_needed)
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


def give_place(tree: Tree, supervisor: Restarted, log: tuple[str, str]) -> bool:
    """Run the program as it is installed now in our place; the children notice nothing.

    Returns:
        Whether to try again later: something else came first. If it is impossible, the program of
        before goes on.
    """
    state = supervisor.leave(None)
    problem = _beside(tree, supervisor.ask, lambda: probe_program(state))
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
                exec_program(supervisor.leave(held), log)
            except OSError as error:
                _log.error("program_kept", reason=str(error))
        # Still here: something else came first, or it is impossible. Threads that begin here
        # get no signal, like all others: the next program must not miss one.
        supervisor.take_back(held)
    return wanted


def _beside(
    tree: Tree, ask: Callable[[Callable[[], None]], object], work: Callable[[], ResultT]
) -> ResultT:
    """Do something while the children are watched over, and give what comes of it."""
    results: list[ResultT] = []
    errors: list[Exception] = []
    BackgroundWork(ask).do(work, results.append, errors.append)
    while not (results or errors):
        tree.step()
    if errors:
        raise errors[0]
    return results[0]
