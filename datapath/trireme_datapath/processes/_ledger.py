"""What a tree of processes counts, and what its processes do."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from trireme_collector.control import CrossingStatus, PacketStatus, ProcessStatus, QueueStatus
from trireme_collector.metrics import HealthCheck
from trireme_datapath.agent._status import health_statuses
from trireme_datapath.processes._collector_messages import Feed, Tell, Told
from trireme_datapath.processes._enforcer_messages import Look, Looked
from trireme_datapath.processes._kernel_counts import kernel_statistics, queue_status

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from trireme_collector.control import HealthStatus
    from trireme_collector.pipeline import PipelineStatus
    from trireme_datapath.processes._operations import Gathering
    from trireme_datapath.processes._tree import Tree

__all__ = ["COLLECTORS", "Account", "Ledger", "health_of", "judges_health"]

COLLECTORS: Final = "collectors"
"""Who answers for the process of the collectors."""

_BEATING_NS: Final = 2_000_000_000


class Account:
    """What was counted, as far as everybody answered.

    Attributes:
        packets: The packets.
        records: The records; None if nobody ever told.
        health: What the process of the collectors says of the disk.
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


class Ledger:
    """Counts for a tree.

    Args:
        tree: Which.

    Attributes:
        others: Tells what else belongs to the health of the agent.
    """

    def __init__(self, tree: Tree) -> None:
        """Count nothing yet."""
        self._tree = tree
        self.others: Callable[[], Iterable[HealthCheck]] = tuple

    def look(self, done: Callable[[Account], None], patience_seconds: float) -> None:
        """Have everybody tell what is counted.

        Args:
            done: Called with it.
            patience_seconds: How long to wait for them.
        """
        judging = self._tree.staff.judging

        def ask(request: int) -> None:
            for one in judging:
                one.child.send(Look(request=request))
            if not self._tree.keeper.ask(Tell(request=request)):
                self._tree.gatherings.gone(COLLECTORS)

        def told(gathering: Gathering[object]) -> None:
            records = self._tree.keeper.last
            health: tuple[HealthStatus, ...] = ()
            answer = gathering.answers.get(COLLECTORS)
            if isinstance(answer, Told):
                records, health = answer.status, answer.health
            whole = all(post.enforcer in gathering.answers for post in self._tree.posts)
            done(Account(self._packets(gathering.answers, exact=whole), records, health))

        asked: list[Hashable] = [*judging, COLLECTORS]
        self._tree.gatherings.begin(asked, ask, told, patience_seconds=patience_seconds)

    def counters(self) -> Counter[str]:
        """Add up what the engines counted."""
        total: Counter[str] = Counter()
        for post in self._tree.posts:
            total.update(post.counters())
        return total

    def queues(self) -> tuple[QueueStatus, ...]:
        """Read the kernel's counters of our queues."""
        found = kernel_statistics(self._tree.statistics)
        numbers = [queue.queue_number for post in self._tree.posts for queue in post.queues]
        return tuple(queue_status(found[one]) for one in numbers if one in found)

    def feed(self) -> Feed:
        """Tell what metrics are to tell."""
        now_ns = time.monotonic_ns()
        beating = all(now_ns - post.board.beat_ns < _BEATING_NS for post in self._tree.posts)
        return Feed(
            counters=dict(self.counters()),
            revision=self._tree.staff.policy.revision,
            queues=self.queues(),
            beating=beating,
            processes=self.processes(),
            crossing=self.crossing(),
            settled=sum(post.board.settled for post in self._tree.posts),
            health=health_statuses([judges_health(self._tree), *self.others()]),
        )

    def processes(self) -> tuple[ProcessStatus, ...]:
        """Name the children."""
        rows = []
        for post in self._tree.posts:
            one = post.enforcer
            pid, state = (0, "missing") if one is None else (one.child.pid, one.duty.value)
            name = f"enforcer {post.number}" if post.queues else "accountant"
            revision = "" if one is None or not post.queues else one.revision
            rows.append(
                ProcessStatus(
                    name=name,
                    pid=pid,
                    state=state,
                    deaths=post.deaths,
                    policy_revision=revision,
                )
            )
        rows += [
            ProcessStatus(
                name="enforcer in reserve",
                pid=one.child.pid,
                state=one.duty.value,
                policy_revision=one.revision,
            )
            for one in self._tree.staff.all
            if one.post is None
        ]
        keeper = self._tree.keeper
        state = "running" if keeper.ready else "starting" if keeper.running else "missing"
        rows.append(
            ProcessStatus(name=COLLECTORS, pid=keeper.pid, state=state, deaths=keeper.deaths)
        )
        return tuple(rows)

    def crossing(self) -> CrossingStatus:
        """Count the records on their way."""
        made = dropped = sent = passed = lost = 0
        for post in self._tree.posts:
            # What was taken is read first: it never seems to be more than what was sent.
            passed += self._tree.keeper.board.taken(post.number)
            lost += self._tree.keeper.board.lost(post.number)
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
        for post in self._tree.posts:
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


def health_of(tree: Tree) -> list[HealthCheck]:
    """Tell whether packets are judged and records taken."""
    keeper = tree.keeper
    return [
        judges_health(tree),
        HealthCheck("queue", ok=bool(tree.posts), detail="held" if tree.posts else "not held"),
        HealthCheck(
            COLLECTORS,
            ok=keeper.ready,
            detail="take records" if keeper.ready else "away: records wait for them",
            essential=False,
        ),
    ]


def judges_health(tree: Tree) -> HealthCheck:
    """Tell whether somebody judges at every queue."""
    wanted, judging = len(tree.posts), len(tree.staff.judging)
    return HealthCheck(
        "enforcers", ok=judging >= wanted, detail=f"{judging} of {wanted} judge", vital=True
    )
