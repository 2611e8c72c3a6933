"""Which rules the tags of a peer satisfy.

Each clause is judged by itself, and a rule holds if all its clauses hold. Tags without
a value, and texts that are no ``key=value``, do not exist for clauses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from trireme_datapath.policy.model import ClauseOperator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trireme_datapath.policy._buckets import Entry
    from trireme_datapath.policy.model import Rule, TagClause

    TagValues: TypeAlias = Mapping[str, frozenset[str]]

__all__ = ["TaggedRule", "TaggedRules", "clause_holds", "tag_values"]


def tag_values(tags: Iterable[str]) -> TagValues:
    """Gather the values of each key."""
    values: dict[str, set[str]] = {}
    for tag in tags:
        key, _, value = tag.partition("=")
        if key and value:
            values.setdefault(key, set()).add(value)
    return {key: frozenset(found) for key, found in values.items()}


def clause_holds(clause: TagClause, tags: TagValues) -> bool:
    """Whether tags satisfy one clause."""
    found = tags.get(clause.key)
    match clause.operator:
        case ClauseOperator.KEY_EXISTS:
            return found is not None
        case ClauseOperator.KEY_NOT_EXISTS:
            return found is None
        case ClauseOperator.EQUAL:
            return found is not None and any(_listed(value, clause.values) for value in found)
        case ClauseOperator.NOT_EQUAL:
            return found is not None and not any(_listed(value, clause.values) for value in found)


def _listed(value: str, patterns: Sequence[str]) -> bool:
    return any(
        value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern
        for pattern in patterns
    )


class TaggedRule:
    """A rule with clauses, and its entry for each address set, or one for all addresses."""

    __slots__ = ("by_set", "everywhere", "rule")

    def __init__(self, rule: Rule, everywhere: Entry | None, by_set: Mapping[int, Entry]) -> None:
        self.rule = rule
        self.everywhere = everywhere
        self.by_set = by_set

    def entry(self, sets: frozenset[int]) -> Entry | None:
        """Give the entry for an address that lies in the given sets, if there is one."""
        if self.everywhere is not None:
            return self.everywhere
        return next((entry for number, entry in self.by_set.items() if number in sets), None)


class TaggedRules:
    """The rules with clauses of one direction, indexed by a tag that they need.

    Attributes:
        rules: All of them, in file order.
    """

    __slots__ = ("_by_key", "_by_tag", "_unindexed", "rules")

    def __init__(self, rules: Sequence[TaggedRule]) -> None:
        """Index each rule by the most selective clause that needs a tag to be there."""
        self.rules = rules
        self._by_tag: dict[tuple[str, str], list[int]] = {}
        self._by_key: dict[str, list[int]] = {}
        self._unindexed: list[int] = []
        for number, tagged in enumerate(rules):
            self._add(number, tagged.rule.peer_tags)

    def _add(self, number: int, clauses: Sequence[TagClause]) -> None:
        needed = [c for c in clauses if c.operator is not ClauseOperator.KEY_NOT_EXISTS]
        exact = [
            c
            for c in needed
            if c.operator is ClauseOperator.EQUAL and not any(v.endswith("*") for v in c.values)
        ]
        if exact:
            clause = min(exact, key=lambda c: len(c.values))
            for value in clause.values:
                self._by_tag.setdefault((clause.key, value), []).append(number)
        elif needed:
            self._by_key.setdefault(needed[0].key, []).append(number)
        else:
            self._unindexed.append(number)

    def match(self, tags: Iterable[str]) -> tuple[TaggedRule, ...]:
        """Give the rules that tags satisfy, in file order."""
        values = tag_values(tags)
        candidates = set(self._unindexed)
        for key, found in values.items():
            candidates.update(self._by_key.get(key, ()))
            for value in found:
                candidates.update(self._by_tag.get((key, value), ()))
        return tuple(
            self.rules[number]
            for number in sorted(candidates)
            if all(clause_holds(clause, values) for clause in self.rules[number].rule.peer_tags)
        )
