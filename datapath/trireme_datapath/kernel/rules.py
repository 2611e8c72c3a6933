"""The kernel rules that bring packets to a queue, as a description and as text.

Everything here is pure; `trireme_datapath.kernel.install` puts it in place. The rules stand in
chains of our own in the ``filter`` table, entered from the first rule of each hook, so one
transaction replaces them and no packet passes in between.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    """What begins a connection or belongs to none; accepted connections stay in the kernel."""
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
        if not self.hooks:
            problems.append("hooks: name at least one")
        problems += [
            f"interface {one!r}: not a name of an interface"
            for one in self.interfaces
            if not _INTERFACE.fullmatch(one) or one.startswith("-")
        ]
        if self.refuse_mark is not None and not 0 < self.refuse_mark <= _MAX_MARK:
            problems.append(f"refuse mark {self.refuse_mark:#x}: not 1 to 0xffffffff")
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
    def mark_chain(self) -> str:
        """Our chain that sets marks, in the mangle table."""
        return f"{self.prefix}-MARK"

    @property
    def chains(self) -> dict[str, tuple[str, ...]]:
        """Every chain that may be ours, by table: also those that these rules do not use."""
        return {
            "filter": tuple(self.chain(hook) for hook in RuleHook),
            "mangle": (self.mark_chain,),
        }


def _queue_target(rules: QueueRules) -> str:
    if rules.queues > 1:
        target = f"-j NFQUEUE --queue-balance {rules.queue}:{rules.queue + rules.queues - 1}"
    else:
        target = f"-j NFQUEUE --queue-num {rules.queue}"
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
        lines.append("-m conntrack --ctstate ESTABLISHED -j ACCEPT")
    # Related are ICMP errors and the resets of our own refusals. Connections that a helper of the
    # kernel expects are related as well, but they are connections: they are judged.
    if rules.mode is QueueMode.NEW or (rules.refuse_mark is not None and hook is RuleHook.OUTPUT):
        lines += [
            f"-p {icmp} -m conntrack --ctstate RELATED -j ACCEPT",
            "-p tcp -m tcp --tcp-flags RST RST -m conntrack --ctstate RELATED -j ACCEPT",
        ]
    lines.append(_queue_target(rules))
    return lines


def _entries(rules: QueueRules, hook: RuleHook) -> list[str]:
    """Write how packets of a hook enter our chain."""
    chain = rules.chain(hook)
    if not rules.interfaces:
        return [f"-j {chain}"]
    sides = {RuleHook.INPUT: "i", RuleHook.OUTPUT: "o", RuleHook.FORWARD: "io"}[hook]
    return [f"-{side} {one} -j {chain}" for side in sides for one in rules.interfaces]


def _own_jumps(saved: str, table: str, chains: Iterable[str]) -> list[str]:
    """Find the rules outside our chains that jump into them, as ``iptables-save`` wrote them."""
    ours = set(chains)
    jumps = []
    current = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            current = line[1:].strip()
        elif current == table and line.startswith("-A "):
            words = line.split()
            target = words[words.index("-j") + 1] if "-j" in words[:-1] else ""
            if target in ours and words[1] not in ours:
                jumps.append(line[3:])
    return jumps


def _existing_chains(saved: str, table: str) -> set[str]:
    current = ""
    chains = set()
    for line in saved.splitlines():
        if line.startswith("*"):
            current = line[1:].strip()
        elif current == table and line.startswith(":"):
            chains.add(line[1:].split()[0])
    return chains


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
    hooks = [hook for hook in RuleHook if hook in rules.hooks]
    lines: list[str] = []
    if rules.cgroups or rules.mark_chain in _existing_chains(saved, "mangle"):
        chain = rules.mark_chain
        lines += ["*mangle", f":{chain} - [0:0]"]
        lines += [f"-D {jump}" for jump in _own_jumps(saved, "mangle", [chain])]
        lines += [
            f'-A {chain} -m cgroup --path "{one.path}"'
            f" -j MARK --set-xmark {one.value:#x}/{one.mask:#x}"
            for one in rules.cgroups
        ]
        lines += [f"-I OUTPUT 1 -j {chain}"] if rules.cgroups else [f"-X {chain}"]
        lines.append("COMMIT")
    lines.append("*filter")
    existing = _existing_chains(saved, "filter")
    used = {rules.chain(hook) for hook in hooks}
    unused = [one for one in rules.chains["filter"] if one in existing and one not in used]
    lines += [f":{one} - [0:0]" for one in [*(rules.chain(hook) for hook in hooks), *unused]]
    lines += [f"-D {jump}" for jump in _own_jumps(saved, "filter", rules.chains["filter"])]
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
        existing = _existing_chains(saved, table)
        ours = [chain for chain in chains if chain in existing]
        if not ours:
            continue
        lines.append(f"*{table}")
        lines += [f":{chain} - [0:0]" for chain in ours]
        lines += [f"-D {jump}" for jump in _own_jumps(saved, table, ours)]
        lines += [f"-X {chain}" for chain in ours]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n" if lines else ""


def problems_in(rules: QueueRules, family: int, saved: str) -> list[str]:
    """Say how what is in place differs from the rules.

    The kernel's tools write rules in their own spelling, so what counts is compared: chains, how
    many rules each has, where they send packets, and that nothing stands before our entries.

    Args:
        rules: The rules.
        family: 4 or 6.
        saved: What ``iptables-save`` printed.
    """
    problems = []
    existing = _existing_chains(saved, "filter")
    found: dict[str, list[str]] = {}
    current = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            current = line[1:].strip()
        elif current == "filter" and line.startswith("-A "):
            chain, _, rule = line[3:].partition(" ")
            found.setdefault(chain, []).append(rule)
    for hook in RuleHook:
        chain, hook_chain = rules.chain(hook), hook.value.upper()
        if hook not in rules.hooks:
            if chain in existing:
                problems.append(f"IPv{family}: the chain {chain} is there and should not be")
            continue
        if chain not in existing:
            problems.append(f"IPv{family}: the chain {chain} is missing")
            continue
        wanted = chain_rules(rules, hook, family)
        there = found.get(chain, [])
        if [_target(one) for one in there] != [_target(one) for one in wanted]:
            problems.append(f"IPv{family}: the rules of {chain} were changed")
        elif _queue_words(there[-1]) != _queue_words(wanted[-1]):
            problems.append(f"IPv{family}: {chain} sends packets to another queue")
        entries = _entries(rules, hook)
        first = found.get(hook_chain, [])[: len(entries)]
        if [_target(one) for one in first] != [chain] * len(entries):
            problems.append(f"IPv{family}: {hook_chain} does not enter {chain} first")
    return problems


def _target(rule: str) -> str:
    words = rule.split()
    return words[words.index("-j") + 1] if "-j" in words[:-1] else ""


def _queue_words(rule: str) -> list[str]:
    words = rule.split()
    return words[words.index("NFQUEUE") :] if "NFQUEUE" in words else []
