"""Turns a policy into the form that judges packets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec
import xxhash

from trireme_collector.errors import ConfigError
from trireme_collector.records import ActionType, TagStore
from trireme_datapath.policy._candidates import MemoBudget
from trireme_datapath.policy._prefix_index import PrefixIndex
from trireme_datapath.policy.flow_policy import FlowPolicy, Peer
from trireme_datapath.policy.model import RuleAction
from trireme_datapath.policy.names import UnitNames
from trireme_datapath.policy.rule_table import RuleTable
from trireme_datapath.policy.told import (
    CGROUP_MARK_MASK,
    CGROUP_MARK_SHIFT,
    LAST_CGROUP_MARK,
    marks_overlap,
    overlay,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trireme_datapath.policy.model import AddressSet, Policy, Prefix, Unit, UnitSelector
    from trireme_datapath.policy.told import ToldUnit

__all__ = ["CompiledPolicy", "CompiledUnit", "compile_policy"]

T = TypeVar("T")
# Marks of control groups, as upstream allocates them: upwards from 100 in the top 14 bits.
_FIRST_MARK = 100


class CompiledUnit:
    """A processing unit with its rules ready to judge.

    Attributes:
        id: Who it is, as records say it.
        context_id: The local name.
        namespace: The namespace it belongs to.
        tags: Its own tags.
        selectors: Which packets belong to it.
        ingress: The rules about flows that arrive at it.
        egress: The rules about flows that it begins.
        peer: The same unit as others see it.
        names: What the DNS names in its rules stand for; None without any.
    """

    __slots__ = (
        "context_id",
        "egress",
        "id",
        "ingress",
        "names",
        "namespace",
        "peer",
        "selectors",
        "tags",
    )

    def __init__(
        self,
        unit: Unit,
        *,
        peer: Peer,
        ingress: RuleTable,
        egress: RuleTable,
        names: UnitNames | None = None,
    ) -> None:
        self.id = unit.id
        self.context_id = unit.context_id
        self.namespace = unit.namespace
        self.tags = peer.tags
        self.selectors: UnitSelector = unit.select
        self.ingress = ingress
        self.egress = egress
        self.peer = peer
        self.names = names

    def table(self, direction: Literal["ingress", "egress"]) -> RuleTable:
        """Give the rules of one direction."""
        return self.ingress if direction == "ingress" else self.egress

    def __repr__(self) -> str:
        return f"CompiledUnit({self.id!r})"


class CompiledPolicy:
    """A policy ready to judge.

    Attributes:
        revision: A hash of the policy's content: 16 hexadecimal digits, the same on every machine.
        edition: The revision, and after a ``+`` a hash of the units that were told of, if any were.
        policy: What it was made of.
        told: The units that were told of beside it.
        units: The processing units, in file order.
        unmatched_accepted: Whether packets that belong to no unit pass.
        judge_midstream: Whether TCP connections that began unseen are judged, not rejected.
        observe_only: Whether rejects are reported and let through.
        default: The answer when no rule of a unit takes a flow.
        mark_units: (value, mask, unit) of every mark selector, the most specific mask first.
        cgroup_marks: The mark that the kernel is to set for each control group.
        interface_units: The unit of each selected interface.
        local_unit: The unit that is this host, or this network namespace, itself.
    """

    __slots__ = (
        "_peer_hosts",
        "_peer_index",
        "_unit_hosts",
        "_unit_index",
        "cgroup_marks",
        "default",
        "edition",
        "interface_units",
        "judge_midstream",
        "local_unit",
        "mark_units",
        "observe_only",
        "policy",
        "revision",
        "told",
        "units",
        "unmatched_accepted",
    )

    def __init__(
        self,
        policy: Policy,
        told: Sequence[ToldUnit] = (),
        before: CompiledPolicy | None = None,
    ) -> None:
        """Compile; see `compile_policy`."""
        self.policy = policy
        self.told = tuple(told)
        same = before if before is not None and before.policy == policy else None
        self.revision: str = _revision(policy) if same is None else same.revision
        self.edition = _edition(self.revision, self.told)
        self.unmatched_accepted = policy.unmatched is RuleAction.ACCEPT
        self.judge_midstream = policy.judge_midstream
        self.observe_only = policy.observe_only
        self.default = FlowPolicy(
            action=ActionType.ACCEPT if _accepts(policy) else ActionType.REJECT,
            accepted=_accepts(policy),
            policy_id="default",
            service_id="default",
        )
        policy = overlay(policy, self.told)
        if same is None:
            self.units = _compile_units(policy, self.default)
        else:
            self.default = same.default
            self.units = _with_other_selectors(policy, same.units)
        pairs = list(zip(policy.units, self.units, strict=True))
        by_address = {p: compiled for unit, compiled in pairs for p in unit.select.addresses}
        self._unit_hosts, self._unit_index = _split_hosts(by_address)
        peers = {prefix: compiled.peer for prefix, compiled in by_address.items()}
        for definition in policy.peers:
            peer = Peer(
                id=definition.id, namespace=definition.namespace, tags=TagStore(definition.tags)
            )
            peers.update(dict.fromkeys(definition.addresses, peer))
        self._peer_hosts, self._peer_index = _split_hosts(peers)
        self.interface_units = {
            name: compiled for unit, compiled in pairs for name in unit.select.interfaces
        }
        self.local_unit = next((c for unit, c in pairs if unit.select.local), None)
        self.cgroup_marks = _cgroup_marks(policy)
        self.cgroup_marks.update(group for one in self.told for group in one.cgroups)
        marks = [(m.value, m.mask, c) for unit, c in pairs for m in unit.select.marks]
        marks.extend(
            (self.cgroup_marks[path], CGROUP_MARK_MASK, compiled)
            for unit, compiled in pairs
            for path in unit.select.cgroups
        )
        marks.sort(key=lambda mark: -mark[1].bit_count())
        self.mark_units = tuple(marks)

    def unit_for(self, address: bytes) -> CompiledUnit | None:
        """Find the unit that claims a packed address, by the longest prefix."""
        unit = self._unit_hosts.get(address)
        if unit is None and self._unit_index is not None:
            node = self._unit_index.find(address)
            return None if node is None else node.value
        return unit

    def unit_for_interface(self, name: str) -> CompiledUnit | None:
        """Find the unit that claims a network interface."""
        return self.interface_units.get(name)

    def claim_of_mark(self, mark: int) -> tuple[int, int, CompiledUnit] | None:
        """Find value, mask and unit of the selector that claims a packet mark."""
        for claim in self.mark_units:
            if mark & claim[1] == claim[0]:
                return claim
        return None

    def unit(self, name: str) -> CompiledUnit | None:
        """Find a unit by its id or context."""
        return next((unit for unit in self.units if name in {unit.id, unit.context_id}), None)

    def peer_for(self, address: bytes) -> Peer | None:
        """Find out who has a packed address, by the longest prefix: a unit or a known peer."""
        peer = self._peer_hosts.get(address)
        if peer is None and self._peer_index is not None:
            node = self._peer_index.find(address)
            return None if node is None else node.value
        return peer


def compile_policy(
    policy: Policy, told: Sequence[ToldUnit] = (), *, before: CompiledPolicy | None = None
) -> CompiledPolicy:
    """Turn a policy into the form that judges packets.

    Args:
        policy: A checked policy, from `load_policy`.
        told: Units that were told of, from `settle_told` for this policy.
        before: What is in force. If it was made of the same policy, its rules are taken over, which
            takes time by the number of units only; both then belong to the same thread.

    Returns:
        The compiled policy; it remembers answers, and belongs to one thread.

    Raises:
        ConfigError: There are more control groups than marks.
    """
    return CompiledPolicy(policy, told, before)


def _edition(revision: str, told: tuple[ToldUnit, ...]) -> str:
    if not told:
        return revision
    return f"{revision}+{xxhash.xxh64_hexdigest(msgspec.msgpack.encode(told))}"


def _with_other_selectors(
    policy: Policy, compiled: Iterable[CompiledUnit]
) -> tuple[CompiledUnit, ...]:
    """Give the units of a policy whose rules are compiled; those that are as they were stay."""
    return tuple(
        known
        if (unit.select, unit.tags) == (known.selectors, known.tags.slice)
        else CompiledUnit(
            unit,
            peer=_peer(unit),
            ingress=known.ingress,
            egress=known.egress,
            names=known.names,
        )
        for unit, known in zip(policy.units, compiled, strict=True)
    )


def _peer(unit: Unit) -> Peer:
    return Peer(id=unit.id, namespace=unit.namespace, tags=TagStore(unit.tags))


def _accepts(policy: Policy) -> bool:
    return policy.default is RuleAction.ACCEPT


def _revision(policy: Policy) -> str:
    return xxhash.xxh64_hexdigest(msgspec.msgpack.encode(policy, order="deterministic"))


def _compile_units(policy: Policy, default: FlowPolicy) -> tuple[CompiledUnit, ...]:
    sets = _number_sets(policy)
    index = _index_sets(policy, sets)
    budget = MemoBudget()

    def table(
        unit: Unit, direction: Literal["ingress", "egress"], names: UnitNames | None = None
    ) -> RuleTable:
        return RuleTable(
            unit.rules(direction),
            sets=sets,
            index=index,
            default=default,
            budget=budget,
            observe_only=policy.observe_only,
            names=names,
        )

    def compiled(unit: Unit) -> CompiledUnit:
        names = _names(unit, sets)
        return CompiledUnit(
            unit,
            peer=_peer(unit),
            ingress=table(unit, "ingress"),
            egress=table(unit, "egress", names),
            names=names,
        )

    return tuple(compiled(unit) for unit in policy.units)


def _names(unit: Unit, sets: Mapping[AddressSet, int]) -> UnitNames | None:
    patterns = {
        addresses.dns_name: sets[addresses]
        for rule in unit.egress
        for addresses in rule.addresses
        if addresses.dns_name
    }
    return UnitNames(patterns) if patterns else None


def _number_sets(policy: Policy) -> dict[AddressSet, int]:
    """Number the address sets that rules name; equal ones share a number."""
    sets: dict[AddressSet, int] = {}
    for unit in policy.units:
        for rule in (*unit.ingress, *unit.egress):
            for addresses in rule.addresses:
                sets.setdefault(addresses, len(sets))
    return sets


def _index_sets(policy: Policy, sets: Mapping[AddressSet, int]) -> PrefixIndex[tuple[int, ...]]:
    """Index every prefix once, however many rules name it."""
    members: dict[Prefix, list[int]] = {}
    for addresses, number in sets.items():
        for prefix in policy.prefixes(addresses):
            members.setdefault(prefix, []).append(number)
    # Most prefixes are in one set: they share its tuple.
    shared: dict[tuple[int, ...], tuple[int, ...]] = {}
    values = {p: shared.setdefault(key := tuple(numbers), key) for p, numbers in members.items()}
    return PrefixIndex(values)


def _split_hosts(
    values: Mapping[Prefix, T],
) -> tuple[dict[bytes, T], PrefixIndex[T] | None]:
    """Keep single addresses apart: a dict finds them faster, and they are the longest prefixes."""
    hosts = {prefix.network: value for prefix, value in values.items() if prefix.is_host}
    others = {prefix: value for prefix, value in values.items() if not prefix.is_host}
    return hosts, PrefixIndex(others) if others else None


def _cgroup_marks(policy: Policy) -> dict[str, int]:
    """Allocate a mark to each control group, in file order, around the marks in use."""
    taken = [mark for unit in policy.units for mark in unit.select.marks]
    numbers = iter(range(_FIRST_MARK, LAST_CGROUP_MARK + 1))
    marks: dict[str, int] = {}
    for path in _cgroups(policy):
        number = next(
            (n for n in numbers if not marks_overlap(n << CGROUP_MARK_SHIFT, taken)), None
        )
        if number is None:
            most = LAST_CGROUP_MARK - _FIRST_MARK + 1
            raise ConfigError(
                f"the policy selects too many control groups: no mark is left for {path!r}; "
                f"select at most {most}, less the marks that units select themselves"
            )
        marks[path] = number << CGROUP_MARK_SHIFT
    return marks


def _cgroups(policy: Policy) -> Iterable[str]:
    return (path for unit in policy.units for path in unit.select.cgroups)
