"""What a running agent tells about itself."""

from __future__ import annotations

import enum

import msgspec

from trireme_collector.pipeline import PipelineStatus  # noqa: TC001  msgspec reads the annotations

__all__ = [
    "AgentState",
    "AgentStatus",
    "CrossingStatus",
    "DrainArguments",
    "DrainResult",
    "HealthStatus",
    "PacketStatus",
    "PolicyStatus",
    "ProcessStatus",
    "QueueStatus",
    "ReloadResult",
    "RestartResult",
]


class AgentState(enum.StrEnum):
    """How an agent is."""

    RUNNING = "running"
    DEGRADED = "degraded"
    DRAINING = "draining"


class ReloadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a reload changed.

    Attributes:
        policy_file: The policy file that was read.
        revision_before: The revision of the policy before.
        revision: The revision of the policy that is in force now.
        changed: Whether another policy is in force now.
        restart_needed: The keys of the configuration file that differ from those that the
            agent runs with, and that only a restart puts in force.
    """

    policy_file: str
    revision_before: str
    revision: str
    changed: bool
    restart_needed: tuple[str, ...] = ()


class DrainArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of ``drain``.

    Attributes:
        deadline_seconds: How long records that wait are still delivered.
    """

    deadline_seconds: float = msgspec.field(default=5.0)

    def __post_init__(self) -> None:
        """Refuse what is no time.

        Raises:
            ValueError: It is negative, or longer than an hour.
        """
        if not 0 <= self.deadline_seconds <= 3600:
            raise ValueError("deadline_seconds is 0 to 3600")


class DrainResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was left when an agent had been drained.

    Attributes:
        complete: Whether nothing waits any more.
        undelivered: How many records wait, over all collectors.
        spooled: How many of them are on disk, to be delivered after the next start. The others
            are lost.
        stuck: The collectors that did not come back in time.
        rules_in_place: Whether the kernel still queues packets, and drops them without an agent.
        status: The last account.
    """

    complete: bool
    undelivered: int
    spooled: int
    stuck: tuple[str, ...]
    rules_in_place: bool
    status: PipelineStatus


class HealthStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is as it should be, or not.

    Attributes:
        name: What was looked at.
        ok: Whether it is as it should be.
        detail: What was seen.
        vital: Whether a restart is the remedy.
        essential: Whether packets are judged as they should be only if it is.
    """

    name: str
    ok: bool
    detail: str
    vital: bool
    essential: bool = True


class PolicyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The policy that is in force.

    Attributes:
        file: Where it was read.
        revision: Its revision, as it stands in the records.
        loaded_ns: When it was put in force, nanoseconds since 1970 UTC.
        refused: What was wrong with the files at the last reload, if that was refused; each line
            has its place. Empty once a reload succeeds.
        observe_only: Whether what the policy rejects is only reported, and let through.
        observe_by: What decides that: ``control``, ``configuration`` or ``policy``; empty if
            nothing ever spoke of observing.
    """

    file: str
    revision: str
    loaded_ns: int
    refused: tuple[str, ...] = ()
    observe_only: bool = False
    observe_by: str = ""


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel's own counters of the packet queue, all modulo 2**32.

    At any time ``received == judged + settled + waiting + dropped_full + dropped_socket``, where
    `judged` and `settled` are those of the `PacketStatus` that was taken with it.

    Attributes:
        number: The number of the queue.
        received: Packets that the rules sent to it.
        waiting: Packets that wait for a verdict.
        dropped_full: Packets dropped because the queue was full.
        dropped_socket: Packets dropped because the buffer of its socket was full.
    """

    number: int
    received: int
    waiting: int
    dropped_full: int
    dropped_socket: int


class PacketStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What was judged.

    Attributes:
        exact: Whether all numbers are of one moment. They are not when the packet loop hangs.
        judged: Packets that got a verdict.
        denied: Those of them that were dropped or refused.
        counters: What the engine counts, by name.
        queue: The kernel's counters, where they can be read; those of all queues, if there are
            several.
        settled: Packets that a process had received when it died. They went round again and
            count once more, or they were judged and nobody lived to count them.
        queues: The counters of each queue, if there are several.
    """

    exact: bool
    judged: int
    denied: int
    counters: dict[str, int]
    queue: QueueStatus | None = None
    settled: int = 0
    queues: tuple[QueueStatus, ...] = ()


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process of an agent.

    Attributes:
        name: What it is.
        pid: Its number, 0 while it is not there.
        state: What it does.
        deaths: How often it had to be replaced because it ended, or hung.
        policy_revision: The revision of the policy that it judges by; empty if it judges nothing.
    """

    name: str
    pid: int
    state: str
    deaths: int = 0
    policy_revision: str = ""


class CrossingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Records on their way from the processes that judge to the collectors.

    At any time ``made == dropped + sent`` and ``sent == taken + lost + waiting``.

    Attributes:
        made: Records that came of packets.
        dropped: Those of them that did not fit while the collectors were away.
        sent: Those that were handed over.
        taken: Those that the collectors took.
        lost: Those that died with a process.
        waiting: Those that wait for the collectors.
    """

    made: int
    dropped: int
    sent: int
    taken: int
    lost: int
    waiting: int


class AgentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a running agent counts, and how it is.

    Attributes:
        state: In one word.
        reasons: Why it is not simply running; empty when it is.
        program_version: The version of the program.
        pid: Its process.
        time_ns: When this was said, nanoseconds since 1970 UTC.
        health: What was looked at.
        policy: The policy that is in force.
        packets: What was judged.
        records: Who it is (``instance``, ``epoch``) and the account of its records. The account
            of a collector is taken at one moment: it balances.
        processes: The processes, if there are several.
        crossing: The records on their way between them.
    """

    state: AgentState
    reasons: tuple[str, ...]
    program_version: str
    pid: int
    time_ns: int
    health: tuple[HealthStatus, ...]
    policy: PolicyStatus
    packets: PacketStatus
    records: PipelineStatus
    processes: tuple[ProcessStatus, ...] = ()
    crossing: CrossingStatus | None = None


class RestartResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a planned restart did.

    Attributes:
        enforcers: How many processes that judge were exchanged.
        longest_pause_ms: For how long nobody judged at one queue, at most; its packets waited.
        program_version: The version of the program that runs now.
    """

    enforcers: int
    longest_pause_ms: float
    program_version: str
