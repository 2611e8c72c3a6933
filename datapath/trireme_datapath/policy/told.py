"""Units that are told of while an agent runs, laid over the units of its policy.

A unit of the policy whose context is told gets what was told beside its own selectors and tags.
One that no unit of the policy is for is somebody whose identity is known: rules that ask for tags
meet the tags that were told.

Marks for control groups of the policy are allocated upwards, those for told ones downwards from
the last, and a told one keeps its mark as long as it is there: no flow changes its owner because
somebody else came or went.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from trireme_collector.errors import ConfigError
from trireme_collector.strict_toml import Unfit
from trireme_datapath.policy import spellings as spell
from trireme_datapath.policy.model import MarkMatch, PeerDefinition, Policy, Prefix, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "CGROUP_MARK_MASK",
    "CGROUP_MARK_SHIFT",
    "LAST_CGROUP_MARK",
    "ToldUnit",
    "marks_overlap",
    "overlay",
    "read_told",
    "settle_told",
]

CGROUP_MARK_SHIFT: Final = 18
CGROUP_MARK_MASK: Final = 0xFFFC0000
LAST_CGROUP_MARK: Final = 0x3FFF
_LOWEST_TOLD_MARK: Final = 0x2000  # the other half is for the policy


class ToldUnit(Struct, frozen=True, kw_only=True, gc=False):
    """What was told of a unit, checked.

    Attributes:
        context_id: Its context.
        addresses: Its addresses.
        interfaces: Interfaces that it is behind.
        cgroups: Control groups whose processes belong to it, each with its mark; 0 before
            `settle_told` gave it one.
        tags: Its tags.
    """

    context_id: str
    addresses: tuple[Prefix, ...] = ()
    interfaces: tuple[str, ...] = ()
    cgroups: tuple[tuple[str, int], ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def selects(self) -> bool:
        """Whether any packet can belong to it by this."""
        return bool(self.addresses or self.interfaces or self.cgroups)


def read_told(
    context: str,
    addresses: Iterable[str] = (),
    interfaces: Iterable[str] = (),
    cgroups: Iterable[str] = (),
    tags: Iterable[str] = (),
) -> ToldUnit:
    """Read what somebody tells of a unit.

    Raises:
        ConfigError: Something is not what it should be; all of it is named.
    """
    problems: list[str] = []

    def read(kind: str, parse: Callable[[str], object], values: Iterable[str]) -> list[object]:
        found: list[object] = []
        for value in values:
            try:
                found.append(parse(value))
            except Unfit as unfit:
                problems.append(f"unit {context!r}: {kind} {value!r}: expected {unfit.expected}")
        return list(dict.fromkeys(found))

    read("context", spell.check_identifier, [context])
    unit = ToldUnit(
        context_id=context,
        addresses=tuple(one for one in read("address", spell.parse_prefix, addresses)),  # type: ignore[misc]  # each is what its parser gives
        interfaces=tuple(str(one) for one in read("interface", spell.parse_interface, interfaces)),
        cgroups=tuple((str(one), 0) for one in read("cgroup", spell.parse_cgroup, cgroups)),
        tags=tuple(str(one) for one in read("tag", spell.parse_tag, tags)),
    )
    if problems:
        raise ConfigError("\n".join(problems), problems=problems)
    return unit


def settle_told(policy: Policy, told: Iterable[ToldUnit]) -> tuple[list[ToldUnit], dict[str, str]]:
    """Find out which told units can be laid over a policy, and give control groups their marks.

    Whoever was told of first keeps what it has, and the policy keeps what it names.

    Args:
        policy: The policy.
        told: The units, in the order in which they were told of.

    Returns:
        Those that can, in the same order; and for each of the others why not, by its context.
    """
    claims = _Claims(policy)
    managed = {unit.context_id for unit in policy.units}
    settled: list[ToldUnit] = []
    refused: dict[str, str] = {}
    for unit in told:
        if unit.context_id not in managed:
            # Nobody is policed by it: what somebody else has is simply not its own.
            settled.append(claims.what_is_free(unit))
            continue
        problem = claims.problem(unit)
        if problem:
            refused[unit.context_id] = problem
        else:
            settled.append(claims.take(unit))
    return settled, refused


def overlay(policy: Policy, told: Iterable[ToldUnit]) -> Policy:
    """Give the policy in which told units are units like all others.

    Args:
        policy: The policy as its file says it.
        told: What `settle_told` gave for it.
    """
    by_context = {unit.context_id: unit for unit in told}
    if not by_context:
        return policy
    units = tuple(_joined(unit, by_context.pop(unit.context_id, None)) for unit in policy.units)
    strangers = tuple(
        PeerDefinition(id=one.context_id, addresses=one.addresses, tags=one.tags)
        for one in by_context.values()
        if one.addresses
    )
    return structs.replace(policy, units=units, peers=policy.peers + strangers)


def marks_overlap(mark: int, taken: Iterable[MarkMatch]) -> bool:
    """Tell whether packets with the mark of a control group are claimed by a mark in use."""
    return any(
        other.mask & CGROUP_MARK_MASK and not (mark ^ other.value) & other.mask & CGROUP_MARK_MASK
        for other in taken
    )


def _joined(unit: Unit, told: ToldUnit | None) -> Unit:
    if told is None:
        return unit
    select = unit.select
    marks = tuple(MarkMatch(value=mark, mask=CGROUP_MARK_MASK) for _, mark in told.cgroups)
    return structs.replace(
        unit,
        tags=tuple(dict.fromkeys((*unit.tags, *told.tags))),
        select=structs.replace(
            select,
            addresses=tuple(dict.fromkeys((*select.addresses, *told.addresses))),
            interfaces=tuple(dict.fromkeys((*select.interfaces, *told.interfaces))),
            marks=select.marks + marks,
        ),
    )


class _Claims:
    """Who has which selector."""

    def __init__(self, policy: Policy) -> None:
        self._owners: dict[tuple[str, object], str] = {}
        self._marks = [mark for unit in policy.units for mark in unit.select.marks]
        for unit in policy.units:
            select = unit.select
            own = [("address", one) for one in select.addresses]
            own += [("interface", one) for one in select.interfaces]  # type: ignore[misc]  # a text
            own += [("cgroup", one) for one in select.cgroups]  # type: ignore[misc]  # a text
            self._owners.update(dict.fromkeys(own, unit.context_id))
        for peer in policy.peers:
            for one in peer.addresses:
                self._owners[("address", one)] = f"peer {peer.id}"

    def problem(self, unit: ToldUnit) -> str:
        for kind, value in _selectors(unit):
            owner = self._owners.get((kind, value), unit.context_id)
            if owner != unit.context_id:
                return (
                    f"unit {unit.context_id!r}: {kind} {value} is that of {owner!r} already; tell"
                    " first that that one is gone, or give this one another"
                )
        return ""

    def take(self, unit: ToldUnit) -> ToldUnit:
        new = [(path, mark) for path, mark in unit.cgroups if ("cgroup", path) not in self._owners]
        self._owners.update(dict.fromkeys(_selectors(unit), unit.context_id))
        return structs.replace(
            unit, cgroups=tuple((path, self._mark(mark, path)) for path, mark in new)
        )

    def what_is_free(self, unit: ToldUnit) -> ToldUnit:
        free = tuple(one for one in unit.addresses if ("address", one) not in self._owners)
        self._owners.update({("address", one): unit.context_id for one in free})
        return structs.replace(unit, addresses=free, interfaces=(), cgroups=())

    def _mark(self, before: int, path: str) -> int:
        mark = before
        if not before or marks_overlap(before, self._marks):
            numbers = range(LAST_CGROUP_MARK, _LOWEST_TOLD_MARK - 1, -1)
            free = (n << CGROUP_MARK_SHIFT for n in numbers)
            mark = next((one for one in free if not marks_overlap(one, self._marks)), 0)
        if not mark:
            raise ConfigError(f"too many control groups: no mark is left for {path!r}")
        self._marks.append(MarkMatch(value=mark, mask=CGROUP_MARK_MASK))
        return mark


def _selectors(unit: ToldUnit) -> Iterator[tuple[str, object]]:
    yield from (("address", one) for one in unit.addresses)
    yield from (("interface", one) for one in unit.interfaces)
    yield from (("cgroup", path) for path, _ in unit.cgroups)
