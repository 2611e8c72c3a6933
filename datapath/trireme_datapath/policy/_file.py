"""The tables of a policy file as they are written, before their spellings are resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from trireme_collector.strict_toml import Unfit
from trireme_datapath.policy import spellings as spell

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ClauseTable",
    "EgressTable",
    "HeaderTable",
    "IngressTable",
    "PeerTable",
    "PolicyFile",
    "RuleTable",
    "SelectTable",
    "UnitTable",
]


def _checked(check: Callable[[Any], object], expected: str) -> Meta:
    return Meta(extra={"validate": check, "expected": expected})


def _check_rule_address(text: str) -> object:
    """Accept ``any``, ``@network`` and ``dns:name`` too; whether they may be is seen later."""
    if text == "any":
        return text
    if text.startswith("dns:"):
        return spell.parse_dns_name(text[4:])
    return spell.check_identifier(text[1:]) if text.startswith("@") else spell.parse_prefix(text)


def _check_icmp(value: int | str) -> object:
    """Accept what is right for one of the protocols; which one it is, is seen later."""
    try:
        return spell.parse_icmp(value, 1)
    except Unfit as unfit:
        try:
            return spell.parse_icmp(value, 58)
        except Unfit:
            raise unfit from None


Identifier: TypeAlias = Annotated[str, _checked(spell.check_identifier, "an id")]
Word: TypeAlias = Annotated[str, _checked(spell.check_word, "a text")]
Tag: TypeAlias = Annotated[str, _checked(spell.parse_tag, 'a tag such as "app=web"')]
Network: TypeAlias = Annotated[str, _checked(spell.parse_prefix, "an address or a network")]
RuleAddress: TypeAlias = Annotated[
    str, _checked(_check_rule_address, 'an address, a network, "@name", "dns:name" or "any"')
]
Port: TypeAlias = Annotated[
    int | str, _checked(spell.parse_ports, 'a port or a range such as "8000-8080"')
]
Protocol: TypeAlias = Annotated[
    int | str, _checked(spell.parse_protocol, "the name or number of a protocol")
]
Icmp: TypeAlias = Annotated[
    int | str, _checked(_check_icmp, 'an ICMP type such as 8, "echo-request" or "3/4"')
]
Mark: TypeAlias = Annotated[int | str, _checked(spell.parse_mark, 'a mark such as "0x100/0xff00"')]
Interface: TypeAlias = Annotated[
    str, _checked(spell.parse_interface, "the name of a network interface")
]
Cgroup: TypeAlias = Annotated[str, _checked(spell.parse_cgroup, "the path of a control group")]

# Where a list is asked for, a single value may stand alone.
Networks: TypeAlias = Network | Annotated[list[Network], Meta(min_length=1)]
RuleAddresses: TypeAlias = RuleAddress | Annotated[list[RuleAddress], Meta(min_length=1)]
Ports: TypeAlias = Port | Annotated[list[Port], Meta(min_length=1)]
Protocols: TypeAlias = Protocol | Annotated[list[Protocol], Meta(min_length=1)]
Icmps: TypeAlias = Icmp | Annotated[list[Icmp], Meta(min_length=1)]
Marks: TypeAlias = Mark | Annotated[list[Mark], Meta(min_length=1)]
Interfaces: TypeAlias = Interface | Annotated[list[Interface], Meta(min_length=1)]
Cgroups: TypeAlias = Cgroup | Annotated[list[Cgroup], Meta(min_length=1)]


class ClauseTable(msgspec.Struct, frozen=True, kw_only=True):
    """One condition on the peer's tags."""

    key: Word
    operator: Literal["=", "=!", "*", "!*"] = "="
    values: Annotated[list[Word], Meta(min_length=1)] | Word | msgspec.UnsetType = msgspec.UNSET


class RuleTable(msgspec.Struct, frozen=True, kw_only=True):
    """What rules of both directions have in common."""

    id: Identifier
    action: Literal["accept", "reject"]
    peer_tags: Annotated[list[ClauseTable], Meta(min_length=1)] = []
    protocol: Protocols = "any"
    ports: Ports | msgspec.UnsetType = msgspec.UNSET
    icmp: Icmps | msgspec.UnsetType = msgspec.UNSET
    observe: Literal["none", "continue", "apply"] = "none"
    log: bool = False
    service: Identifier | msgspec.UnsetType = msgspec.UNSET


class IngressTable(RuleTable, frozen=True, kw_only=True):
    """A rule about flows that arrive at the unit."""

    addresses: RuleAddresses | msgspec.UnsetType = msgspec.field(name="from", default=msgspec.UNSET)


class EgressTable(RuleTable, frozen=True, kw_only=True):
    """A rule about flows that the unit begins."""

    addresses: RuleAddresses | msgspec.UnsetType = msgspec.field(name="to", default=msgspec.UNSET)


class SelectTable(msgspec.Struct, frozen=True, kw_only=True):
    """Which packets belong to a unit."""

    address: Networks | msgspec.UnsetType = msgspec.UNSET
    interface: Interfaces | msgspec.UnsetType = msgspec.UNSET
    mark: Marks | msgspec.UnsetType = msgspec.UNSET
    cgroup: Cgroups | msgspec.UnsetType = msgspec.UNSET
    local: bool = False
    told: bool = False


class UnitTable(msgspec.Struct, frozen=True, kw_only=True):
    """A processing unit."""

    id: Identifier
    select: SelectTable
    context: Identifier | msgspec.UnsetType = msgspec.UNSET
    namespace: Word | msgspec.UnsetType = msgspec.UNSET
    tags: list[Tag] = []
    ingress: list[IngressTable] = []
    egress: list[EgressTable] = []


class PeerTable(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody whose identity is known."""

    id: Identifier
    address: Networks
    namespace: Word | msgspec.UnsetType = msgspec.UNSET
    tags: list[Tag] = []


class HeaderTable(msgspec.Struct, frozen=True, kw_only=True):
    """The keys at the top of the file."""

    version: Literal[1]
    name: Word | msgspec.UnsetType = msgspec.UNSET
    default: Literal["accept", "reject"] = "reject"
    unmatched: Literal["accept", "reject"] = "reject"
    midstream: Literal["reject", "judge"] = "reject"
    observe_only: bool = False


class PolicyFile(HeaderTable, frozen=True, kw_only=True):
    """The whole file."""

    networks: dict[Identifier, Annotated[list[Network], Meta(min_length=1)] | Network] = {}
    unit: list[UnitTable] = []
    peer: list[PeerTable] = []
