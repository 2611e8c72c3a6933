"""What other threads want done between two turns of the packet loop."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LoopJobs"]

ResultT = TypeVar("ResultT")


class LoopJobs:
    """Jobs that wait for the thread of the loop: there, nothing is judged while one is done."""

    def __init__(self) -> None:
        """Start with none."""
        self._waiting: deque[Callable[[], None]] = deque()

    def __bool__(self) -> bool:
        """Tell whether one waits."""
        return bool(self._waiting)

    def post(self, job: Callable[[], ResultT]) -> Future[ResultT]:
        """Add a job, from any thread; whoever posts wakes the loop."""
        future: Future[ResultT] = Future()

        def do() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(job())
            except BaseException as error:  # noqa: BLE001  carried to the thread that asked
                future.set_exception(error)

        self._waiting.append(do)
        return future

    def run(self) -> None:
        """Do those that wait now, in the thread of the loop."""
        for _ in range(len(self._waiting)):
            self._waiting.popleft()()
