"""A plain reading of one rule: whether it takes a flow, and if not, why."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trireme_datapath.policy._buckets import spans
from trireme_datapath.policy._tags import clause_holds, tag_values
from trireme_datapath.policy.names import name_matches
from trireme_datapath.policy.spellings import ICMP_PROTOCOLS, protocol_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trireme_datapath.policy.model import Policy, Prefix, Rule

__all__ = ["Reach", "reach", "why_not"]


class Reach(NamedTuple):
    """How a rule reaches an address.

    Attributes:
        length: The length of the longest of its prefixes that contains the address, or -1.
        prefix: That prefix, None without one.
        dns_name: The DNS name that stands for the address, which counts as a prefix of it alone.
    """

    length: int
    prefix: Prefix | None
    dns_name: str = ""

    @property
    def by(self) -> str:
        """Say it in one word."""
        return self.dns_name or str(self.prefix or "")


def reach(policy: Policy, rule: Rule, address: bytes, name: str = "") -> Reach:
    """Find the longest prefix of a rule that contains a packed address.

    Args:
        policy: Where the networks are defined.
        rule: The rule.
        address: The address.
        name: A DNS name that stands for it.
    """
    best = Reach(-1, None)
    for addresses in rule.addresses:
        if addresses.dns_name and name and name_matches(addresses.dns_name, name):
            if best.length < len(address) * 8:
                best = Reach(len(address) * 8, None, addresses.dns_name)
            continue
        for prefix in policy.prefixes(addresses):
            if prefix.length > best.length and prefix.contains(address):
                best = Reach(prefix.length, prefix)
    return best


def why_not(
    policy: Policy,
    rule: Rule,
    address: bytes,
    tags: Iterable[str] | None,
    protocol: int,
    value: int,
    name: str = "",
) -> str:
    """Say why a rule does not take a flow.

    Args:
        policy: Where the networks are defined.
        rule: The rule.
        address: The packed address of the other side.
        tags: The tags of the other side, None when it is not known.
        protocol: The IP protocol number.
        value: The port, or ICMP type times 256 plus code.
        name: A DNS name that stands for the address.

    Returns:
        The first reason found, or an empty string when it does take the flow.
    """
    if rule.protocols and protocol not in rule.protocols:
        wanted = ", ".join(map(protocol_name, rule.protocols))
        return f"its protocol is {wanted}, not {protocol_name(protocol)}"
    if not any(first <= value <= last for first, last in spans(rule, protocol)):
        if protocol in ICMP_PROTOCOLS:
            types = ", ".join(str(match) for match in rule.icmp if match.protocol == protocol)
            return f"its ICMP types are {types}, not {value >> 8}/{value & 0xFF}"
        return f"its ports are {', '.join(map(str, rule.ports))}, not {value}"
    if rule.addresses and reach(policy, rule, address, name).length < 0:
        return _not_reached(rule)
    if rule.peer_tags:
        if tags is None:
            return "it asks for tags, and the other side is not known"
        values = tag_values(tags)
        for clause in rule.peer_tags:
            if not clause_holds(clause, values):
                return f"the tags of the other side do not satisfy: {clause}"
    return ""


def _not_reached(rule: Rule) -> str:
    names = ", ".join(one.dns_name for one in rule.addresses if one.dns_name)
    if not names:
        return "the address of the other side is not in its networks"
    others = any(not one.dns_name for one in rule.addresses)
    also = ", and it is not in its networks" if others else ""
    return f"no answer for {names} gave the address of the other side{also}"
