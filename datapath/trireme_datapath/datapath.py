"""A datapath for embedding: a queue and an engine in the process and the thread of the caller.

It is the level between `trireme_datapath.engine.Engine`, which opens nothing, and
`trireme_datapath.agent.Agent`, which reads a configuration, puts kernel rules in place, delivers
and can be steered.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeAlias

from trireme_collector.errors import DatapathError
from trireme_datapath.agent._jobs import LoopJobs
from trireme_datapath.engine import Engine, EngineLimits
from trireme_datapath.loop import ClockWatch, DatapathLoop
from trireme_datapath.policy import CompiledPolicy, Policy, compile_policy, load_policy

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from concurrent.futures import Future
    from types import TracebackType
    from typing import Self

    from trireme_collector.collector import EventCollector
    from trireme_collector.records import Record
    from trireme_datapath.agent import PacketBackend

__all__ = ["AnyPolicy", "Datapath", "OpenQueue"]

OpenQueue: TypeAlias = "Callable[[Engine], PacketBackend]"
"""Opens a queue that feeds an engine, for example
``lambda engine: NetlinkBackend.open(7, engine)``."""

AnyPolicy: TypeAlias = "CompiledPolicy | Policy | str | os.PathLike[str]"
"""A policy in any form: compiled, as data, or the path of its file."""

_DEFAULT_LIMITS = EngineLimits()


class Datapath:
    """Judges the packets of one queue in the thread that calls it.

    ::

        with Datapath("policy.toml", lambda engine: NetlinkBackend.open(7, engine)) as datapath:
            datapath.run(collector)  # until `stop` is called

    A collector of one's own is called in that thread, between two batches of packets: it has to be
    quick. With a `trireme_collector.Pipeline` as the collector, deliveries have threads of
    their own. Instead of `run`, an event loop can wait for `fileno` and call `judge`.

    The kernel rules that send packets to the queue are the caller's, for example
    `trireme_datapath.kernel.install.KernelRules`.

    Args:
        policy: The policy.
        open_queue: Opens the queue; called by `open`.
        limits: How much the engine may hold.
        refuse_mark: See `trireme_datapath.engine.Engine`.
        accept_mark: See `trireme_datapath.engine.Engine`.
        clock: Gives nanoseconds since 1970 UTC.

    Attributes:
        engine: Who judges. It belongs to the thread that runs the datapath.

    Raises:
        ConfigError: The policy cannot be read, or has mistakes.
    """

    def __init__(
        self,
        policy: AnyPolicy,
        open_queue: OpenQueue,
        *,
        limits: EngineLimits = _DEFAULT_LIMITS,
        refuse_mark: int | None = None,
        accept_mark: int | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Build the engine; open nothing."""
        self.engine = Engine(
            _compiled(policy), limits, refuse_mark=refuse_mark, accept_mark=accept_mark
        )
        self._open_queue = open_queue
        self._clock = clock
        self._clock_watch = ClockWatch()
        self._queue: PacketBackend | None = None
        self._loop: DatapathLoop | None = None
        self._jobs = LoopJobs()
        self._stopping = False

    def open(self) -> Self:
        """Open the queue; from now on packets wait for `judge` or `run`.

        Raises:
            DatapathError: The queue is refused; the subclass says why.
        """
        if self._queue is None:
            self._queue = self._open_queue(self.engine)
        return self

    def close(self) -> None:
        """Give the queue back: the kernel drops what waits in it."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.close()

    def __enter__(self) -> Self:
        """Open the queue."""
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the queue back."""
        self.close()

    @property
    def queue(self) -> PacketBackend:
        """The queue.

        Raises:
            DatapathError: It is not open.
        """
        if self._queue is None:
            raise DatapathError("the datapath is not open: call open() first, or use `with`")
        return self._queue

    def fileno(self) -> int:
        """Give the descriptor that is readable when packets wait."""
        return self.queue.fileno()

    def judge(self) -> list[Record]:
        """Judge what waits, without waiting for more.

        Call it when `fileno` is readable, and at least once a second: some records belong to no
        single packet, and idle flows are forgotten.

        Returns:
            The records that were caused.

        Raises:
            OSError: The queue is of no use any more.
        """
        queue = self.queue
        self._jobs.run()
        now_ns = self._clock()
        jump_ns = self._clock_watch.turn(now_ns)
        if jump_ns:
            self.engine.shift_clock(jump_ns)
        return queue.drain(now_ns) + self.engine.take_records(now_ns)

    def take_last_records(self) -> list[Record]:
        """Give the records that would have come later; at the end, after the last `judge`."""
        return self.engine.take_last_records(self._clock())

    def run(self, collector: EventCollector) -> None:
        """Judge packets until `stop`, and hand what they cause to a collector.

        A collector that raises loses the record; the judging goes on.

        Args:
            collector: Anything with the ``collect_*`` methods, or some of them.

        Raises:
            OSError: The queue is of no use any more.
        """
        queue = self.queue
        loop = self._loop = DatapathLoop(
            queue, self.engine, collector, self._clock, clock_set=self.engine.shift_clock
        )
        try:
            loop.run(until=self._turned)
            # What waits was sent by somebody: it is judged once more before the queue goes.
            loop.hand_over(queue.drain(self._clock()))
            loop.hand_over(self.take_last_records())
        finally:
            self._loop = None
            self._stopping = False
            loop.close()

    def stop(self) -> None:
        """End `run` soon, or as soon as it begins; for signal handlers and other threads."""
        self._stopping = True
        self._wake()

    def replace_policy(self, policy: AnyPolicy) -> Future[str]:
        """Put another policy in force, between two batches; from any thread.

        Every packet is judged by the whole old or the whole new policy. Open flows are judged
        again with their next packet.

        Args:
            policy: The policy.

        Returns:
            Its revision, once `run` or `judge` has put it in force.

        Raises:
            ConfigError: It cannot be read, or has mistakes: the old one stays in force.
        """
        compiled = _compiled(policy)

        def put_in_force() -> str:
            self.engine.replace_policy(compiled)
            return compiled.revision

        future = self._jobs.post(put_in_force)
        self._wake()
        return future

    def _turned(self) -> bool:
        self._jobs.run()
        return self._stopping

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None:
            loop.wake()


def _compiled(policy: AnyPolicy) -> CompiledPolicy:
    if isinstance(policy, CompiledPolicy):
        return policy
    return compile_policy(policy if isinstance(policy, Policy) else load_policy(policy))
