"""What other threads ask of an agent that judges packets; its loop does it, between two turns."""

from __future__ import annotations

import abc
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from trireme_datapath.agent._jobs import LoopJobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector.control import ObserveResult, ReloadResult
    from trireme_datapath.agent._policy_keeper import PolicyKeeper
    from trireme_datapath.policy import CompiledPolicy

__all__ = ["Askable"]

ResultT = TypeVar("ResultT")


class Askable(abc.ABC):
    """Takes what is asked for to the thread of the loop, and what comes of it back."""

    _keeper: PolicyKeeper

    def __init__(self) -> None:
        """Wait for nothing."""
        self._jobs = LoopJobs()
        self._close_seconds = 5.0

    @abc.abstractmethod
    def _wake(self) -> None:
        """Make the loop turn."""

    @abc.abstractmethod
    def _begin_reload(self, future: Future[ReloadResult]) -> None:
        """Open the outputs anew, and read the files; called by the loop."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Make `run` end; may be called from signal handlers and other threads."""

    def ask(self, job: Callable[[], ResultT]) -> Future[ResultT]:
        """Have `run` do something between two turns, when no packet is half judged."""
        future = self._jobs.post(job)
        self._wake()
        return future

    def ask_unit(self, job: Callable[[], ResultT], context: str = "") -> Future[ResultT]:
        """Have `run` tell `units` something.

        Args:
            job: Tells it.
            context: Whom it is about.

        Returns:
            What the job gives, once all packets are judged by it; or why the unit cannot be
            policed.
        """
        future: Future[ResultT] = Future()
        self.ask(lambda: self._keeper.tell(job, future, context))
        return future

    def ask_reload(self) -> Future[ReloadResult]:
        """Make `run` reload, and give what comes of it.

        Files are read and compiled beside the packets.

        Returns:
            The result, or a `ConfigError` with all mistakes: then all is as it was before.
        """
        future: Future[ReloadResult] = Future()
        self.ask(lambda: self._begin_reload(future))
        return future

    def ask_observe(self, asked: bool | None, uid: int = -1) -> Future[ObserveResult]:  # noqa: FBT001  None is the third
        """Make `run` only observe what the policy rejects, or enforce it.

        Args:
            asked: Whether only to observe; None for what the configuration and the policy say.
            uid: Who wants it, for the record of the switch.
        """
        future: Future[ObserveResult] = Future()
        self.ask(lambda: self._keeper.switch(asked, uid, future))
        return future

    def ask_drain(self, deadline_seconds: float) -> None:
        """Make `run` end and deliver what waits until a deadline.

        Args:
            deadline_seconds: Counted from when the last packet was judged.
        """
        self._close_seconds = deadline_seconds
        self.stop()

    def policy_in_force(self) -> CompiledPolicy:
        """Give the policy that packets are judged by."""
        return self._keeper.policy
