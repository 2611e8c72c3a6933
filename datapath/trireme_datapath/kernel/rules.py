"""The kernel rules that bring packets to a queue, as a description and as text.

Everything here is pure; `trireme_datapath.kernel.install` puts it in place. The rules stand in
chains of our own in the ``filter`` table, entered from the first rule of each hook, so one
transaction replaces them and no packet passes in between.
"""

from __future__ import annotations

import enum
import re
from typing import Final

from msgspec import Struct

from trireme_collector.errors import ConfigError
from trireme_datapath.kernel._saved_rules import (
    begins_with,
    essence_of,
    existing_chains,
    own_jumps,
    queue_words,
    rules_by_chain,
)
from trireme_datapath.kernel.marks import DEFAULT_ACCEPT_MARK, ConnectionMark

__all__ = [
    "CgroupMark",
    "QueueMode",
    "QueueRules",
    "RuleHook",
    "chain_rules",
    "install_text",
    "problems_in",
    "remove_text",
]

_NEIGHBOUR_DISCOVERY: Final = (133, 134, 135, 136)  # RFC 4861: solicitations and advertisements
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


_OPENING: Final = "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"
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


def _queue_target(rules: QueueRules, first: int) -> str:
    # The kernel's hash of the addresses chooses, so both packets of a connection that opens and
    # the rest of it have the same place in their rows of queues.
    if rules.queues > 1:
        target = f"-j NFQUEUE --queue-balance {first}:{first + rules.queues - 1}"
    else:
        target = f"-j NFQUEUE --queue-num {first}"
    return target + (" --queue-bypass" if rules.fail_open else "")


def _refusals(mark: int, family: int) -> list[str]:
    selected = f"-m mark --mark {mark:#x}/{mark:#x}"
    answer = "icmp-admin-prohibited" if family == 4 else "icmp6-adm-prohibited"
    return [
        f"-p tcp {selected} -j REJECT --reject-with tcp-reset",
        f"{selected} -j REJECT --reject-with {answer}",
    ]


def chain_rules(rules: QueueRules, hook: RuleHook, family: int) -> list[str]:
    """Write the rules of one of our chains, in order."""
    if hook is rules.exempt_hook:
        return _exemptions(rules, hook)
    lines = []
    icmp = "icmp" if family == 4 else "ipv6-icmp"
    if rules.refuse_mark is not None:
        lines += _refusals(rules.refuse_mark, family)
    if not rules.loopback:
        if hook is RuleHook.INPUT:
            lines.append("-i lo -j RETURN")
        elif hook is RuleHook.OUTPUT:
            lines.append("-o lo -j RETURN")
    if family == 6 and rules.neighbour_discovery and hook is not RuleHook.FORWARD:
        lines += [
            f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j ACCEPT" for kind in _NEIGHBOUR_DISCOVERY
        ]
    if rules.mode is QueueMode.NEW:
        # Confirmed is a connection whose first packet passed all hooks. A mark on one whose first
        # packet is on its way says nothing: others may have set it. ICMP errors count as packets
        # of the connection that they are about.
        mark = rules.connection_mark
        values = [mark.accepted] + ([mark.exempt] if rules.exempt_hook else [])
        lines += [
            f"-m conntrack --ctstatus CONFIRMED -m connmark --mark {_mark(value, mark.mask)}"
            " -j ACCEPT"
            for value in values
        ]
    elif rules.follow_connections:
        lines.append("-m conntrack --ctstate NEW")  # no target: the kernel tracks what is matched
    # The answers that we give to rejected clients belong to a connection that never was.
    if rules.refuse_mark is not None and hook is RuleHook.OUTPUT:
        lines += [
            f"-p {icmp} -m conntrack --ctstate RELATED -j ACCEPT",
            "-p tcp -m tcp --tcp-flags RST RST -m conntrack --ctstate RELATED -j ACCEPT",
        ]
    if rules.opening_queue is not None:
        lines.append(f"{_OPENING} {_queue_target(rules, rules.opening_queue)}")
    lines.append(_queue_target(rules, rules.queue))
    return lines


def _exemptions(rules: QueueRules, hook: RuleHook) -> list[str]:
    """Mark the connections that begin where nothing is judged: their answers are let through.

    Only what really begins is marked. A connection that the kernel picks up in the middle may be
    one of the other direction, which is judged.
    """
    mark = rules.connection_mark
    side = "i" if hook is RuleHook.INPUT else "o"
    target = f"-j CONNMARK --set-xmark {_mark(mark.exempt, mark.mask)}"
    return [
        *([] if rules.loopback else [f"-{side} lo -j RETURN"]),
        f"{_OPENING} -m conntrack --ctstate NEW {target}",
        f"! -p tcp -m conntrack --ctstate NEW {target}",
    ]


def _mark(value: int, mask: int) -> str:
    return f"{value:#x}" if mask == _MAX_MARK else f"{value:#x}/{mask:#x}"


def _keeping(rules: QueueRules) -> list[str]:
    """Write the rules of the chain that marks accepted connections.

    The security table comes after the filter table, and nothing leaves our chains there but by
    the decision of the queue or by a mark that its connection has already. So nobody who sets
    packet marks wins anything; what passes unjudged (the loopback interface, answers to rejected
    clients) is left out here.
    """
    bit = rules.accept_mark
    kept = _mark(rules.connection_mark.accepted, rules.connection_mark.mask)
    return [
        *([] if rules.loopback else ["-i lo -j RETURN", "-o lo -j RETURN"]),
        f"-m conntrack --ctstate NEW,ESTABLISHED -j CONNMARK --set-xmark {kept}",
        f"-j MARK --set-xmark {_mark(0, bit)}",
    ]


def _keep_entries(rules: QueueRules, hook: RuleHook) -> list[str]:
    bit = _mark(rules.accept_mark, rules.accept_mark)
    return [
        entry.replace("-j ", f"-m mark --mark {bit} -j ")
        for entry in _entries(rules, hook, rules.keep_chain)
    ]


def _entries(rules: QueueRules, hook: RuleHook, chain: str = "") -> list[str]:
    """Write how packets of a hook enter our chain."""
    chain = chain or rules.chain(hook)
    if not rules.interfaces:
        return [f"-j {chain}"]
    sides = {RuleHook.INPUT: "i", RuleHook.OUTPUT: "o", RuleHook.FORWARD: "io"}[hook]
    return [f"-{side} {one} -j {chain}" for side in sides for one in rules.interfaces]


def install_text(rules: QueueRules, family: int, saved: str = "") -> str:
    """Write the input of ``iptables-restore --noflush`` that puts the rules in place.

    Each table is replaced in one transaction. The chains are made anew and entered first, before
    any rule of others.

    Args:
        rules: The rules.
        family: 4 or 6.
        saved: What ``iptables-save`` printed: entries of an earlier installation are taken out.

    Raises:
        ConfigError: The rules can not be made.
    """
    rules.check()
    hooks = rules.used_hooks
    lines: list[str] = []
    if rules.cgroups or rules.mark_chain in existing_chains(saved, "mangle"):
        chain = rules.mark_chain
        lines += ["*mangle", f":{chain} - [0:0]"]
        lines += [f"-D {jump}" for jump in own_jumps(saved, "mangle", [chain])]
        lines += [
            f'-A {chain} -m cgroup --path "{one.path}"'
            f" -j MARK --set-xmark {one.value:#x}/{one.mask:#x}"
            for one in rules.cgroups
        ]
        lines += [f"-I OUTPUT 1 -j {chain}"] if rules.cgroups else [f"-X {chain}"]
        lines.append("COMMIT")
    lines += _keep_text(rules, saved)
    lines.append("*filter")
    existing = existing_chains(saved, "filter")
    used = {rules.chain(hook) for hook in hooks}
    unused = [one for one in rules.chains["filter"] if one in existing and one not in used]
    lines += [f":{one} - [0:0]" for one in [*(rules.chain(hook) for hook in hooks), *unused]]
    lines += [f"-D {jump}" for jump in own_jumps(saved, "filter", rules.chains["filter"])]
    for hook in hooks:
        chain = rules.chain(hook)
        lines += [f"-A {chain} {line}" for line in chain_rules(rules, hook, family)]
        entries = _entries(rules, hook)
        lines += [
            f"-I {hook.value.upper()} {place} {entry}" for place, entry in enumerate(entries, 1)
        ]
    lines += [f"-X {one}" for one in unused]
    lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def _keep_text(rules: QueueRules, saved: str) -> list[str]:
    chain = rules.keep_chain
    wanted = rules.mode is QueueMode.NEW
    if not wanted and chain not in existing_chains(saved, "security"):
        return []
    lines = ["*security", f":{chain} - [0:0]"]
    lines += [f"-D {jump}" for jump in own_jumps(saved, "security", [chain])]
    if wanted:
        lines += [f"-A {chain} {line}" for line in _keeping(rules)]
        for hook in RuleHook:
            if hook in rules.hooks:
                lines += [
                    f"-I {hook.value.upper()} {place} {entry}"
                    for place, entry in enumerate(_keep_entries(rules, hook), 1)
                ]
    else:
        lines.append(f"-X {chain}")
    lines.append("COMMIT")
    return lines


def remove_text(rules: QueueRules, saved: str) -> str:
    """Write the input of ``iptables-restore --noflush`` that removes what is there of our chains.

    Args:
        rules: The rules; only the names of their chains count.
        saved: What ``iptables-save`` printed.

    Returns:
        An empty text when nothing is there.
    """
    lines: list[str] = []
    for table, chains in rules.chains.items():
        existing = existing_chains(saved, table)
        ours = [chain for chain in chains if chain in existing]
        if not ours:
            continue
        lines.append(f"*{table}")
        lines += [f":{chain} - [0:0]" for chain in ours]
        lines += [f"-D {jump}" for jump in own_jumps(saved, table, ours)]
        lines += [f"-X {chain}" for chain in ours]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n" if lines else ""


def problems_in(rules: QueueRules, family: int, saved: str) -> list[str]:
    """Say how what is in place differs from the rules.

    The kernel's tools write rules in their own spelling, so what counts is compared: chains, how
    many rules each has, where they send packets, by which marks, and that nothing stands before
    our entries.

    Args:
        rules: The rules.
        family: 4 or 6.
        saved: What ``iptables-save`` printed.
    """
    problems = _keep_problems(rules, family, saved)
    existing = existing_chains(saved, "filter")
    found = rules_by_chain(saved, "filter")
    for hook in RuleHook:
        chain, hook_chain = rules.chain(hook), hook.value.upper()
        if hook not in rules.used_hooks:
            if chain in existing:
                problems.append(f"IPv{family}: the chain {chain} is there and should not be")
            continue
        if chain not in existing:
            problems.append(f"IPv{family}: the chain {chain} is missing")
            continue
        wanted = chain_rules(rules, hook, family)
        there = found.get(chain, [])
        if [essence_of(one)[0] for one in there] != [essence_of(one)[0] for one in wanted]:
            problems.append(f"IPv{family}: the rules of {chain} were changed")
        elif [essence_of(one)[1] for one in there] != [essence_of(one)[1] for one in wanted]:
            problems.append(f"IPv{family}: the rules of {chain} have other marks")
        elif [queue_words(one) for one in there] != [queue_words(one) for one in wanted]:
            problems.append(f"IPv{family}: {chain} sends packets to another queue")
        entries = _entries(rules, hook)
        first = found.get(hook_chain, [])[: len(entries)]
        if [essence_of(one)[0] for one in first] != [chain] * len(entries):
            problems.append(f"IPv{family}: {hook_chain} does not enter {chain} first")
    return problems


def _keep_problems(rules: QueueRules, family: int, saved: str) -> list[str]:
    """Say what differs in the table that marks accepted connections."""
    chain = rules.keep_chain
    if rules.mode is QueueMode.ALL:
        there = chain in existing_chains(saved, "security")
        return [f"IPv{family}: the chain {chain} is there and should not be"] if there else []
    found = rules_by_chain(saved, "security")
    if [essence_of(one) for one in found.get(chain, [])] != [
        essence_of(one) for one in _keeping(rules)
    ]:
        return [f"IPv{family}: the rules of {chain} were changed"]
    return [
        f"IPv{family}: {hook.value.upper()} does not enter {chain} first"
        for hook in RuleHook
        if hook in rules.hooks
        and not begins_with(found.get(hook.value.upper(), []), _keep_entries(rules, hook))
    ]
