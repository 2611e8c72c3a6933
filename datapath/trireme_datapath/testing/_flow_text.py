"""Flows as people write them: ``10.0.0.1 -> 10.0.0.2:443/tcp``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from trireme_collector.strict_toml import Unfit, nearest
from trireme_datapath.judgement import FlowTuple
from trireme_datapath.policy import spellings as spell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_datapath.policy.model import Policy, Prefix

__all__ = ["FlowError", "StatedFlow", "read_flow"]

_FORM: Final = "CLIENT -> SERVER:PORT/PROTOCOL, such as 10.0.0.1 -> web:443/tcp"
_ICMP: Final = re.compile(r"(?P<head>.+)/(?P<protocol>icmp|icmpv6)(?:[: ](?P<kind>\S+))?")
_NOBODY: Final = {
    4: ("203.0.113.77", "198.51.100.77", "192.0.2.77", "100.64.0.77", "10.255.254.77"),
    16: ("2001:db8:ffff::77", "3fff:fff::77", "fd00:ffff::77"),
}
"""Where a name that a test gives no address for may be; the one that fewest rules name is taken."""


class FlowError(ValueError):
    """A flow cannot be read, or the policy does not know what it names.

    Attributes:
        expected: What would be right.
        found: What stands there.
        nearest: What was probably meant, or empty.
    """

    def __init__(self, expected: str, found: str, nearest: str = "") -> None:
        """Put the message together."""
        hint = f" (did you mean {nearest}?)" if nearest else ""
        super().__init__(f"expected {expected}; found {found}{hint}")
        self.expected = expected
        self.found = found
        self.nearest = nearest


class StatedFlow(NamedTuple):
    """A flow, and what only names said of it.

    Attributes:
        flow: Addresses, protocol and port.
        unit: The unit at one end that no address selects, if there is one.
        direction: At which end that is.
        destination_name: The DNS name that gave the destination, or an empty string.
    """

    flow: FlowTuple
    unit: str | None = None
    direction: Literal["ingress", "egress"] | None = None
    destination_name: str = ""


class _End(NamedTuple):
    address: bytes | None
    unit: str | None = None
    name: str = ""


def read_flow(text: str, policy: Policy) -> StatedFlow:
    """Read a flow.

    Args:
        text: ``CLIENT -> SERVER:PORT/PROTOCOL``. Either end is an address, or the id of a unit, a
            peer or a network of the policy; the server may be a DNS name, too, perhaps with the
            address that it stands for: ``api.example.com@203.0.113.5``. ICMP has a type instead of
            a port: ``10.0.0.1 -> web/icmp:echo-request``.
        policy: The policy, which knows the names.

    Raises:
        FlowError: It cannot be read, or names nobody.
    """
    client_text, arrow, server_text = text.partition("->")
    icmp = _ICMP.fullmatch(server_text.strip())  # its type may have a slash of its own
    if icmp:
        head, protocol_text, kind_text = icmp["head"], icmp["protocol"], icmp["kind"]
    else:
        head, _, protocol_text = server_text.strip().rpartition("/")
        kind_text = ""
    if not (arrow and client_text.strip() and head and protocol_text):
        raise FlowError(_FORM, repr(text))
    protocol = _protocol(protocol_text)
    has_ports = protocol in spell.PORT_PROTOCOLS
    server_text, port = _split_port(head, text, known=_known(policy), required=has_ports)
    client_text, client_port = _split_port(client_text.strip(), text, known=_known(policy))
    if not has_ports and (port is not None or client_port is not None):
        raise FlowError(f"no port with {spell.protocol_name(protocol)}", repr(text))
    client = _end(client_text, policy, may_be_dns=False)
    server = _end(server_text, policy, may_be_dns=True)
    source, destination = _addresses(client, server, policy, protocol, text)
    if protocol in spell.ICMP_PROTOCOLS and len(source) == 16:
        protocol = 58
    flow = FlowTuple(
        source=source,
        destination=destination,
        protocol=protocol,
        source_port=client_port or 0,
        port=port or 0,
    )
    if protocol in spell.ICMP_PROTOCOLS:
        try:
            kind = spell.parse_icmp(kind_text or "echo-request", protocol)
        except Unfit as unfit:
            raise _unfit(unfit, text) from unfit
        flow = FlowTuple(
            source=source,
            destination=destination,
            protocol=protocol,
            icmp_type=kind.type,
            icmp_code=kind.code or 0,
        )
    if client.unit is not None and client.address is None:
        return StatedFlow(flow, client.unit, "egress", server.name)
    if server.unit is not None and server.address is None:
        return StatedFlow(flow, server.unit, "ingress", server.name)
    return StatedFlow(flow, destination_name=server.name)


def _protocol(text: str) -> int:
    try:
        number = spell.parse_protocol(int(text) if text.isascii() and text.isdigit() else text)
    except Unfit as unfit:
        raise _unfit(unfit, text) from unfit
    if number is None:
        raise FlowError("the one protocol of the flow", repr(text))
    return number


def _split_port(
    text: str, whole: str, *, known: frozenset[str], required: bool = False
) -> tuple[str, int | None]:
    """Take the port off an end; ``[...]`` stands around an IPv6 address that has one."""
    if text in known and not required:
        return text, None
    name, port = text, ""
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise FlowError("[ADDRESS]:PORT", repr(text))
        port = port[1:]
    elif text.count(":") == 1 or text.rpartition(":")[0] in known:
        name, _, port = text.rpartition(":")
    if port:
        if not (port.isascii() and port.isdigit() and int(port) <= 0xFFFF):
            raise FlowError(f"a port from 0 to 65535 after {name}", repr(port))
        return name.strip(), int(port)
    if required:
        near = " ([ADDRESS]:PORT for IPv6)" if ":" in text else ""
        raise FlowError(f"a port after the server{near}", repr(whole))
    return name.strip(), None


def _known(policy: Policy) -> frozenset[str]:
    return frozenset(
        [unit.id for unit in policy.units]
        + [peer.id for peer in policy.peers]
        + list(policy.networks)
    )


def _end(text: str, policy: Policy, *, may_be_dns: bool) -> _End:
    """Find out who is meant: an address, somebody in the policy, or a DNS name."""
    name, at, address_text = text.partition("@")
    if at and name:
        return _End(_address(address_text), name=_dns_name(name))
    if not at and _looks_like_address(text):
        return _End(_address(text))
    for unit in policy.units:
        if text in {unit.id, unit.context_id}:
            hosts = unit.select.addresses
            return _End(hosts[0].network, unit.id) if hosts else _End(None, unit.id)
    name = text.removeprefix("@")
    for peer in policy.peers:
        if peer.id == name:
            return _End(peer.addresses[0].network)
    if policy.networks.get(name):
        return _End(policy.networks[name][0].network)
    if may_be_dns and "." in text:
        return _End(None, name=_dns_name(text))
    near = nearest(text, sorted(_known(policy)))
    raise FlowError(
        "an address, or a unit, a peer or a network of the policy", repr(text), near or ""
    )


def _addresses(
    client: _End, server: _End, policy: Policy, protocol: int, text: str
) -> tuple[bytes, bytes]:
    """Give both addresses; somebody who has none gets one that rules say least about."""
    known = client.address or server.address
    width = len(known) if known else 16 if protocol == 58 else 4
    source = client.address or _nobody(policy, width, 0)
    destination = server.address or _nobody(policy, width, 1)
    if len(source) != len(destination):
        source, destination = _same_family(client, server, policy, source, destination)
    if len(source) != len(destination):
        raise FlowError("both ends of IPv4, or both of IPv6", repr(text))
    return source, destination


def _same_family(
    client: _End, server: _End, policy: Policy, source: bytes, destination: bytes
) -> tuple[bytes, bytes]:
    """Take another address of a unit that has both families."""
    for unit in policy.units:
        for prefix in unit.select.addresses:
            if unit.id == server.unit and len(prefix.network) == len(source):
                return source, prefix.network
            if unit.id == client.unit and len(prefix.network) == len(destination):
                return prefix.network, destination
    return source, destination


def _nobody(policy: Policy, width: int, offset: int) -> bytes:
    candidates = [spell.parse_prefix(text).network for text in _NOBODY[width]]
    prefixes = [prefix for prefix in _prefixes(policy) if len(prefix.network) == width]
    packed = min(candidates, key=lambda a: sum(prefix.contains(a) for prefix in prefixes))
    return (int.from_bytes(packed) + offset).to_bytes(width)


def _prefixes(policy: Policy) -> Iterator[Prefix]:
    for network in policy.networks.values():
        yield from network
    for peer in policy.peers:
        yield from peer.addresses
    for unit in policy.units:
        yield from unit.select.addresses
        for rule in (*unit.ingress, *unit.egress):
            for addresses in rule.addresses:
                yield from addresses.prefixes


def _looks_like_address(text: str) -> bool:
    return ":" in text or re.fullmatch(r"[0-9.]+", text) is not None


def _address(text: str) -> bytes:
    try:
        prefix = spell.parse_prefix(text)
    except Unfit as unfit:
        raise _unfit(unfit, text) from unfit
    if not prefix.is_host:
        raise FlowError("one address", f"the network {text}")
    return prefix.network


def _dns_name(text: str) -> str:
    try:
        name = spell.parse_dns_name(text)
    except Unfit as unfit:
        raise _unfit(unfit, text) from unfit
    if name.startswith("*"):
        raise FlowError("one name, as a flow goes to one", repr(text))
    return name


def _unfit(unfit: Unfit, text: str) -> FlowError:
    return FlowError(unfit.expected, unfit.found or repr(text), unfit.nearest)
