"""What ``iptables-save`` wrote, read as far as our rules are concerned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "begins_with",
    "essence_of",
    "existing_chains",
    "own_jumps",
    "own_rules",
    "queue_words",
    "rules_by_chain",
]

_MARK_WORDS: Final = ("--mark", "--set-xmark")


def own_jumps(saved: str, table: str, chains: Iterable[str]) -> list[str]:
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


def own_rules(saved: str, chains: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Give the rules in our chains and those that jump into them, by the chain that they are in.

    Args:
        saved: What ``iptables-save`` printed.
        chains: Our chains by table.
    """
    found: dict[str, list[str]] = {}
    for table, names in chains.items():
        ours = set(names)
        for chain, rules in rules_by_chain(saved, table).items():
            own = [f"{table} {one}" for one in rules if chain in ours or _target(one) in ours]
            if own:
                found.setdefault(chain, []).extend(own)
    return found


def existing_chains(saved: str, table: str) -> set[str]:
    """Name the chains of a table."""
    current = ""
    chains = set()
    for line in saved.splitlines():
        if line.startswith("*"):
            current = line[1:].strip()
        elif current == table and line.startswith(":"):
            chains.add(line[1:].split()[0])
    return chains


def rules_by_chain(saved: str, table: str) -> dict[str, list[str]]:
    """Give the rules of a table by chain, as ``iptables-save`` wrote them."""
    found: dict[str, list[str]] = {}
    current = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            current = line[1:].strip()
        elif current == table and line.startswith("-A "):
            chain, _, rule = line[3:].partition(" ")
            found.setdefault(chain, []).append(rule)
    return found


def _target(rule: str) -> str:
    words = rule.split()
    return words[words.index("-j") + 1] if "-j" in words[:-1] else ""


def _mark_word(rule: str) -> str:
    words = rule.split()
    return next((words[words.index(one) + 1] for one in _MARK_WORDS if one in words[:-1]), "")


def queue_words(rule: str) -> list[str]:
    """Give what a rule says about its queue; nothing when it has none."""
    words = rule.split()
    return words[words.index("NFQUEUE") :] if "NFQUEUE" in words else []


def essence_of(rule: str) -> tuple[str, str]:
    """Give what a rule does: its target, and the mark that it looks for or sets."""
    return _target(rule), _mark_word(rule)


def begins_with(there: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether rules begin with others, as far as what they do is concerned."""
    return [essence_of(one) for one in there[: len(wanted)]] == [essence_of(one) for one in wanted]
