"""The policy as plain, checked data: what a file says once all its spellings are resolved."""

from __future__ import annotations

import enum
import socket
from typing import Literal

import msgspec

__all__ = [
    "ANY_ADDRESS",
    "AddressSet",
    "ClauseOperator",
    "IcmpMatch",
    "MarkMatch",
    "PeerDefinition",
    "Policy",
    "PortRange",
    "Prefix",
    "Rule",
    "RuleAction",
    "RuleObservation",
    "TagClause",
    "Unit",
    "UnitSelector",
]


class RuleAction(enum.StrEnum):
    """What a rule, or a default, does with a flow."""

    ACCEPT = "accept"
    REJECT = "reject"


class RuleObservation(enum.StrEnum):
    """How a rule observes."""

    NONE = "none"
    CONTINUE = "continue"
    APPLY = "apply"


class ClauseOperator(enum.StrEnum):
    """How a clause compares the peer's tags, in Trireme's spelling."""

    EQUAL = "="
    NOT_EQUAL = "=!"
    KEY_EXISTS = "*"
    KEY_NOT_EXISTS = "!*"


class Prefix(msgspec.Struct, frozen=True, gc=False):
    """A network: its address as packed bytes without host bits, and the prefix length."""

    network: bytes
    length: int

    @property
    def is_host(self) -> bool:
        """Whether it is a single address."""
        return self.length == len(self.network) * 8

    def contains(self, address: bytes) -> bool:
        """Whether a packed address lies in this network."""
        if len(address) != len(self.network):
            return False
        shift = len(address) * 8 - self.length
        return int.from_bytes(address) >> shift == int.from_bytes(self.network) >> shift

    def __str__(self) -> str:
        """Write it as CIDR."""
        family = socket.AF_INET if len(self.network) == 4 else socket.AF_INET6
        return f"{socket.inet_ntop(family, self.network)}/{self.length}"


ANY_ADDRESS = (Prefix(bytes(4), 0), Prefix(bytes(16), 0))


class AddressSet(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Addresses that a rule names together.

    They are one named network, those written in the rule, or those that a DNS name stands for.

    Attributes:
        network: The name under ``[networks]``, or an empty string.
        prefixes: The addresses; empty for a named network, whose prefixes the policy holds once.
        dns_name: A DNS name in lower case and without its last dot, or with ``*.`` before it every
            name below it; an empty string for the others.
    """

    network: str = ""
    prefixes: tuple[Prefix, ...] = ()
    dns_name: str = ""


class PortRange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Ports from first to last, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        """Write it as in the file."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


class IcmpMatch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An ICMP or ICMPv6 type with one code, or with any (None)."""

    protocol: int
    type: int
    code: int | None = None

    def __str__(self) -> str:
        """Write it as in the file."""
        return str(self.type) if self.code is None else f"{self.type}/{self.code}"


class TagClause(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A condition on the peer's tags; a value that ends with ``*`` is a prefix."""

    key: str
    operator: ClauseOperator
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Write it on one line."""
        return " ".join([self.key, self.operator.value, ",".join(self.values)]).rstrip()


class Rule(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One rule of a processing unit, in one direction.

    Attributes:
        id: The policy id that records carry.
        addresses: Where the peer must be; empty when only its tags matter.
        peer_tags: Clauses that the peer's tags must all satisfy; empty for any peer.
        protocols: IP protocol numbers; empty for any.
        ports: Destination ports of the flow; empty for any.
        icmp: ICMP types and codes; empty for any.
        service: The service id that records carry; empty to take the named network's name.
    """

    id: str
    action: RuleAction
    addresses: tuple[AddressSet, ...] = ()
    peer_tags: tuple[TagClause, ...] = ()
    protocols: tuple[int, ...] = ()
    ports: tuple[PortRange, ...] = ()
    icmp: tuple[IcmpMatch, ...] = ()
    observe: RuleObservation = RuleObservation.NONE
    log: bool = False
    service: str = ""


class MarkMatch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A packet mark: the bits under the mask must be the value."""

    value: int
    mask: int = 0xFFFFFFFF

    def __str__(self) -> str:
        """Write it as in the file."""
        return f"{self.value:#x}/{self.mask:#x}"


class UnitSelector(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Which packets belong to a processing unit: those that match any of these.

    Attributes:
        told: Whether it comes and goes with what is told of it while the agent runs; until then
            nothing belongs to it but what the others select.
    """

    addresses: tuple[Prefix, ...] = ()
    interfaces: tuple[str, ...] = ()
    marks: tuple[MarkMatch, ...] = ()
    cgroups: tuple[str, ...] = ()
    local: bool = False
    told: bool = False


class Unit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A processing unit: something whose flows are judged here."""

    id: str
    context_id: str
    namespace: str = ""
    tags: tuple[str, ...] = ()
    select: UnitSelector = UnitSelector()
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()

    def rules(self, direction: Literal["ingress", "egress"]) -> tuple[Rule, ...]:
        """Give the rules of one direction."""
        return self.ingress if direction == "ingress" else self.egress


class PeerDefinition(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Somebody whose identity is known and whose flows are judged elsewhere, or not at all."""

    id: str
    addresses: tuple[Prefix, ...]
    namespace: str = ""
    tags: tuple[str, ...] = ()


class Policy(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A whole policy.

    Attributes:
        default: What happens to a flow of a unit when no rule matches.
        unmatched: What happens to packets that belong to no unit.
        judge_midstream: Whether TCP connections that began unseen are judged instead of rejected.
        observe_only: Whether rejects are reported and let through.
    """

    name: str = ""
    default: RuleAction = RuleAction.REJECT
    unmatched: RuleAction = RuleAction.REJECT
    judge_midstream: bool = False
    observe_only: bool = False
    networks: dict[str, tuple[Prefix, ...]] = {}
    units: tuple[Unit, ...] = ()
    peers: tuple[PeerDefinition, ...] = ()

    def prefixes(self, addresses: AddressSet) -> tuple[Prefix, ...]:
        """Give the prefixes of an address set, looking up a named network."""
        return self.networks[addresses.network] if addresses.network else addresses.prefixes
