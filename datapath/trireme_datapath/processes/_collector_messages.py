"""What a supervisor and the process of the collectors say to each other."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from trireme_collector.control import (  # noqa: TC001  msgspec reads the annotations
    CrossingStatus,
    HealthStatus,
    ProcessStatus,
    QueueStatus,
)
from trireme_collector.pipeline import (  # noqa: TC001  msgspec reads the annotations
    PipelineStatus,
    ShutdownReport,
)
from trireme_collector.records import Record  # noqa: TC001  as above
from trireme_datapath.processes._messages import Failed, Message, Ready

__all__ = [
    "Begin",
    "CollectorSetup",
    "Feed",
    "Finish",
    "Finished",
    "FromCollector",
    "Reopen",
    "Report",
    "Tell",
    "ToCollector",
    "Told",
]


# To the process of the collectors.


class CollectorSetup(Message, frozen=True, kw_only=True, gc=False):
    """The first thing that it hears; it opens its outputs and says `Ready`, or `Failed`.

    Attributes:
        config_path: The configuration file.
        records: Where the records of each slot are read from, inherited.
        board: Where counts are written to, inherited.
    """

    config_path: str
    records: tuple[int, ...]
    board: int


class Feed(Struct, frozen=True, kw_only=True, gc=False):
    """What its metrics tell of the datapath.

    Attributes:
        counters: What the engines counted, by name.
        revision: The policy in force.
        queues: The kernel's counters.
        beating: Whether every enforcer turns.
        processes: What every process does.
        crossing: The records on their way.
        settled: Packets that were in the hand of processes that died.
        health: What only the supervisor can know.
    """

    counters: dict[str, int]
    revision: str
    queues: tuple[QueueStatus, ...]
    beating: bool
    processes: tuple[ProcessStatus, ...]
    crossing: CrossingStatus
    settled: int
    health: tuple[HealthStatus, ...] = ()


class Begin(Message, frozen=True, kw_only=True, gc=False):
    """Packets are judged: answer who asks for metrics."""

    feed: Feed


class Tell(Message, frozen=True, kw_only=True, gc=False):
    """Tell the account of the records."""

    request: int


class Report(Message, frozen=True, kw_only=True, gc=False):
    """Take a record that the supervisor made."""

    record: Record


class Reopen(Message, frozen=True, kw_only=True, gc=False):
    """Open the outputs anew."""


class Finish(Message, frozen=True, kw_only=True, gc=False):
    """Deliver what waits, say what is left, and end."""

    deadline_seconds: float


# From the process of the collectors.


class Told(Message, frozen=True, kw_only=True, gc=False):
    """The account of the records."""

    request: int
    status: PipelineStatus
    health: tuple[HealthStatus, ...]


class Finished(Message, frozen=True, kw_only=True, gc=False):
    """The last thing that it says."""

    report: ShutdownReport


ToCollector: TypeAlias = CollectorSetup | Begin | Tell | Report | Reopen | Finish
FromCollector: TypeAlias = Ready | Told | Finished | Failed
