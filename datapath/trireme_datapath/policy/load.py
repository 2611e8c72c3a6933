"""Reads a policy file: every mistake at once, each with its line and column."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar, overload

from msgspec import UNSET, UnsetType

from trireme_collector.strict_toml import (
    Document,
    format_path,
    load_document,
    parse_document,
    quote,
)
from trireme_datapath.policy import spellings as spell
from trireme_datapath.policy._file import (
    EgressTable,
    HeaderTable,
    IngressTable,
    PeerTable,
    PolicyFile,
    UnitTable,
)
from trireme_datapath.policy._rules import read_rule
from trireme_datapath.policy.kubernetes import load_kubernetes_policy
from trireme_datapath.policy.model import (
    MarkMatch,
    PeerDefinition,
    Policy,
    Prefix,
    Rule,
    RuleAction,
    Unit,
    UnitSelector,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trireme_collector.strict_toml import KeyPath
    from trireme_datapath.policy._file import SelectTable

__all__ = ["load_policy", "parse_policy"]

T = TypeVar("T")
_RULES = ("ingress", "egress")
_YAML_SUFFIXES = (".yaml", ".yml")
_RESERVED_RULE_IDS = frozenset({"default", "local", "observe-only"})


def load_policy(path: str | os.PathLike[str], *, allow_world_writable: bool = False) -> Policy:
    """Read a policy file: TOML, or the objects of a Kubernetes cluster if it ends in .yaml or .yml.

    Args:
        path: The file.
        allow_world_writable: Whether to read even a file that every user can change.

    Returns:
        The policy, checked.

    Raises:
        ConfigError: The file cannot be read or has mistakes; all of them are listed.
        MissingExtraError: It is YAML, and PyYAML is not installed.
    """
    if os.fspath(path).endswith(_YAML_SUFFIXES):
        return load_kubernetes_policy(path, allow_world_writable=allow_world_writable)
    return _Reader(load_document(path, refuse_world_writable=not allow_world_writable)).policy()


def parse_policy(text: str, name: str = "<policy>") -> Policy:
    """Read a policy from a text.

    Args:
        text: What would stand in the file.
        name: What messages call it.

    Returns:
        The policy, checked.

    Raises:
        ConfigError: The text has mistakes; all of them are listed.
    """
    return _Reader(parse_document(text, name)).policy()


class _Reader:
    """Turns one document into a policy, noting what no type can express."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._owners: dict[tuple[str, object], tuple[KeyPath, str]] = {}
        self._networks: dict[str, tuple[Prefix, ...]] = {}
        self._known_networks: frozenset[str] = frozenset()

    def policy(self) -> Policy:
        document = self._document
        document.convert((), PolicyFile)
        header = document.part((), HeaderTable, without=("networks", "unit", "peer"))
        self._read_networks()
        units = [self._unit(index) for index in range(document.length(("unit",)))]
        peers = [self._peer(index) for index in range(document.length(("peer",)))]
        document.raise_problems()
        if header is None:  # part() gives None only where a problem was noted, and was raised
            raise AssertionError("a policy header without a value and without a problem")
        return Policy(
            name=_text(header.name),
            default=RuleAction(header.default),
            unmatched=RuleAction(header.unmatched),
            judge_midstream=header.midstream == "judge",
            observe_only=header.observe_only,
            networks=self._networks,
            units=tuple(unit for unit in units if unit is not None),
            peers=tuple(peer for peer in peers if peer is not None),
        )

    def _read_networks(self) -> None:
        tables = self._document.get(("networks",))
        if not isinstance(tables, dict):
            return
        self._known_networks = frozenset(tables)
        for name in tables:
            value = self._document.part(("networks", name), list[str] | str)  # type: ignore[arg-type]  # a union is a type to msgspec
            if value is not None:
                self._networks[name] = _prefixes(value)

    def _unit(self, index: int) -> Unit | None:
        path: KeyPath = ("unit", index)
        document = self._document
        rules = {
            direction: [
                self._rule((*path, direction, number))
                for number in range(document.length((*path, direction)))
            ]
            for direction in _RULES
        }
        for direction in _RULES:
            self._check_rule_ids((*path, direction))
        unsound = document.unsound_keys(path)
        table = document.part(path, UnitTable, without={*_RULES, *unsound})
        if table is None:
            return None
        is_own = self._claim("id", table.id, (*path, "id"), table.id, "an id of its own")
        context = table.id if isinstance(table.context, UnsetType) else table.context
        if table.context is not UNSET or is_own:  # one mistake with an id is not two
            key = "id" if table.context is UNSET else "context"
            self._claim("context", context, (*path, key), table.id, "a context of its own")
        return Unit(
            id=table.id,
            context_id=context,
            namespace=_text(table.namespace),
            tags=tuple(table.tags),
            select=self._select((*path, "select"), table.select, table.id),
            ingress=tuple(rule for rule in rules["ingress"] if rule is not None),
            egress=tuple(rule for rule in rules["egress"] if rule is not None),
        )

    def _rule(self, path: KeyPath) -> Rule | None:
        document = self._document
        unsound = document.unsound_keys(path)
        table: IngressTable | EgressTable | None
        if path[2] == "ingress":
            key, table = "from", document.part(path, IngressTable, without=unsound)
        else:
            key, table = "to", document.part(path, EgressTable, without=unsound)
        if table is None:
            return None
        networks = self._known_networks
        return read_rule(document, path, key, table.addresses, table, networks, whole=not unsound)

    def _check_rule_ids(self, path: KeyPath) -> None:
        """Refuse two rules of one unit and direction with one id: records could not tell them."""
        seen: dict[str, int] = {}
        for index in range(self._document.length(path)):
            place = (*path, index, "id")
            rule_id = self._document.get(place)
            if not isinstance(rule_id, str):
                continue
            if rule_id in _RESERVED_RULE_IDS:
                found = f"the reserved id {quote(rule_id)}"
                self._document.add_problem(place, found=found, expected="another id")
            if rule_id in seen:
                found = f"{quote(rule_id)} again, the id of rule {seen[rule_id]} (from 0)"
                self._document.add_problem(place, found=found, expected="an id of its own")
            seen.setdefault(rule_id, index)

    def _select(self, path: KeyPath, table: SelectTable, owner: str) -> UnitSelector:
        keys = {"address": table.address, "interface": table.interface}
        given = table.local or table.told
        if not given and all(v is UNSET for v in (*keys.values(), table.mark, table.cgroup)):
            expected = (
                "address, interface, mark, cgroup or local; or told = true, for a unit that the"
                " control socket or a discovery tells of"
            )
            self._document.add_problem(path, found="no selector", expected=expected)
        if table.local:
            self._claim("local", "local", (*path, "local"), owner, "one unit for this host alone")
        addresses = self._claim_addresses((*path, "address"), table.address, owner)
        interfaces: list[str] = []
        for place, name in _places((*path, "interface"), table.interface):
            self._claim("interface", name, place, owner, "an interface of this unit alone")
            interfaces.append(name)
        marks: list[MarkMatch] = []
        for place, value in _places((*path, "mark"), table.mark):
            mark = spell.parse_mark(value)
            self._claim("mark", mark, place, owner, "a mark of this unit alone")
            marks.append(mark)
        cgroups: list[str] = []
        for place, text in _places((*path, "cgroup"), table.cgroup):
            cgroup = spell.parse_cgroup(text)
            self._claim("cgroup", cgroup, place, owner, "a control group of this unit alone")
            cgroups.append(cgroup)
        return UnitSelector(
            addresses=addresses,
            interfaces=_unique(interfaces),
            marks=_unique(marks),
            cgroups=_unique(cgroups),
            local=table.local,
            told=table.told,
        )

    def _claim_addresses(
        self, path: KeyPath, values: list[str] | str | UnsetType, owner: str
    ) -> tuple[Prefix, ...]:
        prefixes = []
        for place, text in _places(path, values):
            prefix = spell.parse_prefix(text)
            self._claim("address", prefix, place, owner, "an address of this one alone")
            prefixes.append(prefix)
        return _unique(prefixes)

    def _peer(self, index: int) -> PeerDefinition | None:
        path: KeyPath = ("peer", index)
        unsound = self._document.unsound_keys(path)
        table = self._document.part(path, PeerTable, without=unsound)
        if table is None:
            return None
        self._claim("id", table.id, (*path, "id"), table.id, "an id of its own")
        return PeerDefinition(
            id=table.id,
            addresses=self._claim_addresses((*path, "address"), table.address, table.id),
            namespace=_text(table.namespace),
            tags=tuple(table.tags),
        )

    def _claim(self, kind: str, value: object, path: KeyPath, owner: str, expected: str) -> bool:
        """Note a problem if another unit or peer has the value already; say whether it is free."""
        place, name = self._owners.setdefault((kind, value), (path[:2], owner))
        if place != path[:2]:
            found = f"{quote(str(value))}, which {format_path(place)} ({quote(name)}) has already"
            self._document.add_problem(path, found=found, expected=expected)
            return False
        return True


def _text(value: str | UnsetType) -> str:
    return "" if isinstance(value, UnsetType) else value


def _prefixes(value: list[str] | str) -> tuple[Prefix, ...]:
    texts = [value] if isinstance(value, str) else value
    return _unique(map(spell.parse_prefix, texts))


def _unique(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))


@overload
def _places(path: KeyPath, value: list[str] | str | UnsetType) -> Sequence[tuple[KeyPath, str]]: ...
@overload
def _places(
    path: KeyPath, value: list[int | str] | int | str | UnsetType
) -> Sequence[tuple[KeyPath, int | str]]: ...
def _places(path: KeyPath, value: object) -> Sequence[tuple[KeyPath, object]]:
    """Give each value with its place, whether it stands alone or in a list."""
    if isinstance(value, UnsetType):
        return []
    if isinstance(value, list):
        return [((*path, index), element) for index, element in enumerate(value)]
    return [(path, value)]
