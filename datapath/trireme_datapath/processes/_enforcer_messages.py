"""What a supervisor and its enforcers say to each other."""

from __future__ import annotations

import enum
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from trireme_collector.control import QueueStatus  # noqa: TC001  msgspec reads the annotations
from trireme_datapath.backends.netlink import QueueSettings  # noqa: TC001  as above
from trireme_datapath.dns_observer import DNSLimits  # noqa: TC001  as above
from trireme_datapath.engine import EngineLimits  # noqa: TC001  as above
from trireme_datapath.policy.model import Policy  # noqa: TC001  as above
from trireme_datapath.policy.told import ToldUnit  # noqa: TC001  as above
from trireme_datapath.processes._messages import Failed, Message, Ready
from trireme_datapath.tracing import TraceRequest  # noqa: TC001  as above

__all__ = [
    "AccountingSetup",
    "Anticipate",
    "Anticipating",
    "Counted",
    "Enforce",
    "EnforcerSetup",
    "Enforcing",
    "FromEnforcer",
    "HeldQueue",
    "Learn",
    "Learned",
    "LearnedName",
    "Limited",
    "Look",
    "Looked",
    "NewPolicy",
    "PolicyReady",
    "PolicyRefused",
    "Release",
    "Released",
    "Settle",
    "Slot",
    "Take",
    "Taken",
    "ToEnforcer",
    "TraceUnit",
]


class Settle(enum.StrEnum):
    """What becomes of packets that somebody received and gave no verdict."""

    AGAIN = "again"
    """They go round once more: the kernel queues them again, behind the others."""
    DROP = "drop"
    """They are dropped; perhaps one of them is what kills."""


class AccountingSetup(Struct, frozen=True, kw_only=True, gc=False):
    """How connections are followed.

    Attributes:
        mark_mask: The bits of the connection mark; 0 where connections are not marked.
        list_seconds: How often connections are listed.
        event_buffer_bytes: Room for events.
        reliable: Whether the kernel keeps an event that does not fit.
        update_seconds: How often an open connection is reported.
        max_evicted: How many connections are remembered that had to leave the table.
        report_opened: Whether connections are reported when they are judged, too.
    """

    mark_mask: int
    list_seconds: float
    event_buffer_bytes: int
    reliable: bool
    update_seconds: float
    max_evicted: int
    report_opened: bool = True


class HeldQueue(Struct, frozen=True, kw_only=True, gc=False):
    """A queue that the supervisor holds.

    Attributes:
        number: Its number.
        descriptor: The socket that it belongs to, inherited.
    """

    number: int
    descriptor: int


class Slot(Struct, frozen=True, kw_only=True, gc=False):
    """What one enforcer works with; the supervisor keeps it over the lives of enforcers.

    Attributes:
        number: Which one.
        queues: Its queues.
        records: Where records are written to, inherited.
        board: Where counts are written to, inherited.
        accounting: Whether it follows connections.
    """

    number: int
    queues: tuple[HeldQueue, ...]
    records: int
    board: int
    accounting: bool

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Every descriptor of it."""
        return (*(queue.descriptor for queue in self.queues), self.records, self.board)


# To an enforcer.


class EnforcerSetup(Message, frozen=True, kw_only=True, gc=False):
    """The first thing that an enforcer hears; it prepares and says `Ready`.

    Attributes:
        policy: What to judge by.
        limits: How much the engine may hold.
        refuse_mark: The bit of refused packets, None to drop them.
        accept_mark: The bit of accepted packets, None to leave their mark.
        settings: How the queues were opened.
        accounting: How connections are followed, None if they are not.
        accountant: Whether one slot follows the connections of all, and judges no packets.
        recorder: Where judged packets are handed over to recorders, and to which group; nothing
            for nowhere.
        slots: Every slot; it is told later which one is its own.
        statistics: The kernel's table of queues, inherited open; -1 where it cannot be read.
        dns: How look-ups of names are observed, None if they are not.
        connection_exceptions: Whether connections are reported that came to nothing.
        counter_report_seconds: How often counters are reported, 0 for never.
        opening_rate: How many packets of a queue for opening ones are judged in a second; 0 for any
            number.
        gather_seconds: How long packets may wait for others, where many come.
        told: Units that were told of beside the policy.
    """

    policy: Policy
    limits: EngineLimits
    refuse_mark: int | None
    accept_mark: int | None
    settings: QueueSettings
    accounting: AccountingSetup | None
    accountant: bool
    recorder: tuple[str, str]
    slots: tuple[Slot, ...]
    statistics: int
    dns: DNSLimits | None = None
    connection_exceptions: bool = False
    counter_report_seconds: float = 0
    opening_rate: int = 0
    gather_seconds: float = 0
    told: tuple[ToldUnit, ...] = ()


class Take(Message, frozen=True, kw_only=True, gc=False):
    """Judge the packets of a slot from now on.

    Attributes:
        slot: Which one.
        settle: What becomes of packets that somebody else received.
        adopt: Whether open connections were accepted by somebody before, whose packets all come
            here.
    """

    slot: int
    settle: Settle
    adopt: bool


class Anticipate(Message, frozen=True, kw_only=True, gc=False):
    """Prepare for the connections of a slot that is about to be given to you."""


class TraceUnit(Message, frozen=True, kw_only=True, gc=False):
    """Report the packets of a unit for a while.

    Attributes:
        unit: Its id or context.
        request: What is wanted, and until when.
    """

    unit: str
    request: TraceRequest


class NewPolicy(Message, frozen=True, kw_only=True, gc=False):
    """Prepare another policy, and go on with the old one.

    Attributes:
        request: Who wants to know when it is prepared.
        policy: The policy; None for the one in force, with other units that were told of.
        told: The units that were told of.
    """

    request: int
    policy: Policy | None
    told: tuple[ToldUnit, ...] = ()


class Enforce(Message, frozen=True, kw_only=True, gc=False):
    """Put the policy in force that was prepared."""

    request: int


class Look(Message, frozen=True, kw_only=True, gc=False):
    """Tell what is counted, all at one moment."""

    request: int


class Release(Message, frozen=True, kw_only=True, gc=False):
    """Judge no more packets, and end.

    Attributes:
        drain: Judge what waits now before.
    """

    drain: bool


class LearnedName(NamedTuple):
    """A name in the rules of a unit, an address that it stands for, and until when."""

    unit: str
    name: str
    address: bytes
    expires_ns: int


class Learn(Message, frozen=True, kw_only=True, gc=False):
    """Learn what names stand for, as others learned it.

    Attributes:
        names: The names.
        tell_all: Tell all that is known, also what was told before.
    """

    names: tuple[LearnedName, ...]
    tell_all: bool = False


# From an enforcer.


class Learned(Message, frozen=True, kw_only=True, gc=False):
    """What names stand for, as far as it was not told before."""

    names: tuple[LearnedName, ...]


class Anticipating(Message, frozen=True, kw_only=True, gc=False):
    """All is prepared to take over connections."""


class Taken(Message, frozen=True, kw_only=True, gc=False):
    """From now on the packets of the slot are judged.

    Attributes:
        slot: Which one.
        capacity: How many packets the buffers of its queues hold, the smallest of them.
    """

    slot: int
    capacity: int


class Limited(Message, frozen=True, kw_only=True, gc=False):
    """What does not work and could be done without."""

    problems: tuple[str, ...]


class PolicyReady(Message, frozen=True, kw_only=True, gc=False):
    """The policy is prepared."""

    request: int
    edition: str


class PolicyRefused(Message, frozen=True, kw_only=True, gc=False):
    """The policy cannot be used."""

    request: int
    problems: tuple[str, ...]


class Enforcing(Message, frozen=True, kw_only=True, gc=False):
    """The policy is in force."""

    request: int
    edition: str


class Counted(Message, frozen=True, kw_only=True, gc=False):
    """What the engine has counted until now."""

    counters: dict[str, int]


class Looked(Message, frozen=True, kw_only=True, gc=False):
    """What was counted at one moment.

    Attributes:
        request: Who wanted to know.
        counters: By the engine of this process.
        judged: Packets of the slot that got a verdict, in all its lives.
        denied: Those of them that were dropped or refused.
        queues: The kernel's counters of its queues.
    """

    request: int
    counters: dict[str, int]
    judged: int
    denied: int
    queues: tuple[QueueStatus, ...]


class Released(Message, frozen=True, kw_only=True, gc=False):
    """The last thing that an enforcer says."""

    counters: dict[str, int]


ToEnforcer: TypeAlias = (
    EnforcerSetup | Anticipate | Take | NewPolicy | Enforce | Learn | Look | Release | TraceUnit
)
FromEnforcer: TypeAlias = (
    Ready
    | Anticipating
    | Taken
    | Limited
    | PolicyReady
    | PolicyRefused
    | Enforcing
    | Counted
    | Learned
    | Looked
    | Released
    | Failed
)
