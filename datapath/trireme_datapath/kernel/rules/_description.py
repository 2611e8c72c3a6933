"""Which packets go to which queue, and what is done besides: a description."""

from __future__ import annotations

import enum
import re
from typing import Final

from msgspec import Struct

from trireme_collector.errors import ConfigError
from trireme_datapath.kernel.marks import DEFAULT_ACCEPT_MARK, ConnectionMark

__all__ = ["TABLES", "CgroupMark", "QueueMode", "QueueRules", "RuleHook"]

TABLES: Final = frozenset({b"filter", b"mangle", b"security"})
"""The tables that our chains are in."""

_INTERFACE: Final = re.compile(r"[A-Za-z0-9_.:@-]{1,15}\+?")  # IFNAMSIZ is 16 with its final 0
_CHAIN: Final = re.compile(r"[A-Z][A-Z0-9-]{0,19}")  # a chain's name has 28 letters at most
_CGROUP: Final = re.compile(r"[^\s\"'\\]{1,4000}")
_MAX_QUEUE: Final = 0xFFFF
_MAX_MARK: Final = 0xFFFFFFFF


class RuleHook(enum.StrEnum):
    """Which packets are queued: those to this host, from it, or through it."""

    INPUT = "input"
    OUTPUT = "output"
    FORWARD = "forward"


class QueueMode(enum.StrEnum):
    """How much of a connection is queued."""

    NEW = "new"
    """What begins a connection, belongs to none or to one that was not accepted."""
    ALL = "all"
    """Every packet."""


_SUFFIXES: Final = {RuleHook.INPUT: "IN", RuleHook.OUTPUT: "OUT", RuleHook.FORWARD: "FWD"}


class CgroupMark(Struct, frozen=True, kw_only=True):
    """Marks what the processes of a control group send.

    Attributes:
        path: The group, relative to the root of the version 2 hierarchy.
        value: The bits to set.
        mask: The bits that belong to the mark; the others are left alone.
    """

    path: str
    value: int
    mask: int


class QueueRules(Struct, frozen=True, kw_only=True):
    """Which packets go to which queue.

    Attributes:
        queue: The first queue.
        queues: How many queues share the packets, by a hash of the addresses.
        mode: Whether only new connections are queued, or every packet.
        hooks: The hooks.
        interfaces: The interfaces; all when empty. A final ``+`` stands for any ending.
        fail_open: Let packets pass while no program listens on the queue. Off: they are dropped.
        refuse_mark: Packets that come back with these mark bits are answered with a reset or an
            ICMP error; None for no such rule.
        loopback: Queue what the host sends to itself, too.
        neighbour_discovery: Let IPv6 neighbour and router discovery pass unjudged; without it, a
            link is cut as soon as a policy does not name it.
        cgroups: Marks for processes, set before their packets are queued.
        prefix: How the names of our chains begin.
        connection_mark: The mark by which accepted connections stay in the kernel;
            `QueueMode.ALL` needs none.
        accept_mark: The bit of the packet mark that the engine gives to what it accepts: it
            becomes the mark of the connection.
        follow_connections: Let the kernel track connections even if no rule needs it.
        opening_queue: The first queue for packets that open a TCP connection, so that a flood of
            them fills no other; there are as many as of the others. None for the same queues.
    """

    queue: int = 0
    queues: int = 1
    mode: QueueMode = QueueMode.NEW
    hooks: tuple[RuleHook, ...] = (RuleHook.INPUT, RuleHook.OUTPUT, RuleHook.FORWARD)
    interfaces: tuple[str, ...] = ()
    fail_open: bool = False
    refuse_mark: int | None = None
    loopback: bool = False
    neighbour_discovery: bool = True
    cgroups: tuple[CgroupMark, ...] = ()
    prefix: str = "TRIREME"
    connection_mark: ConnectionMark = ConnectionMark()
    accept_mark: int = DEFAULT_ACCEPT_MARK
    follow_connections: bool = False
    opening_queue: int | None = None

    def check(self) -> None:
        """Refuse what can not be a rule, or would be another one than it seems.

        Raises:
            ConfigError: With one line for each mistake.
        """
        problems = []
        if not 0 <= self.queue <= self.queue + self.queues - 1 <= _MAX_QUEUE:
            problems.append(
                f"queues {self.queue} to {self.queue + self.queues - 1}: not 0 to 65535"
            )
        opening = self.opening_queue
        if opening is not None and not 0 <= opening <= opening + self.queues - 1 <= _MAX_QUEUE:
            problems.append(f"queue {opening} for opening packets: not 0 to 65535")
        elif opening is not None and abs(opening - self.queue) < self.queues:
            problems.append(f"queue {opening} is for opening packets and for all others")
        try:
            self.connection_mark.check()
        except ConfigError as error:
            problems.append(str(error))
        if not self.hooks:
            problems.append("hooks: name at least one")
        problems += [
            f"interface {one!r}: not a name of an interface"
            for one in self.interfaces
            if not _INTERFACE.fullmatch(one) or one.startswith("-")
        ]
        if self.refuse_mark is not None and not 0 < self.refuse_mark <= _MAX_MARK:
            problems.append(f"refuse mark {self.refuse_mark:#x}: not 1 to 0xffffffff")
        if not 0 < self.accept_mark <= _MAX_MARK or self.accept_mark & (self.accept_mark - 1):
            problems.append(f"accept mark {self.accept_mark:#x}: not a single bit of 0xffffffff")
        elif self.refuse_mark is not None and self.refuse_mark & self.accept_mark:
            problems.append(f"mark {self.accept_mark:#x} is to refuse and to accept")
        if not _CHAIN.fullmatch(self.prefix):
            problems.append(f"prefix {self.prefix!r}: use up to 20 capital letters, digits and -")
        for group in self.cgroups:
            if not _CGROUP.fullmatch(group.path) or group.path.startswith("-"):
                problems.append(f"cgroup {group.path!r}: not a path without spaces and quotes")
            if not 0 <= group.value <= group.mask <= _MAX_MARK or group.value & ~group.mask:
                problems.append(f"cgroup {group.path!r}: mark {group.value:#x} is outside its mask")
        if problems:
            raise ConfigError(
                "the kernel rules can not be made: " + "; ".join(problems), problems=problems
            )

    def chain(self, hook: RuleHook) -> str:
        """Name our chain of a hook."""
        return f"{self.prefix}-{_SUFFIXES[hook]}"

    @property
    def exempt_hook(self) -> RuleHook | None:
        """The hook on which connections begin that are not judged but answered on a judged one."""
        if self.mode is QueueMode.ALL:
            return None
        for judged, other in ((RuleHook.INPUT, RuleHook.OUTPUT), (RuleHook.OUTPUT, RuleHook.INPUT)):
            if judged in self.hooks and other not in self.hooks:
                return other
        return None

    @property
    def used_hooks(self) -> list[RuleHook]:
        """The hooks on which we have a chain."""
        return [hook for hook in RuleHook if hook in self.hooks or hook is self.exempt_hook]

    @property
    def mark_chain(self) -> str:
        """Our chain that sets marks, in the mangle table."""
        return f"{self.prefix}-MARK"

    @property
    def keep_chain(self) -> str:
        """Our chain that turns the mark of an accepted packet into one of its connection."""
        return f"{self.prefix}-KEEP"

    @property
    def chains(self) -> dict[str, tuple[str, ...]]:
        """Every chain that may be ours, by table: also those that these rules do not use."""
        return {
            "filter": tuple(self.chain(hook) for hook in RuleHook),
            "mangle": (self.mark_chain,),
            "security": (self.keep_chain,),
        }
