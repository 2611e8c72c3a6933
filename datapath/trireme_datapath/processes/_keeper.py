"""The process of the collectors, as the supervisor keeps it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from trireme_datapath.processes._board import CollectorBoard
from trireme_datapath.processes._child import Child, start_child
from trireme_datapath.processes._collector_messages import (
    Begin,
    CollectorSetup,
    Finish,
    Finished,
    FromCollector,
    Reopen,
    Report,
    Told,
)
from trireme_datapath.processes._messages import Failed, Ready
from trireme_datapath.processes._state import KeeperState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.pipeline import PipelineStatus, ShutdownReport
    from trireme_datapath.processes._child import Reactor
    from trireme_datapath.processes._collector_messages import Feed

__all__ = ["CollectorKeeper"]

_SECOND_NS: Final = 1_000_000_000
_HUNG_NS: Final = 30 * _SECOND_NS  # a stalled disk may hold it up for seconds
_STEADY_NS: Final = 10 * _SECOND_NS
_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 10.0
_AFTER_DEADLINE_SECONDS: Final = 10.0
_DECODER: Final[msgspec.msgpack.Decoder[FromCollector]] = msgspec.msgpack.Decoder(FromCollector)


class CollectorKeeper:
    """Keeps a process for the collectors.

    Args:
        reactor: Who listens to it.
        config_path: The configuration file.
        records: Where the records of each slot are read from.
        log: The words that tell a child how to log.
        state: What the program of before left.

    Attributes:
        board: What it has taken.
        ready: Whether it takes records.
        failure: Why it could not begin, the last time that it could not.
        report: What was left when it ended as it was told to.
        last: The last account that it gave.
        deaths: How often it ended and was not told to.
        told: Called with its account.
        gone: Called when it is gone and may owe an answer.
    """

    def __init__(
        self,
        reactor: Reactor,
        config_path: str,
        records: Sequence[int],
        log: tuple[str, str],
        state: KeeperState | None = None,
    ) -> None:
        """Keep what is needed to start it; start nothing."""
        self._reactor = reactor
        self._config_path = config_path
        self._records = tuple(records)
        self._log_words = log
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.supervisor")
        self._descriptor = CollectorBoard.make() if state is None else state.board
        self._child: Child[FromCollector] | None = None
        self._feed: Feed | None = None
        self._failures = 0
        self._not_before_ns = 0
        self._finish_by_ns = 0
        self._deadline_seconds = 0.0
        self._finishing = False
        self._stopping = False
        self.board = CollectorBoard(self._descriptor)
        self.ready = False
        self.failure: Failed | None = None
        self.report: ShutdownReport | None = None
        self.last: PipelineStatus | None = None
        self.deaths = 0
        self.told: Callable[[Told], None] = lambda _told: None
        self.gone: Callable[[], None] = lambda: None
        if state is not None:
            self._resume(state)

    def _resume(self, state: KeeperState) -> None:
        self.deaths = state.deaths
        if state.child is not None:
            self._listen(Child.resumed(state.child, _DECODER))
            self.ready = state.ready

    def state(self) -> KeeperState:
        """Say what the next program has to know of it."""
        child = self._child
        return KeeperState(
            board=self._descriptor,
            child=None if child is None else child.state(),
            ready=self.ready,
            deaths=self.deaths,
        )

    @property
    def pid(self) -> int:
        """Its number; 0 while there is none."""
        return 0 if self._child is None else self._child.pid

    @property
    def running(self) -> bool:
        """Whether there is a process, ready or not."""
        return self._child is not None

    def step(self) -> None:
        """Start it if it is not there, and end it if it hangs.

        Raises:
            OSError: There is no room for another process.
        """
        now_ns = time.monotonic_ns()
        child = self._child
        if child is None:
            if not self._stopping and now_ns >= self._not_before_ns:
                self._start()
            return
        late = self._finishing and now_ns > self._finish_by_ns
        hangs = now_ns - max(self.board.beat_ns, child.born_ns) > _HUNG_NS
        if late or (hangs and self.ready and not self._finishing):
            self._log.error("collectors_hang", pid=child.pid)
            child.kill()

    def send(self, message: Begin | Report | Reopen | Finish) -> None:
        """Say something, if there is somebody to hear it."""
        if self._child is not None:
            self._child.send(message)

    def ask(self, message: object) -> bool:
        """Ask something; say whether there is somebody to answer."""
        if self._child is None or not self.ready or self._finishing:
            return False
        self._child.send(message)  # type: ignore[arg-type]  # one of ToCollector
        return True

    def feed(self, feed: Feed) -> None:
        """Tell what its metrics are to tell."""
        self._feed = feed
        if self.ready:
            self.send(Begin(feed=feed))

    def exchange(self, deadline_seconds: float) -> None:
        """Have it end, and start it anew; records wait meanwhile."""
        self._finish(deadline_seconds)

    def stop(self, deadline_seconds: float) -> None:
        """Have it take what waits, deliver it and end."""
        self._stopping = True
        if self._child is None and deadline_seconds:
            self._start()  # it died a moment ago: records may wait that it still can deliver
        self._finish(deadline_seconds)

    def close(self) -> None:
        """Let go of the memory."""
        self.board.close()
        os.close(self._descriptor)

    def _finish(self, deadline_seconds: float) -> None:
        self.report = None
        if self._child is None or self._finishing:
            return
        self._finishing = True
        patience_ns = round((deadline_seconds + _AFTER_DEADLINE_SECONDS) * _SECOND_NS)
        self._finish_by_ns = time.monotonic_ns() + patience_ns
        self._deadline_seconds = deadline_seconds
        if self.ready:
            self._child.send(Finish(deadline_seconds=deadline_seconds))

    def _start(self) -> None:
        child = start_child(
            "collector",
            _DECODER,
            (*self._records, self._descriptor),
            log=self._log_words,
            generation=0,
            environment=os.environ,  # plugins may have their secrets there
        )
        self._listen(child)
        child.send(
            CollectorSetup(
                config_path=self._config_path, records=self._records, board=self._descriptor
            )
        )

    def _listen(self, child: Child[FromCollector]) -> None:
        self._child = child
        self.ready = self._finishing = False
        self._reactor.add(child, self._hear, lambda how: self._bury(child, how))

    def _hear(self, message: FromCollector) -> None:
        if isinstance(message, Ready):
            self.ready = True
            self.failure = None
            if self._finishing:
                self.send(Finish(deadline_seconds=self._deadline_seconds))
            elif self._feed is not None:
                self.send(Begin(feed=self._feed))
        elif isinstance(message, Told):
            self.last = message.status
            self.told(message)
        elif isinstance(message, Finished):
            self.report = message.report
            self.last = message.report.status
        else:
            self.failure = message

    def _bury(self, child: Child[FromCollector], how: str) -> None:
        expected = self._finishing and self.report is not None
        self._child = None
        self.ready = self._finishing = False
        now_ns = time.monotonic_ns()
        if expected:
            self._failures = 0
        else:
            self.deaths += 1
            self._failures = 1 if now_ns - child.born_ns > _STEADY_NS else self._failures + 1
            pause = min(_LONGEST_PAUSE, _SHORTEST_PAUSE * 2 ** min(self._failures - 1, 10))
            self._not_before_ns = now_ns + round(pause * _SECOND_NS)
            reason = "" if self.failure is None else self.failure.message
            self._log.error("collectors_died", pid=child.pid, how=how, reason=reason)
        self.gone()
