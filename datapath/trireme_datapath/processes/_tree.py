"""Everything that a supervisor holds: queues, ways for records, children."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from trireme_collector.control import CrossingStatus, PacketStatus, ProcessStatus, QueueStatus
from trireme_collector.errors import ConfigError
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.agent._accounting import accept_mark_of
from trireme_datapath.backends.netlink import NetlinkQueue, QueueSettings
from trireme_datapath.kernel.rules import QueueMode
from trireme_datapath.processes._child import Reactor
from trireme_datapath.processes._enforcer import kernel_statistics, queue_status
from trireme_datapath.processes._keeper import CollectorKeeper
from trireme_datapath.processes._messages import (
    AccountingSetup,
    EnforcerSetup,
    Feed,
    Look,
    Looked,
    Tell,
    Told,
)
from trireme_datapath.processes._operations import Gatherings
from trireme_datapath.processes._post import Post
from trireme_datapath.processes._staff import Staff

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from trireme_collector.config import LoadedConfiguration
    from trireme_collector.control import HealthStatus
    from trireme_collector.pipeline import PipelineStatus
    from trireme_datapath.agent.config import AgentConfiguration
    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.policy.model import Policy
    from trireme_datapath.processes._messages import FromEnforcer
    from trireme_datapath.processes._operations import Gathering
    from trireme_datapath.processes._post import Enforcement

__all__ = ["COLLECTORS", "Account", "StartError", "Tree"]

COLLECTORS: Final = "collectors"
"""Who answers for the process of the collectors."""

_SECOND_NS: Final = 1_000_000_000
_STEP_SECONDS: Final = 0.25
_KERNEL_TABLE: Final = "/proc/thread-self/net/netfilter/nfnetlink_queue"
_BEATING_NS: Final = 2 * _SECOND_NS


class StartError(ConfigError):
    """A child could not begin.

    Attributes:
        exit_code: How a program ends because of that.
    """

    def __init__(self, message: str, exit_code: int, problems: tuple[str, ...] = ()) -> None:
        """Say what the child said."""
        super().__init__(message, problems=problems)
        self.exit_code = ExitCode(exit_code)


class Account:
    """What was counted, as far as everybody answered.

    Attributes:
        packets: The packets.
        records: The records; None if nobody ever told.
        health: What the process of the collectors says of itself.
    """

    def __init__(
        self,
        packets: PacketStatus,
        records: PipelineStatus | None,
        health: tuple[HealthStatus, ...] = (),
    ) -> None:
        """Put both together."""
        self.packets = packets
        self.records = records
        self.health = health


class Tree:
    """Queues, ways for records and children.

    Args:
        config: The configuration.
        policy: The policy to begin with.
        log: The words that tell a child how to log.

    Attributes:
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
    ) -> None:
        """Open the queues; start nobody.

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
        self._statistics = -1
        self._fed_ns = 0
        self.posts: list[Post] = []
        self.reactor = Reactor()
        try:
            self._open_posts()
        except BaseException:
            self.close()
            raise
        self.staff = Staff(self.reactor, self.posts, self._setup, policy, log)
        self.staff.answered = self._answered
        self.staff.gone = self.gatherings.gone
        records = [post.reader.fileno() for post in self.posts]
        self.keeper = CollectorKeeper(self.reactor, str(config.path), records, log)
        self.keeper.told = lambda told: self.gatherings.answer(told.request, COLLECTORS, told)
        self.keeper.gone = lambda: self.gatherings.gone(COLLECTORS)

    def _open_posts(self) -> None:
        try:
            # What root opened, its children may read as anybody.
            self._statistics = os.open(_KERNEL_TABLE, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._statistics = -1
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
                    accounting=processes.workers == 1,
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
    def _is_alone(self) -> bool:
        return self._config.processes.workers == 1 and self._config.datapath.accounting.enabled

    @property
    def _has_accountant(self) -> bool:
        """Whether somebody follows the connections of several who judge; only marks tell those."""
        settings = self._config.datapath
        marked = settings.rules.mode is QueueMode.NEW
        return self._config.processes.workers > 1 and settings.accounting.enabled and marked

    def _setup(self, policy: Policy) -> EnforcerSetup:
        settings = self._config.datapath
        wanted = settings.accounting
        mark_mask = settings.connection_mark_mask if settings.rules.mode is QueueMode.NEW else 0
        accounting = AccountingSetup(
            mark_mask=mark_mask,
            list_seconds=wanted.list_seconds,
            event_buffer_bytes=wanted.event_buffer_bytes,
            reliable=wanted.reliable,
            update_seconds=wanted.update_seconds,
            max_evicted=wanted.max_evicted,
        )
        return EnforcerSetup(
            policy=policy,
            limits=settings.limits,
            refuse_mark=settings.refuse_mark if settings.refuse else None,
            accept_mark=accept_mark_of(settings),
            settings=self._settings,
            accounting=accounting if self._has_accountant or self._is_alone else None,
            accountant=self._has_accountant,
            slots=tuple(post.slot for post in self.posts),
            statistics=self._statistics,
            dns=settings.dns.limits if settings.dns.enabled else None,
        )

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
            return self.staff.complete and self.keeper.ready

        if not self.wait(done, seconds):
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
            self.keeper.feed(self.feed())
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

    def close(self) -> None:
        """Kill who is left, and give everything back; packets that wait are dropped."""
        self.reactor.close()
        for post in self.posts:
            post.close()
        self.posts.clear()
        if self._statistics >= 0:
            os.close(self._statistics)
            self._statistics = -1

    # Telling.

    def look(self, done: Callable[[Account], None], patience_seconds: float) -> None:
        """Have everybody tell what is counted.

        Args:
            done: Called with it.
            patience_seconds: How long to wait for them.
        """
        judging = self.staff.judging

        def ask(request: int) -> None:
            for one in judging:
                one.child.send(Look(request=request))
            if not self.keeper.ask(Tell(request=request)):
                self.gatherings.gone(COLLECTORS)

        def told(gathering: Gathering[object]) -> None:
            records = self.keeper.last
            health: tuple[HealthStatus, ...] = ()
            answer = gathering.answers.get(COLLECTORS)
            if isinstance(answer, Told):
                records, health = answer.status, answer.health
            whole = all(post.enforcer in gathering.answers for post in self.posts)
            done(Account(self._packets(gathering.answers, exact=whole), records, health))

        asked: list[Hashable] = [*judging, COLLECTORS]
        self.gatherings.begin(asked, ask, told, patience_seconds=patience_seconds)

    def glance(self) -> Account:
        """Tell what can be seen without asking anybody."""
        return Account(self._packets({}, exact=False), self.keeper.last)

    def counters(self) -> Counter[str]:
        """Add up what the engines counted."""
        total: Counter[str] = Counter()
        for post in self.posts:
            total.update(post.counters())
        return total

    def queues(self) -> tuple[QueueStatus, ...]:
        """Read the kernel's counters of our queues."""
        found = kernel_statistics(self._statistics)
        numbers = [queue.queue_number for post in self.posts for queue in post.queues]
        return tuple(queue_status(found[one]) for one in numbers if one in found)

    def feed(self) -> Feed:
        """Tell what metrics are to tell."""
        now_ns = time.monotonic_ns()
        beating = all(now_ns - post.board.beat_ns < _BEATING_NS for post in self.posts)
        return Feed(
            counters=dict(self.counters()),
            revision=self.staff.policy.revision,
            queues=self.queues(),
            beating=beating,
        )

    def processes(self) -> tuple[ProcessStatus, ...]:
        """Name the children."""
        rows = []
        for post in self.posts:
            one = post.enforcer
            pid, state = (0, "missing") if one is None else (one.child.pid, one.duty.value)
            name = f"enforcer {post.number}" if post.queues else "accountant"
            rows.append(ProcessStatus(name=name, pid=pid, state=state, deaths=post.deaths))
        rows += [
            ProcessStatus(name="enforcer in reserve", pid=one.child.pid, state=one.duty.value)
            for one in self.staff.all
            if one.post is None
        ]
        keeper = self.keeper
        state = "running" if keeper.ready else "starting" if keeper.running else "missing"
        rows.append(
            ProcessStatus(name=COLLECTORS, pid=keeper.pid, state=state, deaths=keeper.deaths)
        )
        return tuple(rows)

    def crossing(self) -> CrossingStatus:
        """Count the records on their way."""
        made = dropped = sent = passed = lost = 0
        for post in self.posts:
            # What was taken is read first: it never seems to be more than what was sent.
            passed += self.keeper.board.taken(post.number)
            lost += self.keeper.board.lost(post.number)
            board = post.board
            made, dropped, sent = made + board.made, dropped + board.unsent, sent + board.sent
        return CrossingStatus(
            made=made,
            dropped=dropped,
            sent=sent,
            taken=passed - lost,
            lost=lost,
            waiting=max(0, sent - passed),
        )

    def _packets(self, answers: dict[Hashable, object], *, exact: bool) -> PacketStatus:
        counters: Counter[str] = Counter()
        judged = denied = settled = 0
        queues: list[QueueStatus] = []
        for post in self.posts:
            answer = answers.get(post.enforcer)
            settled += post.board.settled
            if isinstance(answer, Looked):
                counters.update(post.past)
                counters.update(answer.counters)
                judged, denied = judged + answer.judged, denied + answer.denied
                queues += answer.queues
            else:
                counters.update(post.counters())
                judged, denied = judged + post.board.judged, denied + post.board.denied
        if not exact:
            queues = list(self.queues())
        counters["packets"], counters["packets_denied"] = judged, denied
        return PacketStatus(
            exact=exact,
            judged=judged,
            denied=denied,
            counters=dict(sorted(counters.items())),
            queue=_sum(queues),
            settled=settled,
            queues=tuple(queues) if len(queues) > 1 else (),
        )

    def _answered(self, who: Enforcement, answer: FromEnforcer) -> None:
        self.gatherings.answer(getattr(answer, "request", 0), who, answer)


def _sum(queues: list[QueueStatus]) -> QueueStatus | None:
    if len(queues) < 2:
        return queues[0] if queues else None
    return QueueStatus(
        number=queues[0].number,
        received=sum(queue.received for queue in queues),
        waiting=sum(queue.waiting for queue in queues),
        dropped_full=sum(queue.dropped_full for queue in queues),
        dropped_socket=sum(queue.dropped_socket for queue in queues),
    )
