"""A planned restart: every process makes room for one that runs the program as it is now."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import structlog

import trireme_collector
from trireme_collector.control import RestartResult
from trireme_collector.errors import DatapathError
from trireme_datapath.processes._child import PROGRAM
from trireme_datapath.processes._state import encode_state, store_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from structlog.typing import FilteringBoundLogger

    from trireme_datapath.processes._state import SupervisorState
    from trireme_datapath.processes._tree import Tree

__all__ = ["Exchange", "exec_program", "probe_program", "signals_held"]

_EXCHANGE_SECONDS: Final = 60.0
_PROBE_SECONDS: Final = 30.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


class Exchange:
    """Exchanges the children: first those that judge, one by one, then the collectors.

    Args:
        tree: Whose.
        deadline_seconds: How long the collectors deliver what waits in memory.
        given_up: Tells whether something else is more urgent.
    """

    def __init__(self, tree: Tree, deadline_seconds: float, given_up: Callable[[], bool]) -> None:
        """Do nothing yet."""
        self._tree = tree
        self._deadline_seconds = deadline_seconds
        self._given_up = given_up
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.supervisor")

    def run(self) -> RestartResult | DatapathError:
        """Do it; packets are judged meanwhile.

        Returns:
            What was done, or why not all of it.
        """
        tree, given_up = self._tree, self._given_up
        before = sum(post.changes for post in tree.posts)
        for post in tree.posts:
            post.longest_pause_ns = 0
        tree.staff.exchange_all()
        done = tree.wait(lambda: tree.staff.complete or given_up(), _EXCHANGE_SECONDS)
        keeper, old = tree.keeper, tree.keeper.pid
        if not given_up():
            keeper.exchange(self._deadline_seconds)
            done &= tree.wait(
                lambda: given_up() or (keeper.ready and keeper.pid != old), _EXCHANGE_SECONDS
            )
        pause_ms = max((post.longest_pause_ns for post in tree.posts), default=0) / 1e6
        result = RestartResult(
            enforcers=sum(post.changes for post in tree.posts) - before,
            longest_pause_ms=round(pause_ms, 3),
            program_version=trireme_collector.__version__,
        )
        done &= not given_up()
        self._log.info("restarted", complete=done, longest_pause_ms=result.longest_pause_ms)
        if done:
            return result
        if given_up():
            return DatapathError("the agent was told to end meanwhile, and ends")
        msg = "not every process could be exchanged: those of before go on; see the log"
        return DatapathError(msg)


def probe_program(state: SupervisorState) -> str:
    """Try whether the program as it is installed now can go on with what we would leave.

    Returns:
        Why not; nothing if it can.
    """
    command = [sys.executable, *PROGRAM, "probe", state.config_path, "text", "plain"]
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter and module
            command,
            check=False,
            input=encode_state(state),
            capture_output=True,
            timeout=_PROBE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if not done.returncode:
        return ""
    said = done.stderr.decode("utf-8", "replace").strip()
    return said[-500:] or f"it ends with code {done.returncode}"


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Let signals wait, also for the program that takes our place."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def exec_program(state: SupervisorState, log: tuple[str, str]) -> None:
    """Become the program as it is installed now; this does not return.

    Raises:
        OSError: It cannot be run.
    """
    memory = store_state(state)
    try:
        os.execv(  # noqa: S606  our own interpreter and module
            sys.executable, [sys.executable, *PROGRAM, "resume", str(memory), *log]
        )
    finally:
        os.close(memory)
        for descriptor in state.descriptors():
            os.set_inheritable(descriptor, False)  # noqa: FBT003  positional only
