"""Turns the rules of a network policy into rules about addresses, tags and ports."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec import UnsetType

from trireme_collector.strict_toml import quote
from trireme_datapath.policy import spellings as spell
from trireme_datapath.policy._kubernetes_objects import NAME_LABEL
from trireme_datapath.policy.model import (
    ANY_ADDRESS,
    AddressSet,
    ClauseOperator,
    PortRange,
    Prefix,
    Rule,
    RuleAction,
    TagClause,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from trireme_collector.strict_toml import Document, KeyPath
    from trireme_datapath.policy._kubernetes_objects import NetworkPolicy, Pod
    from trireme_datapath.policy._kubernetes_types import (
        EgressSpec,
        IngressSpec,
        IpBlockSpec,
        PeerSpec,
        PortSpec,
        RequirementSpec,
        SelectorSpec,
    )

__all__ = ["ACCEPT_ANY", "PolicyRules", "RuleForm", "read_rules", "selects", "subtract", "tags_of"]

NAMESPACE_TAG: Final = "@namespace"
"""The key of the tag with a pod's namespace; those of its labels have a dot and the key behind."""
_EMPTY: Final = '""'  # a tag has a value, a label may be empty; quotes stand in no label
_MAX_ALTERNATIVES: Final = 64
_MAX_PREFIXES: Final = 16_384
_PROTOCOLS: Final = {"TCP": 6, "UDP": 17, "SCTP": 132}
ACCEPT_ANY: Final = (AddressSet(prefixes=ANY_ADDRESS),)


class NamedPort(NamedTuple):
    """A port that is known by name until a pod says its number."""

    protocol: str
    name: str


class PeerForm(NamedTuple):
    """One way to be the other side.

    Attributes:
        prefixes: Where it is; None for anywhere.
        clauses: What its tags must satisfy.
    """

    prefixes: tuple[Prefix, ...] | None
    clauses: tuple[TagClause, ...] = ()


class RuleForm(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of a policy, its numbers of ports known and its named ones not yet.

    Attributes:
        peers: The other sides; any of them will do.
        any_port: Whether every port and protocol will do.
        ports: The ranges of each protocol, none of them for all its ports.
        named: The ports known by name.
    """

    id: str
    peers: tuple[PeerForm, ...]
    any_port: bool
    ports: dict[int, tuple[PortRange, ...]]
    named: tuple[NamedPort, ...]

    def numbered_rules(self, ports: Mapping[NamedPort, Sequence[int]]) -> Iterator[Rule]:
        """Give the rules, with the numbers of the named ports; for what calls this pod."""
        ranges = {number: list(found) for number, found in self.ports.items()}
        for port in self.named:
            protocol = _PROTOCOLS[port.protocol]
            numbers = ports.get(port, ())
            if not numbers or (protocol in self.ports and not self.ports[protocol]):
                continue  # nothing has that name, or all ports of the protocol are open anyway
            single = (PortRange(first=number, last=number) for number in numbers)
            ranges.setdefault(protocol, []).extend(single)
        for peer in self.peers:
            if self.any_port:
                yield self._rule(peer)
            for protocol, found in ranges.items():
                yield self._rule(peer, protocol, tuple(dict.fromkeys(found)))

    def calling_rules(self, pods: Mapping[NamedPort, Mapping[int, set[Prefix]]]) -> Iterator[Rule]:
        """Give the rules for what calls others, whose pods say which numbers the names have."""
        yield from self.numbered_rules({})
        for port, peer in itertools.product(self.named, self.peers):
            protocol = _PROTOCOLS[port.protocol]
            for number, owners in pods.get(port, {}).items():
                prefixes = tuple(sorted(_inside(owners, peer.prefixes), key=_order))
                if prefixes:
                    form = PeerForm(prefixes, peer.clauses)
                    yield self._rule(form, protocol, (PortRange(first=number, last=number),))

    def _rule(
        self, peer: PeerForm, protocol: int | None = None, ports: tuple[PortRange, ...] = ()
    ) -> Rule:
        addresses: tuple[AddressSet, ...] = ()
        if peer.prefixes is not None:
            addresses = (AddressSet(prefixes=peer.prefixes),)
        elif not peer.clauses:
            addresses = ACCEPT_ANY
        return Rule(
            id=self.id,
            action=RuleAction.ACCEPT,
            addresses=addresses,
            peer_tags=peer.clauses,
            protocols=() if protocol is None else (protocol,),
            ports=ports,
        )


class PolicyRules(NamedTuple):
    """The rules of a policy, and the directions in which it isolates; None where it does not."""

    ingress: tuple[RuleForm, ...] | None
    egress: tuple[RuleForm, ...] | None


def tags_of(pod: Pod, namespace_labels: Mapping[str, str]) -> tuple[str, ...]:
    """Give the tags of a pod: its labels, its namespace and the labels of that."""
    tags = {key: value or _EMPTY for key, value in pod.labels.items()}
    tags[NAMESPACE_TAG] = pod.namespace
    for key, value in {NAME_LABEL: pod.namespace, **namespace_labels}.items():
        tags[f"{NAMESPACE_TAG}.{key}"] = value or _EMPTY
    return tuple(f"{key}={value}" for key, value in tags.items())


def selects(selector: SelectorSpec, labels: Mapping[str, str]) -> bool:
    """Whether a selector selects what has these labels."""
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    return all(_holds(one, labels) for one in selector.match_expressions)


def _holds(requirement: RequirementSpec, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case _:
            return value is None


def read_rules(document: Document, policy: NetworkPolicy) -> PolicyRules:
    """Turn the rules of a policy into forms, noting what no policy can mean."""
    reader = _RuleReader(document, policy)
    spec = policy.spec
    reader.check_selector(spec.pod_selector, (*policy.path, "podSelector"))
    ingress = reader.rules(spec.ingress, "ingress", "from")
    egress = reader.rules(spec.egress, "egress", "to")
    types = set(spec.policy_types) or ({"Ingress", "Egress"} if spec.egress else {"Ingress"})
    return PolicyRules(
        ingress=ingress if "Ingress" in types else None,
        egress=egress if "Egress" in types else None,
    )


class _RuleReader:
    def __init__(self, document: Document, policy: NetworkPolicy) -> None:
        self._document = document
        self._policy = policy

    def rules(
        self, specs: Sequence[IngressSpec | EgressSpec], direction: str, key: str
    ) -> tuple[RuleForm, ...]:
        forms: list[RuleForm] = []
        for index, spec in enumerate(specs):
            path: KeyPath = (*self._policy.path, direction, index)
            ports, named = self._ports(spec.ports, (*path, "ports"))
            peers: list[PeerForm] = [] if spec.peers else [PeerForm(None)]
            for number, peer in enumerate(spec.peers):
                peers += self._peer(peer, (*path, key, number))
            form = RuleForm(
                id=f"{self._policy.namespace}/{self._policy.name}[{index}]",
                peers=tuple(peers),
                any_port=not spec.ports,
                ports=ports,
                named=named,
            )
            forms.append(form)
        return tuple(forms)

    def _ports(
        self, specs: Sequence[PortSpec], path: KeyPath
    ) -> tuple[dict[int, tuple[PortRange, ...]], tuple[NamedPort, ...]]:
        ranges: dict[int, list[PortRange]] = {}
        whole: set[int] = set()
        named: list[NamedPort] = []
        for index, spec in enumerate(specs):
            place = (*path, index, "endPort")
            port, end = spec.port, spec.end_port
            protocol = _PROTOCOLS[spec.protocol]
            if not isinstance(end, UnsetType) and not isinstance(port, int):
                expected = "it only beside the number of a port"
                self._document.add_problem(place, expected=expected, of_key=True)
            if isinstance(port, UnsetType):
                whole.add(protocol)
            elif isinstance(port, str):
                named.append(NamedPort(spec.protocol, port))
            else:
                last = port if isinstance(end, UnsetType) else end
                if last < port:
                    self._document.add_problem(place, expected=f"a port from {port} to 65535")
                    continue
                ranges.setdefault(protocol, []).append(PortRange(first=port, last=last))
        ports = {number: tuple(dict.fromkeys(found)) for number, found in ranges.items()}
        ports.update(dict.fromkeys(whole, ()))
        return ports, tuple(dict.fromkeys(named))

    def _peer(self, peer: PeerSpec, path: KeyPath) -> Iterator[PeerForm]:
        block, pods, namespaces = peer.ip_block, peer.pod_selector, peer.namespace_selector
        if not isinstance(block, UnsetType):
            if not (isinstance(pods, UnsetType) and isinstance(namespaces, UnsetType)):
                expected = "ipBlock alone, or selectors without it"
                self._document.add_problem((*path, "ipBlock"), expected=expected, of_key=True)
            prefixes = self._block(block, (*path, "ipBlock"))
            if prefixes:
                yield PeerForm(prefixes)
            return
        choices: list[list[TagClause]] = []
        if isinstance(namespaces, UnsetType):
            if isinstance(pods, UnsetType):
                expected = "podSelector, namespaceSelector or ipBlock"
                self._document.add_problem(path, found="an empty peer", expected=expected)
                return
            own = (self._policy.namespace,)
            choices.append([TagClause(key=NAMESPACE_TAG, operator=_EQUAL, values=own)])
        else:
            # A pod is what has a namespace at all.
            choices.append([TagClause(key=NAMESPACE_TAG, operator=_EXISTS)])
            place = (*path, "namespaceSelector")
            choices += self._choices(namespaces, f"{NAMESPACE_TAG}.", place)
        if not isinstance(pods, UnsetType):
            choices += self._choices(pods, "", (*path, "podSelector"))
        alternatives = 1
        for choice in choices:
            alternatives *= len(choice)
        if alternatives > _MAX_ALTERNATIVES:
            found = f"{alternatives} combinations of NotIn"
            self._document.add_problem(
                path,
                found=found,
                expected=f"at most {_MAX_ALTERNATIVES}: fewer of them in one peer",
            )
            return
        yield from (PeerForm(None, clauses) for clauses in itertools.product(*choices))

    def _choices(
        self, selector: SelectorSpec, prefix: str, path: KeyPath
    ) -> Iterator[list[TagClause]]:
        """Give one list for each condition; any clause of it will do."""
        self.check_selector(selector, path)
        for key, value in selector.match_labels.items():
            yield [TagClause(key=prefix + key, operator=_EQUAL, values=(value or _EMPTY,))]
        for one in selector.match_expressions:
            key = prefix + one.key
            values = tuple(value or _EMPTY for value in one.values)
            match one.operator:
                case "In":
                    yield [TagClause(key=key, operator=_EQUAL, values=values)]
                case "NotIn":
                    yield [
                        TagClause(key=key, operator=_NOT_EQUAL, values=values),
                        TagClause(key=key, operator=_ABSENT),
                    ]
                case "Exists":
                    yield [TagClause(key=key, operator=_EXISTS)]
                case _:
                    yield [TagClause(key=key, operator=_ABSENT)]

    def check_selector(self, selector: SelectorSpec, path: KeyPath) -> None:
        """Note requirements whose values and operator do not go together."""
        for index, one in enumerate(selector.match_expressions):
            place = (*path, "matchExpressions", index, "values")
            if one.operator in {"In", "NotIn"} and not one.values:
                expected = f"the values that {one.operator} compares with"
                self._document.add_problem(place, found="nothing", expected=expected)
            elif one.operator in {"Exists", "DoesNotExist"} and one.values:
                expected = f"no values with {one.operator}"
                self._document.add_problem(place, expected=expected, of_key=True)

    def _block(self, block: IpBlockSpec, path: KeyPath) -> tuple[Prefix, ...]:
        whole = spell.parse_prefix(block.cidr)
        without: list[Prefix] = []
        for index, text in enumerate(block.without):
            prefix = spell.parse_prefix(text)
            if prefix == whole or not _within(prefix, whole):
                expected = f"a part of {quote(block.cidr)}"
                self._document.add_problem((*path, "except", index), expected=expected)
            without.append(prefix)
        left = subtract(whole, without)
        if len(left) > _MAX_PREFIXES:
            found = f"exceptions that leave {len(left)} networks"
            expected = f"at most {_MAX_PREFIXES}: fewer exceptions"
            self._document.add_problem((*path, "except"), found=found, expected=expected)
        return left


_EQUAL: Final = ClauseOperator.EQUAL
_NOT_EQUAL: Final = ClauseOperator.NOT_EQUAL
_EXISTS: Final = ClauseOperator.KEY_EXISTS
_ABSENT: Final = ClauseOperator.KEY_NOT_EXISTS


def _order(prefix: Prefix) -> tuple[bytes, int]:
    return prefix.network, prefix.length


def _within(inner: Prefix, outer: Prefix) -> bool:
    return inner.length >= outer.length and outer.contains(inner.network)


def _inside(owners: Iterable[Prefix], prefixes: tuple[Prefix, ...] | None) -> Iterator[Prefix]:
    if prefixes is None:
        return iter(owners)
    return (one for one in owners if any(_within(one, prefix) for prefix in prefixes))


def subtract(whole: Prefix, without: Sequence[Prefix]) -> tuple[Prefix, ...]:
    """Give the networks that are left of one when others are taken out."""
    left: list[Prefix] = []
    waiting = [(whole, list(without))]
    while waiting:
        prefix, holes = waiting.pop()
        if not holes:
            left.append(prefix)
        elif not any(_within(prefix, hole) for hole in holes):
            for half in _halves(prefix):
                inside = [hole for hole in holes if _within(hole, half) or _within(half, hole)]
                waiting.append((half, inside))
    return tuple(sorted(left, key=_order))


def _halves(prefix: Prefix) -> tuple[Prefix, Prefix]:
    size = len(prefix.network)
    bit = 1 << (size * 8 - prefix.length - 1)
    upper = (int.from_bytes(prefix.network) | bit).to_bytes(size)
    return Prefix(prefix.network, prefix.length + 1), Prefix(upper, prefix.length + 1)
