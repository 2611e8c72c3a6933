"""A plain reading of one rule: whether it takes a flow, and if not, why."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trireme_datapath.policy._buckets import spans
from trireme_datapath.policy._tags import clause_holds, tag_values
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
    """

    length: int
    prefix: Prefix | None


def reach(policy: Policy, rule: Rule, address: bytes) -> Reach:
    """Find the longest prefix of a rule that contains a packed address."""
    best = Reach(-1, None)
    for addresses in rule.addresses:
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
) -> str:
    """Say why a rule does not take a flow.

    Args:
        policy: Where the networks are defined.
        rule: The rule.
        address: The packed address of the other side.
        tags: The tags of the other side, None when it is not known.
        protocol: The IP protocol number.
        value: The port, or ICMP type times 256 plus code.

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
    if rule.addresses and reach(policy, rule, address).prefix is None:
        return "the address of the other side is not in its networks"
    if rule.peer_tags:
        if tags is None:
            return "it asks for tags, and the other side is not known"
        values = tag_values(tags)
        for clause in rule.peer_tags:
            if not clause_holds(clause, values):
                return f"the tags of the other side do not satisfy: {clause}"
    return ""
