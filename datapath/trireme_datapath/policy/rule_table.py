"""The rules of one unit in one direction, and the decision.

The tables are searched in this order; the first rule that takes the flow wins its table::

    observe-continue reject    only reported, the search goes on
    reject                     decides
    observe-continue accept    only reported, if nothing is yet; the search goes on
    accept                     decides
    observe-apply              decides, as nothing else did

Inside a table, rules that ask for tags of the peer come first, in file order. Then the
prefixes that contain the peer's address are tried from the longest to the shortest, and the
rules of one prefix in file order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

from trireme_collector.records import ActionType, ObserveActionType
from trireme_datapath.policy._buckets import Bucket, Entry, Rank
from trireme_datapath.policy._candidates import Candidates
from trireme_datapath.policy._tags import TaggedRule, TaggedRules
from trireme_datapath.policy.flow_policy import FlowPolicy, Match
from trireme_datapath.policy.model import Rule, RuleAction, RuleObservation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trireme_datapath.policy._candidates import MemoBudget
    from trireme_datapath.policy._prefix_index import PrefixIndex, PrefixNode
    from trireme_datapath.policy.flow_policy import Peer
    from trireme_datapath.policy.model import AddressSet
    from trireme_datapath.policy.names import UnitNames

__all__ = ["OBSERVE_ONLY", "RuleTable", "flow_policy", "rank_of"]

K = TypeVar("K")
V = TypeVar("V")
Node: TypeAlias = "PrefixNode[tuple[int, ...]]"

_RANKS = len(Rank)
# The bounds keep a flood of new addresses, peers and ports from growing the process.
_MAX_NODES = 65_536
_MAX_TAG_SETS = 4_096
_ACTIONS = {RuleAction.ACCEPT: ActionType.ACCEPT, RuleAction.REJECT: ActionType.REJECT}
_OBSERVATIONS = {
    RuleObservation.NONE: ObserveActionType.NONE,
    RuleObservation.CONTINUE: ObserveActionType.CONTINUE,
    RuleObservation.APPLY: ObserveActionType.APPLY,
}
OBSERVE_ONLY = FlowPolicy(
    action=ActionType.ACCEPT, accepted=True, policy_id="observe-only", service_id="default"
)


def flow_policy(rule: Rule, network: str = "") -> FlowPolicy:
    """Say what a rule does with a flow that reaches it through a network."""
    return FlowPolicy(
        action=_ACTIONS[rule.action],
        accepted=rule.action is RuleAction.ACCEPT,
        policy_id=rule.id,
        service_id=rule.service or network,
        observe_action=_OBSERVATIONS[rule.observe],
        log=rule.log,
    )


def rank_of(rule: Rule) -> Rank:
    """Say to which table a rule belongs."""
    if rule.observe is RuleObservation.APPLY:
        return Rank.OBSERVED_APPLY
    rejects = rule.action is RuleAction.REJECT
    if rule.observe is RuleObservation.CONTINUE:
        return Rank.OBSERVED_REJECT if rejects else Rank.OBSERVED_ACCEPT
    return Rank.REJECT if rejects else Rank.ACCEPT


class RuleTable:
    """The rules of one unit in one direction.

    Attributes:
        rules: The rules as the policy has them, in file order.
        default: The answer when no rule takes a flow.
        budget: What bounds the remembered answers.
    """

    __slots__ = (
        "_by_learned",
        "_by_node",
        "_by_node_and_peer",
        "_by_signature",
        "_entries",
        "_find_node",
        "_groups",
        "_learned",
        "_matches",
        "_observe_only",
        "_tag_groups",
        "_tag_matches",
        "_tagged",
        "budget",
        "default",
        "rules",
    )

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        sets: Mapping[AddressSet, int],
        index: PrefixIndex[tuple[int, ...]],
        default: FlowPolicy,
        budget: MemoBudget,
        observe_only: bool = False,
        names: UnitNames | None = None,
    ) -> None:
        """Sort the rules into their tables.

        Args:
            rules: The rules in file order.
            sets: The number of each address set of the policy.
            index: The numbers of the sets that hold each prefix of the policy.
            default: The answer when no rule takes a flow.
            budget: What bounds the remembered answers.
            observe_only: Whether rejects are reported and let through.
            names: What the DNS names in the rules stand for.
        """
        self.rules = tuple(rules)
        self.default = default
        self.budget = budget
        self._observe_only = observe_only
        self._find_node = index.find
        # By set number: the entries of rules without clauses that name the set.
        self._entries: dict[int, list[Entry]] = {}
        tagged: list[TaggedRule] = []
        number = 0
        for place, rule in enumerate(rules):
            by_set: dict[int, Entry] = {}
            for addresses in rule.addresses or (None,):
                entry = Entry(
                    number=number,
                    index=place,
                    rank=rank_of(rule),
                    rule=rule,
                    policy=flow_policy(rule, _external_id(addresses)),
                )
                number += 1
                if addresses is None:
                    tagged.append(TaggedRule(rule, entry, {}))
                else:
                    by_set[sets[addresses]] = entry
            if rule.addresses and rule.peer_tags:
                tagged.append(TaggedRule(rule, None, by_set))
            elif not rule.peer_tags:
                for set_number, entry in by_set.items():
                    self._entries.setdefault(set_number, []).append(entry)
        self._tagged = TaggedRules(tagged)
        self._learned = None if names is None else names.sets
        self._by_learned: dict[tuple[Node | None, tuple[int, ...], Peer | None], Candidates] = {}
        self._by_node: dict[Node | None, Candidates] = {}
        self._by_node_and_peer: dict[tuple[Node | None, Peer], Candidates] = {}
        self._by_signature: dict[tuple[object, ...], Candidates] = {}
        self._groups: dict[tuple[int, ...], tuple[Bucket | None, ...]] = {}
        self._tag_groups: dict[tuple[int, ...], tuple[Bucket | None, ...]] = {}
        self._tag_matches: dict[tuple[str, ...], tuple[TaggedRule, ...]] = {}
        self._matches: dict[tuple[int, int], Match] = {}

    def candidates(self, peer_address: bytes, peer: Peer | None = None) -> Candidates:
        """Find the rules that can apply to a peer.

        Args:
            peer_address: The packed address of the other side.
            peer: Who that is, if known; rules that ask for tags apply to known peers only.

        Returns:
            The rules, ready to judge any protocol and port.
        """
        node = self._find_node(peer_address)
        if self._learned is not None:
            learned = self._learned.get(peer_address)
            if learned is not None:
                return self._candidates_by_name(node, learned, peer)
        if peer is None or not self._tagged.rules:
            found = self._by_node.get(node)
            if found is None:
                found = self._build(node, ())
                _keep(self._by_node, node, found, _MAX_NODES)
            return found
        key = (node, peer)
        found = self._by_node_and_peer.get(key)
        if found is None:
            found = self._build(node, self._tagged_entries(node, peer))
            _keep(self._by_node_and_peer, key, found, _MAX_NODES)
        return found

    def _candidates_by_name(
        self, node: Node | None, learned: tuple[int, ...], peer: Peer | None
    ) -> Candidates:
        """Find the rules for an address that names stand for: it counts as written in them."""
        key = (node, learned, peer)
        found = self._by_learned.get(key)
        if found is None:
            tagged: tuple[Entry, ...] = ()
            if peer is not None and self._tagged.rules:
                tagged = self._tagged_entries(node, peer, learned)
            found = self._build(node, tagged, learned)
            _keep(self._by_learned, key, found, _MAX_NODES)
        return found

    def match(self, report: Entry | None, packet: Entry | None) -> Match:
        """Make the answer out of the entries that report and decide; None is the default."""
        key = (-1 if report is None else report.number, -1 if packet is None else packet.number)
        found = self._matches.get(key)
        if found is None:
            found = self._make_match(report, packet)
            _keep(self._matches, key, found, _MAX_NODES)
        return found

    def _make_match(self, report: Entry | None, packet: Entry | None) -> Match:
        done = packet.policy if packet is not None else self.default
        if self._observe_only and not done.accepted:
            # What would have been done is what matters in a dry run: it takes the report.
            action, observed = ActionType.REJECT, ObserveActionType.CONTINUE
            told = FlowPolicy(
                action=action,
                policy_id=done.policy_id,
                service_id=done.service_id,
                observe_action=observed,
                log=done.log,
            )
            return Match(report=told, packet=OBSERVE_ONLY, report_rule=packet, packet_rule=None)
        told = report.policy if report is not None else self.default
        return Match(report=told, packet=done, report_rule=report, packet_rule=packet)

    def _tagged_entries(
        self, node: Node | None, peer: Peer, learned: tuple[int, ...] = ()
    ) -> tuple[Entry, ...]:
        tags = peer.tags.slice
        rules = self._tag_matches.get(tags)
        if rules is None:
            rules = self._tagged.match(tags)
            _keep(self._tag_matches, tags, rules, _MAX_TAG_SETS)
        if not rules:
            return ()
        sets: set[int] = set(learned)
        while node is not None:
            sets.update(node.value)
            node = node.parent
        frozen = frozenset(sets)
        entries = (rule.entry(frozen) for rule in rules)
        return tuple(entry for entry in entries if entry is not None)

    def _build(
        self, node: Node | None, tagged: tuple[Entry, ...], learned: tuple[int, ...] = ()
    ) -> Candidates:
        """Line up the buckets of a node and of everything around it."""
        chain: list[tuple[int, ...]] = []
        if learned:
            own: tuple[int, ...] = ()
            if node is not None and node.prefix.is_host:
                own, node = node.value, node.parent
            sets = tuple(number for number in (*own, *learned) if number in self._entries)
            if sets:
                chain.append(sets)
        while node is not None:
            sets = tuple(number for number in node.value if number in self._entries)
            if sets:
                chain.append(sets)
            node = node.parent
        numbers = tuple(entry.number for entry in tagged)
        signature = (numbers, *chain)
        found = self._by_signature.get(signature)
        if found is None:
            groups = [self._tag_group(numbers, tagged)] if tagged else []
            groups.extend(self._group(sets) for sets in chain)
            buckets = tuple(
                tuple(bucket for group in groups if (bucket := group[rank]) is not None)
                for rank in range(_RANKS)
            )
            found = Candidates(self, buckets)
            _keep(self._by_signature, signature, found, _MAX_NODES)
        return found

    def _group(self, sets: tuple[int, ...]) -> tuple[Bucket | None, ...]:
        """Give the buckets of the rules that name any of these sets."""
        group = self._groups.get(sets)
        if group is None:
            # A rule that names two of the sets counts once, through the set it names first.
            first: dict[int, Entry] = {}
            for entry in sorted((e for s in sets for e in self._entries[s]), key=_number):
                first.setdefault(entry.index, entry)
            group = self._groups[sets] = _by_rank(first.values())
        return group

    def _tag_group(
        self, numbers: tuple[int, ...], entries: tuple[Entry, ...]
    ) -> tuple[Bucket | None, ...]:
        group = self._tag_groups.get(numbers)
        if group is None:
            group = _by_rank(entries)
            _keep(self._tag_groups, numbers, group, _MAX_TAG_SETS)
        return group


def _external_id(addresses: AddressSet | None) -> str:
    """Name what a rule was reached through, for the id of the external endpoint."""
    return "" if addresses is None else addresses.network or addresses.dns_name


def _number(entry: Entry) -> int:
    return entry.number


def _by_rank(entries: Iterable[Entry]) -> tuple[Bucket | None, ...]:
    ranks: list[list[Entry]] = [[] for _ in range(_RANKS)]
    for entry in entries:
        ranks[entry.rank].append(entry)
    return tuple(Bucket(found) if found else None for found in ranks)


def _keep(memo: dict[K, V], key: K, value: V, limit: int) -> None:
    """Remember a value; forget all when there are too many, as that costs least on average."""
    if len(memo) >= limit:
        memo.clear()
    memo[key] = value
