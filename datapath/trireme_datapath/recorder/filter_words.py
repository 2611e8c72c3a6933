"""Filters as people write them on a command line.

One argument is one filter::

    10.0.0.0/8:443 tcp            to or from that network and port, both ways
    10.0.0.0/8 -> 192.0.2.1:80    only from the first to the second
    [2001:db8::/32]:53 udp        IPv6 with a port in brackets
    :53                           a port of any address, IPv4 and IPv6
    icmp                          a protocol alone
    any                           everything

An address without a prefix length is that host alone. The five words of ``hubble record``
(``10.0.0.0/8 0 0.0.0.0/0 443 TCP``) mean here what they mean there: one direction.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from trireme_datapath.recorder._errors import RecorderError
from trireme_datapath.recorder.filters import (
    PORT_PROTOCOLS,
    CaptureFilter,
    build_filter,
    quoted,
)

if TYPE_CHECKING:
    from trireme_datapath.recorder.filters import Network

__all__ = ["PROTOCOL_NAMES", "parse_filter_words"]

PROTOCOL_NAMES: Final = {
    "any": 0,
    "icmp": 1,
    "igmp": 2,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "sctp": 132,
    "udplite": 136,
}
"""Protocols by name; any other is written as its number."""

_ANY: Final[dict[int, Network]] = {
    4: ipaddress.ip_network("0.0.0.0/0"),
    6: ipaddress.ip_network("::/0"),
}
# Protocols that exist in one version only.
_VERSION_OF: Final = {1: 4, 2: 4, 58: 6}
_MAX_WORDS: Final = 200
_ARROW: Final = "->"
_BRACKETS: Final = re.compile(r"\[([^\]]*)\](?::(\d+))?", re.ASCII)
_V4_PORT: Final = re.compile(r"([^:]*):(\d+)", re.ASCII)
_HUBBLE_WORDS: Final = 5


class _End(NamedTuple):
    network: Network | None
    port: int


def parse_filter_words(text: str) -> tuple[CaptureFilter, ...]:
    """Read one filter; it may become several, one for each direction and IP version.

    Raises:
        RecorderError: It cannot be understood; the message says what is expected.
    """
    words = text.replace(_ARROW, f" {_ARROW} ").split()
    if not words or len(text) > _MAX_WORDS:
        raise _mistake(text, "it is empty" if not words else "it is too long")
    if len(words) == _HUBBLE_WORDS and _is_number(words[1]) and _is_number(words[3]):
        return (_hubble(text, words),)
    protocol = 0
    if words[-1].lower() in PROTOCOL_NAMES or _is_number(words[-1]):
        protocol = _protocol(text, words.pop())
    if _ARROW in words:
        if len(words) != 3 or words[1] != _ARROW:
            raise _mistake(text, "an arrow stands between two ends")
        source, destination = _end(text, words[0]), _end(text, words[2])
        return tuple(_between(text, source, destination, protocol))
    if len(words) > 1:
        raise _mistake(text, f"{quoted(words[1])} is no protocol")
    if not words:
        return tuple(_between(text, _End(None, 0), _End(None, 0), protocol))
    one = _end(text, words[0])
    there = _between(text, one, _End(None, 0), protocol)
    back = _between(text, _End(None, 0), one, protocol)
    return tuple(dict.fromkeys((*there, *back)))


def _between(text: str, source: _End, destination: _End, protocol: int) -> list[CaptureFilter]:
    given = [one.network.version for one in (source, destination) if one.network is not None]
    if len(set(given)) > 1:
        raise _mistake(text, "one end is IPv4, the other IPv6")
    if protocol and protocol not in PORT_PROTOCOLS and (source.port or destination.port):
        raise _mistake(text, "that protocol has no ports")
    if given and _VERSION_OF.get(protocol, given[0]) != given[0]:
        raise _mistake(text, f"that protocol is not one of IPv{given[0]}")
    versions: list[int] = list(given[:1])
    if not versions:
        versions = [_VERSION_OF[protocol]] if protocol in _VERSION_OF else [4, 6]
    return [
        CaptureFilter(
            source=source.network or _ANY[version],
            destination=destination.network or _ANY[version],
            source_port=source.port,
            destination_port=destination.port,
            protocol=protocol,
        )
        for version in versions
    ]


def _end(text: str, word: str) -> _End:
    """Read one end: a network, a port, or both."""
    # More than one colon without brackets is an IPv6 address.
    found = _BRACKETS.fullmatch(word) or (_V4_PORT.fullmatch(word) if word.count(":") < 2 else None)
    address, port = found.groups() if found else (word, None)
    number = int(port[:6]) if port else 0
    if port is not None and not 1 <= number <= 65_535:
        raise _mistake(text, f"port {port[:20]} is not from 1 to 65535")
    if address in {"", "*", "any"}:
        return _End(None, number)
    if "%" in address or ((prefix := address.partition("/")[2]) and not _is_number(prefix)):
        raise _mistake(text, f"{quoted(address)} is no network")
    try:
        network = ipaddress.ip_network(address, strict=False)
    except ValueError:
        raise _mistake(text, f"{quoted(address)} is no network") from None
    return _End(network, number)


def _protocol(text: str, word: str) -> int:
    known = PROTOCOL_NAMES.get(word.lower())
    if known is not None:
        return known
    number = int(word[:4])
    if not 1 <= number <= 255:
        raise _mistake(text, f"there is no protocol {word[:20]}")
    return number


def _hubble(text: str, words: list[str]) -> CaptureFilter:
    source, source_port, destination, destination_port, protocol = words
    name = protocol.lower()
    if name not in PROTOCOL_NAMES:
        raise _mistake(text, f"{quoted(protocol)} is no protocol")
    return build_filter(
        source,
        destination,
        int(source_port[:6]),
        int(destination_port[:6]),
        PROTOCOL_NAMES[name],
    )


def _is_number(word: str) -> bool:
    # There are digits that are no numbers, and others that few can read.
    return word.isascii() and word.isdigit()


def _mistake(text: str, why: str) -> RecorderError:
    return RecorderError(
        f"filter {quoted(text[:_MAX_WORDS])}: {why}; write for example '10.0.0.0/8:443 tcp',"
        " '192.0.2.1 -> 192.0.2.2', '[2001:db8::/32]:53 udp', 'icmp' or 'any'"
    )
