"""Rules as ``iptables-restore`` reads them."""

from __future__ import annotations

from typing import Final

from trireme_datapath.kernel.rules._description import QueueMode, QueueRules, RuleHook
from trireme_datapath.kernel.rules._saved_rules import existing_chains, own_jumps

__all__ = ["chain_rules", "entries", "install_text", "keep_entries", "keeping", "remove_text"]

_NEIGHBOUR_DISCOVERY: Final = (133, 134, 135, 136)  # RFC 4861: solicitations and advertisements
_OPENING: Final = "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"
_ALL_BITS: Final = 0xFFFFFFFF


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
    return f"{value:#x}" if mask == _ALL_BITS else f"{value:#x}/{mask:#x}"


def keeping(rules: QueueRules) -> list[str]:
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


def keep_entries(rules: QueueRules, hook: RuleHook) -> list[str]:
    bit = _mark(rules.accept_mark, rules.accept_mark)
    return [
        entry.replace("-j ", f"-m mark --mark {bit} -j ")
        for entry in entries(rules, hook, rules.keep_chain)
    ]


def entries(rules: QueueRules, hook: RuleHook, chain: str = "") -> list[str]:
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
        lines += [
            f"-I {hook.value.upper()} {place} {entry}"
            for place, entry in enumerate(entries(rules, hook), 1)
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
        lines += [f"-A {chain} {line}" for line in keeping(rules)]
        for hook in RuleHook:
            if hook in rules.hooks:
                lines += [
                    f"-I {hook.value.upper()} {place} {entry}"
                    for place, entry in enumerate(keep_entries(rules, hook), 1)
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
