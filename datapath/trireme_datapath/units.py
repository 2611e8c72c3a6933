"""Which processing unit a packet belongs to.

A mark says who sent the packet, an interface says who is behind it, an address says who has it,
and the hook says whether it comes from this host or goes to it. The more particular one decides:
mark before interface before address before the host. Marks count only on hooks that packets from
this host or a forwarding peer pass, because a packet that arrives has no owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_datapath.packets import Hook

if TYPE_CHECKING:
    from trireme_datapath.flows import FlowTable, Zone
    from trireme_datapath.policy import CompiledPolicy, CompiledUnit

__all__ = ["Way", "Ways"]

_LOCAL_HOOKS: Final = frozenset({Hook.LOCAL_IN, Hook.LOCAL_OUT})
_OWNED_HOOKS: Final = frozenset({Hook.FORWARD, Hook.LOCAL_OUT, Hook.POSTROUTING, Hook.UNKNOWN})


class Way:
    """What the hook, the interfaces and the mark of a packet say about its units.

    Attributes:
        source_unit: The unit that sent it, None when only its address can tell.
        destination_unit: The unit it goes to, None when only its address can tell.
        local_source: The unit that sent it if no address says otherwise.
        local_destination: The unit it goes to if no address says otherwise.
        zone: Where its flow is looked up.
        reverse_zone: Where the answers to its flow are looked up.
        one_way: Whether answers come another way than the reverse of this one: they carry no
            mark, so they cannot be traced back to the zone of their flow.
    """

    __slots__ = (
        "_find",
        "destination_unit",
        "local_destination",
        "local_source",
        "one_way",
        "reverse_zone",
        "source_unit",
        "zone",
    )

    def __init__(
        self,
        policy: CompiledPolicy,
        source_unit: CompiledUnit | None,
        destination_unit: CompiledUnit | None,
        zone: Zone,
        reverse_zone: Zone,
        *,
        hook: int,
        one_way: bool,
    ) -> None:
        """Keep what was found."""
        self.local_source = policy.local_unit if hook == Hook.LOCAL_OUT else None
        self.local_destination = policy.local_unit if hook == Hook.LOCAL_IN else None
        self._find = policy.unit_for
        self.source_unit = source_unit
        self.destination_unit = destination_unit
        self.zone = zone
        self.reverse_zone = reverse_zone
        self.one_way = one_way

    def units(
        self, source: bytes, destination: bytes
    ) -> tuple[CompiledUnit | None, CompiledUnit | None]:
        """Give the sending and the receiving unit of a packet with these packed addresses."""
        find = self._find
        return (
            self.source_unit or find(source) or self.local_source,
            self.destination_unit or find(destination) or self.local_destination,
        )


class Ways:
    """Finds the `Way` of a packet; there are as many as the policy's selectors can tell apart."""

    def __init__(self, policy: CompiledPolicy, flows: FlowTable) -> None:
        """Keep the policy and the table whose zones are used."""
        self._policy = policy
        self._flows = flows
        self._ways: dict[tuple[object, ...], Way] = {}

    def find(self, hook: int, indev: str, outdev: str, mark: int) -> Way:
        """Give the way of a packet by where it was queued."""
        policy = self._policy
        source = policy.unit_for_interface(indev) if indev else None
        destination = policy.unit_for_interface(outdev) if outdev else None
        owner: tuple[int, int] | None = None
        claim = policy.claim_of_mark(mark) if hook in _OWNED_HOOKS else None
        if claim is not None:
            owner, source = claim[:2], claim[2]
        inside = indev if source is not None and owner is None else ""
        outside = outdev if destination is not None else ""
        selection = (inside, outside, owner)
        local = hook if policy.local_unit is not None and hook in _LOCAL_HOOKS else Hook.UNKNOWN
        key = (*selection, local)
        way = self._ways.get(key)
        if way is None:
            way = self._ways[key] = Way(
                policy,
                source,
                destination,
                self._flows.zone(selection),
                self._flows.zone((outside, inside, None)),
                hook=local,
                one_way=owner is not None,
            )
        return way
