"""What is in place, compared with what should be."""

from __future__ import annotations

from trireme_datapath.kernel.rules._description import QueueMode, QueueRules, RuleHook
from trireme_datapath.kernel.rules._saved_rules import (
    begins_with,
    essence_of,
    existing_chains,
    queue_words,
    rules_by_chain,
)
from trireme_datapath.kernel.rules._text import chain_rules, entries, keep_entries, keeping

__all__ = ["problems_in"]


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
        wanted_entries = entries(rules, hook)
        first = found.get(hook_chain, [])[: len(wanted_entries)]
        if [essence_of(one)[0] for one in first] != [chain] * len(wanted_entries):
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
        essence_of(one) for one in keeping(rules)
    ]:
        return [f"IPv{family}: the rules of {chain} were changed"]
    return [
        f"IPv{family}: {hook.value.upper()} does not enter {chain} first"
        for hook in RuleHook
        if hook in rules.hooks
        and not begins_with(found.get(hook.value.upper(), []), keep_entries(rules, hook))
    ]
