"""Everything that a supervisor holds: queues, ways for records, children."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from trireme_collector.errors import ConfigError
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.agent._accounting import accept_mark_of
from trireme_datapath.backends.netlink import NetlinkQueue, QueueSettings
from trireme_datapath.kernel.rules import QueueMode
from trireme_datapath.processes._child import Reactor
from trireme_datapath.processes._enforcer_messages import AccountingSetup, EnforcerSetup
from trireme_datapath.processes._keeper import CollectorKeeper
from trireme_datapath.processes._ledger import COLLECTORS, Ledger
from trireme_datapath.processes._operations import Gatherings
from trireme_datapath.processes._post import Post
from trireme_datapath.processes._staff import Staff

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector.config import LoadedConfiguration
    from trireme_datapath.agent.config import AgentConfiguration, DatapathConfig
    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.processes._enforcer_messages import FromEnforcer
    from trireme_datapath.processes._post import Enforcement
    from trireme_datapath.processes._state import SupervisorState

__all__ = ["StartError", "Tree"]

_SECOND_NS: Final = 1_000_000_000
_STEP_SECONDS: Final = 0.25
_FAILURES: Final = 3
_KILLED_SECONDS: Final = 1.0
_KERNEL_TABLE: Final = "/proc/thread-self/net/netfilter/nfnetlink_queue"


class StartError(ConfigError):
    """A child could not begin.

    Attributes:
        exit_code: How a program ends because of that.
    """

    def __init__(self, message: str, exit_code: int, problems: tuple[str, ...] = ()) -> None:
        """Say what the child said."""
        super().__init__(message, problems=problems)
        self.exit_code = ExitCode(exit_code)


class Tree:
    """Queues, ways for records and children.

    Args:
        config: The configuration.
        policy: The policy to begin with.
        log: The words that tell a child how to log.
        state: What the program of before left, if this one takes its place.
        statistics: The kernel's table of queues, if somebody else opened it.

    Attributes:
        ledger: What is counted.
        statistics: The kernel's table of queues, open; -1 where it cannot be read.
        posts: The slots.
        staff: The enforcers.
        keeper: The process of the collectors.
        reactor: Who listens to all of them.
        gatherings: The questions that are not answered yet.
        turned: Called after each step.
    """

    def __init__(
        self,
        config: LoadedConfiguration[AgentConfiguration],
        policy: CompiledPolicy,
        log: tuple[str, str],
        state: SupervisorState | None = None,
        *,
        statistics: int = -1,
    ) -> None:
        """Open the queues, or go on with those of before; start nobody.

        Raises:
            DatapathError: A queue is refused; the subclass says why.
        """
        settings = config.settings.datapath
        self._config = config.settings
        self._settings = QueueSettings(
            copy_range=settings.captured_bytes,
            max_length=settings.queue_length,
            fail_open=settings.fail_open,
            gso=settings.gso,
        )
        self.gatherings: Gatherings[object] = Gatherings()
        self.turned: Callable[[], None] = lambda: None
        self.statistics = statistics
        self._fed_ns = 0
        self.posts: list[Post] = []
        self.reactor = Reactor()
        try:
            if state is None:
                self._open_posts()
            else:
                self.statistics = state.statistics
                self.posts += [Post.resumed(one, self._settings) for one in state.posts]
        except BaseException:
            self.close()
            raise
        self.staff = Staff(self.reactor, self.posts, self._setup, policy, log)
        self.staff.answered = self._answered
        self.staff.gone = self.gatherings.gone
        records = [post.reader.fileno() for post in self.posts]
        left = None if state is None else state.keeper
        self.keeper = CollectorKeeper(self.reactor, str(config.path), records, log, left)
        if state is not None:
            self.staff.resume(state.enforcers, state.generation, state.traces)
        self.ledger = Ledger(self)
        self.keeper.told = lambda told: self.gatherings.answer(told.request, COLLECTORS, told)
        self.keeper.gone = lambda: self.gatherings.gone(COLLECTORS)

    def _open_posts(self) -> None:
        if self.statistics < 0:
            # What root opened, its children may read as anybody.
            with contextlib.suppress(OSError):
                self.statistics = os.open(_KERNEL_TABLE, os.O_RDONLY | os.O_CLOEXEC)
        processes, first = self._config.processes, self._config.datapath.queue
        for number in range(processes.workers):
            queues = [NetlinkQueue.open(first + number, self._settings)]
            opening = self._config.datapath.opening_queue
            if opening is not None:
                length = self._config.datapath.opening_queue_length
                settings = replace(self._settings, max_length=length)
                try:
                    queues.append(NetlinkQueue.open(opening + number, settings))
                except BaseException:
                    queues[0].close()
                    raise
            self.posts.append(
                Post(
                    number,
                    queues,
                    record_buffer_bytes=processes.record_buffer_bytes,
                    accounting=not self._has_accountant,
                )
            )
        if self._has_accountant:
            self.posts.append(
                Post(
                    processes.workers,
                    [],
                    record_buffer_bytes=processes.record_buffer_bytes,
                    accounting=True,
                )
            )

    @property
    def _has_accountant(self) -> bool:
        """Whether somebody follows the connections of several who judge; only marks tell those.

        Where every packet is queued, each of several follows those of which it sees packets.
        """
        settings = self._config.datapath
        marked = settings.rules.mode is QueueMode.NEW
        return self._config.processes.workers > 1 and settings.accounting.enabled and marked

    def _setup(self, policy: CompiledPolicy) -> EnforcerSetup:
        settings = self._config.datapath
        wanted = settings.accounting
        recorder = self._config.recorder
        mark_mask = settings.connection_mark_mask if settings.rules.mode is QueueMode.NEW else 0
        accounting = AccountingSetup(
            mark_mask=mark_mask,
            list_seconds=wanted.list_seconds,
            event_buffer_bytes=wanted.event_buffer_bytes,
            reliable=wanted.reliable,
            update_seconds=wanted.update_seconds,
            max_evicted=wanted.max_evicted,
            report_opened=wanted.report_opened,
        )
        return EnforcerSetup(
            policy=policy.policy,
            told=policy.told,
            limits=settings.limits,
            refuse_mark=settings.refuse_mark if settings.refuse else None,
            accept_mark=accept_mark_of(settings),
            settings=self._settings,
            accounting=accounting if wanted.enabled else None,
            accountant=self._has_accountant,
            recorder=(recorder.packets_socket, recorder.group),
            slots=tuple(post.slot for post in self.posts),
            statistics=self.statistics,
            dns=settings.dns.limits if settings.dns.enabled else None,
            connection_exceptions=settings.connection_exceptions,
            counter_report_seconds=settings.counter_report_seconds,
            opening_rate=settings.opening_rate,
            gather_seconds=_gather_seconds(settings),
        )

    def told(self, policy: CompiledPolicy) -> bytes:
        """Give what enforcers are told, as they are told it."""
        return msgspec.msgpack.encode(self._setup(policy))

    # Turning.

    def begin(self, seconds: float) -> None:
        """Start everybody, and wait until packets are judged and records taken.

        Args:
            seconds: How long to wait.

        Raises:
            StartError: Somebody cannot begin.
        """

        def done() -> bool:
            failed = self.keeper.failure or self.staff.failure
            if failed is not None:
                raise StartError(failed.message, failed.exit_code, failed.problems)
            if self.keeper.deaths:
                raise StartError("the process of the collectors ended at once", ExitCode.FAILURE)
            if self.staff.failures >= _FAILURES:
                raise StartError("no process that judges packets can be started", ExitCode.FAILURE)
            return self.staff.complete and self.keeper.ready

        try:
            in_time = self.wait(done, seconds)
        except OSError as error:
            msg = (
                f"user {os.geteuid()} cannot run {sys.executable}: {error.strerror}; install it"
                " where that user may, or name another in [processes]"
            )
            raise StartError(msg, ExitCode.PRIVILEGE) from error
        if not in_time:
            msg = f"the processes of the agent were not ready within {seconds:g} s; try again"
            raise StartError(msg, ExitCode.FAILURE)

    def step(self, timeout_seconds: float = _STEP_SECONDS) -> None:
        """Wait once, and do what is due.

        Raises:
            OSError: There is no room for another process.
        """
        self.reactor.step(timeout_seconds)
        self.gatherings.step()
        self.staff.step()
        self.keeper.step()
        now_ns = time.monotonic_ns()
        if now_ns - self._fed_ns >= _SECOND_NS:
            self._fed_ns = now_ns
            self.keeper.feed(self.ledger.feed())
        self.turned()

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Turn until something is so; say whether it came to be in time."""
        end = time.monotonic() + seconds
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.step(min(left, _STEP_SECONDS / 5))
        return True

    def release(self, seconds: float) -> None:
        """Have those who judge take what waits now, and end.

        Args:
            seconds: How long they may take; then they are killed.
        """
        self.staff.release_all(drain=True)
        self.wait(lambda: not self.staff.all, seconds)
        self.staff.kill_all()
        self.wait(lambda: not self.staff.all, _KILLED_SECONDS)

    def close(self) -> None:
        """Kill who is left, and give everything back; packets that wait are dropped."""
        self.reactor.close()
        for post in self.posts:
            post.close()
        self.posts.clear()
        if self.statistics >= 0:
            os.close(self.statistics)
            self.statistics = -1

    def _answered(self, who: Enforcement, answer: FromEnforcer) -> None:
        self.gatherings.answer(getattr(answer, "request", 0), who, answer)


def _gather_seconds(settings: DatapathConfig) -> float:
    """Give how long packets may wait for others: less where connections that stand are judged."""
    seconds = settings.gather_microseconds / 1_000_000
    return seconds if settings.rules.mode is QueueMode.NEW else seconds / 5
