"""Hypothesis strategies for packets, sound and malformed.

It needs the package hypothesis: ``pip install "trireme-collector[testing]"``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from trireme_datapath.packet import Malformed, decode
from trireme_datapath.packets import Hook, QueuedPacket
from trireme_datapath.testing import _datagrams as datagrams

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        "trireme_datapath.testing.strategies needs the package hypothesis:"
        ' pip install "trireme-collector[testing]"',
        name="hypothesis",
    ) from error

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Literal

__all__ = ["PROTOCOLS", "addresses", "malformed_packets", "packets", "queued_packets"]

PROTOCOLS: Final = (1, 6, 17, 47, 58, 132, 136)
"""The protocols that `packets` draws: those whose headers are read, and GRE for all others."""

_PORTS: Final = st.integers(0, 0xFFFF)
_ERRORS: Final = {1: (3, 11, 12), 58: (1, 2, 3, 4)}
_QUERIES: Final = {1: (0, 8, 13, 14), 58: (128, 129)}
_MAPPED: Final = bytes(10) + b"\xff\xff"


def addresses(version: Literal[4, 6]) -> st.SearchStrategy[bytes]:
    """Give a strategy for packed addresses, none of them an IPv4 address inside IPv6."""
    size = 4 if version == 4 else 16
    return st.binary(min_size=size, max_size=size).filter(lambda a: a[:12] != _MAPPED)


def packets(
    *, version: Literal[4, 6] | None = None, protocols: Collection[int] = PROTOCOLS
) -> st.SearchStrategy[bytes]:
    """Give a strategy for IP datagrams that are sound: lengths and checksums are right.

    There are TCP segments with any flags, ICMP queries and errors that quote a packet, IPv4
    options, and payloads of up to 64 bytes.

    Args:
        version: 4 or 6; both when it is not given.
        protocols: Protocol numbers to choose from.
    """
    return _packets(version, tuple(protocols))


def malformed_packets(
    *, version: Literal[4, 6] | None = None, protocols: Collection[int] = PROTOCOLS
) -> st.SearchStrategy[bytes]:
    """Give a strategy for datagrams that the decoder refuses: cut, with wrong lengths, or no IP.

    Args:
        version: Of which version the datagram was before it was spoilt.
        protocols: Protocol numbers to choose from.
    """
    return _spoilt(version, tuple(protocols)).filter(
        lambda data: isinstance(decode(data), Malformed)
    )


def queued_packets(
    data: st.SearchStrategy[bytes] | None = None,
) -> st.SearchStrategy[QueuedPacket]:
    """Give a strategy for packets as a queue hands them over, from any hook, with any mark.

    Args:
        data: The strategy for the datagram; `packets` when it is not given.
    """
    names = st.sampled_from(["", "eth0", "veth1"])
    owners = st.none() | st.integers(0, 0xFFFF_FFFF)
    return st.builds(
        QueuedPacket,
        data=packets() if data is None else data,
        hook=st.sampled_from(Hook).map(int),
        indev=names,
        outdev=names,
        mark=st.integers(0, 0xFFFF_FFFF),
        uid=owners,
        gid=owners,
    )


@st.composite
def _packets(
    draw: st.DrawFn, version: Literal[4, 6] | None, protocols: tuple[int, ...], *, depth: int = 0
) -> bytes:
    family: Literal[4, 6] = 6
    if version == 4 or (version is None and draw(st.booleans())):
        family = 4
    # ICMP belongs to one version each: in the other it is a protocol like any other.
    alien = 58 if family == 4 else 1
    protocol = draw(st.sampled_from([p for p in protocols if p != alien] or list(protocols)))
    source, destination = draw(addresses(family)), draw(addresses(family))
    body = draw(_transport(family, protocol, depth))
    options = b""
    if family == 4:
        options = b"\x01" * (4 * draw(st.integers(0, 2)))  # no operation
    return datagrams.ip_datagram(
        source,
        destination,
        protocol,
        body,
        identification=draw(_PORTS),
        hop_limit=draw(st.integers(1, 255)),
        options=options,
    )


@st.composite
def _transport(draw: st.DrawFn, version: Literal[4, 6], protocol: int, depth: int) -> bytes:
    payload = draw(st.binary(max_size=64))
    ports = draw(_PORTS), draw(_PORTS)
    if protocol == datagrams.TCP:
        sequence = draw(st.integers(0, 0xFFFF_FFFF))
        return datagrams.tcp_segment(*ports, draw(st.integers(0, 0xFF)), payload, sequence=sequence)
    if protocol in {datagrams.UDP, datagrams.UDPLITE}:
        return datagrams.udp_datagram(*ports, payload)
    if protocol == datagrams.SCTP:
        return datagrams.sctp_packet(*ports, draw(st.integers(0, 14)), payload)
    if protocol not in _QUERIES:
        return payload
    if depth == 0 and draw(st.booleans()):
        quoted = draw(_packets(version, PROTOCOLS, depth=1))
        return datagrams.icmp_error(draw(st.sampled_from(_ERRORS[protocol])), 0, quoted)
    kind = draw(st.sampled_from(_QUERIES[protocol]))
    if kind in {13, 14}:
        payload = bytes(12)  # three times of day (RFC 792)
    return datagrams.icmp_echo(kind, draw(_PORTS), payload)


@st.composite
def _spoilt(draw: st.DrawFn, version: Literal[4, 6] | None, protocols: tuple[int, ...]) -> bytes:
    data = bytearray(draw(_packets(version, protocols)))
    way = draw(st.sampled_from(("cut", "version", "length", "header", "transport")))
    if way == "cut":
        return bytes(data[: draw(st.integers(0, len(data) - 1))])
    is_ipv4 = data[0] >> 4 == 4
    if way == "version":
        data[0] = draw(st.sampled_from([n for n in range(16) if n not in {4, 6}])) << 4
    elif way == "length":
        at = 2 if is_ipv4 else 4
        data[at : at + 2] = struct.pack("!H", draw(st.integers(len(data) + 1, 0xFFFF)))
    elif way == "header" and is_ipv4:
        data[0] = 4 << 4 | draw(st.integers(0, 4))
    else:
        start = (data[0] & 0x0F) * 4 if is_ipv4 else 40
        cut = draw(st.integers(0, 3))
        data = data[: start + cut]
        at, length = (2, len(data)) if is_ipv4 else (4, cut)
        data[at : at + 2] = struct.pack("!H", length)
    return bytes(data)
