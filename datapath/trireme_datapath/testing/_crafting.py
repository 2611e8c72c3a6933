"""Packets from lines of text: ``tcp 10.0.0.1:40000 > 10.0.0.2:443 S``."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final

from trireme_datapath.packets import QueuedPacket
from trireme_datapath.policy.spellings import PROTOCOL_NAMES
from trireme_datapath.testing import _datagrams as datagrams

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ScriptError", "address_and_port", "craft"]

_FLAGS: Final = {letter: 1 << bit for bit, letter in enumerate("FSRPAUEC")}
_PORTS: Final = frozenset({"tcp", "udp", "udplite", "sctp", "dns"})
_NUMBERS: Final = {**PROTOCOL_NAMES, "dns": 17, "gre": 47, "esp": 50, "ah": 51, "ospf": 89}
_NUMBER_WORDS: Final = {
    "chunk": (0, 0xFF),
    "code": (0, 0xFF),
    "gid": (0, 0xFFFF_FFFF),
    "hook": (-1, 4),
    "id": (0, 0xFFFF),
    "mark": (0, 0xFFFF_FFFF),
    "size": (0, 0xFFFF),
    "ttl": (0, 0xFF),
    "type": (0, 0xFF),
    "uid": (0, 0xFFFF_FFFF),
}
_TEXT_WORDS: Final = frozenset({"answer", "data", "in", "out"})
_ECHO_REQUEST: Final = {4: 8, 6: 128}
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")
_DNS_TTL_SECONDS: Final = 300


class ScriptError(ValueError):
    """A line of a packet script cannot be read."""


def craft(text: str, *, packet_id: int = 0) -> QueuedPacket:
    """Make the packet that a line describes.

    Args:
        text: ``PROTOCOL SOURCE[:PORT] > DESTINATION[:PORT] [WORDS]``, with ``<`` for a packet that
            goes from right to left, or ``raw HEX [WORDS]``; the reference lists the words.
        packet_id: The number under which its verdict is wanted.

    Raises:
        ScriptError: The line cannot be read.
    """
    protocol, *words = text.split() or [""]
    if protocol == "raw":
        if not words or not _HEX.fullmatch(words[0]):
            raise ScriptError("expected hexadecimal digits after raw, two for each byte")
        flags, options = _options(words[1:])
        if flags:
            raise ScriptError(f"raw bytes have no flags, found {flags}")
        return _queued(bytes.fromhex(words[0]), options, packet_id)
    if len(words) < 3 or words[1] not in {">", "<"}:
        raise ScriptError(
            f"expected PROTOCOL SOURCE[:PORT] > DESTINATION[:PORT], found {text.strip()!r}"
        )
    near, arrow, far, *rest = words
    source, destination = (near, far) if arrow == ">" else (far, near)
    source_ip, source_port = address_and_port(source)
    destination_ip, destination_port = address_and_port(destination)
    if len(source_ip) != len(destination_ip):
        raise ScriptError("expected both addresses of IPv4, or both of IPv6")
    if protocol not in _PORTS and (source_port or destination_port):
        raise ScriptError(f"{protocol} has no ports")
    version = 6 if len(source_ip) == 16 else 4
    number = _protocol("icmpv6" if protocol == "icmp" and version == 6 else protocol)
    name, rest = _dns_name(protocol, rest)
    flags, options = _options(rest)
    if flags and protocol != "tcp":
        raise ScriptError(f"expected words of the form name=value, found {flags}")
    data = str(options.get("data", "")).encode()
    payload = _dns_message(name, options) if name else data
    head = _transport(
        number, (source_port, destination_port), flags, options, payload, version=version
    )
    if "size" in options:
        length = (40 if version == 6 else 20) + len(head)
        if int(options["size"]) < length:
            raise ScriptError(f"the packet has {length} bytes without padding, above its size")
        head += bytes(int(options["size"]) - length)
        if number in {17, 136}:
            head = head[:4] + struct.pack("!H", len(head)) + head[6:]
    data = datagrams.ip_datagram(
        source_ip, destination_ip, number, head, hop_limit=int(options.get("ttl", 64))
    )
    return _queued(data, options, packet_id)


def address_and_port(text: str) -> tuple[bytes, int]:
    """Read ``10.0.0.1:80``, ``[2001:db8::1]:80`` or an address without a port (0).

    Raises:
        ScriptError: It is none of these.
    """
    address, port = text, ""
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ScriptError(f"expected [ADDRESS]:PORT, found {text!r}")
        port = port[1:]
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    try:
        packed = datagrams.pack(address)
    except (OSError, ValueError):
        raise ScriptError(f"expected an address, found {address!r}") from None
    if port and not (port.isascii() and port.isdigit() and int(port) <= 0xFFFF):
        raise ScriptError(f"expected a port from 0 to 65535, found {port!r}")
    return packed, int(port or 0)


def _protocol(name: str) -> int:
    if name.isascii() and name.isdigit() and int(name) <= 0xFF:
        return int(name)
    if name not in _NUMBERS:
        known = ", ".join([*_NUMBERS, "raw"])
        raise ScriptError(f"expected a protocol: {known} or a number to 255, found {name!r}")
    return _NUMBERS[name]


def _options(words: list[str]) -> tuple[str, dict[str, str | int]]:
    """Take the words apart: TCP flags, and what has a name."""
    flags = ""
    options: dict[str, str | int] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            if not set(word) <= _FLAGS.keys():
                raise ScriptError(f"expected TCP flags of {''.join(_FLAGS)}, found {word!r}")
            flags += word
        elif name in _NUMBER_WORDS:
            options[name] = _number(name, value)
        elif name in _TEXT_WORDS:
            options[name] = value
        else:
            known = ", ".join(sorted({*_NUMBER_WORDS, *_TEXT_WORDS}))
            raise ScriptError(f"expected one of the words {known}, found {word!r}")
    return flags, options


def _number(name: str, value: str) -> int:
    try:
        number = int(value, 0)
    except ValueError:
        raise ScriptError(f"expected a number as {name}, found {value!r}") from None
    low, high = _NUMBER_WORDS[name]
    if not low <= number <= high:
        raise ScriptError(f"expected a number from {low} to {high} as {name}, found {value!r}")
    return number


def _transport(
    number: int,
    ports: tuple[int, int],
    flags: str,
    options: Mapping[str, str | int],
    payload: bytes,
    *,
    version: int,
) -> bytes:
    if number == datagrams.TCP:
        bits = sum(_FLAGS[letter] for letter in set(flags or "S"))
        return datagrams.tcp_segment(*ports, bits, payload)
    if number in {datagrams.UDP, datagrams.UDPLITE}:
        return datagrams.udp_datagram(*ports, payload)
    if number == datagrams.SCTP:
        chunk = int(options.get("chunk", 1))
        return datagrams.sctp_packet(*ports, chunk, payload or (b"x" if chunk == 0 else b""))
    if number in {datagrams.ICMP, datagrams.ICMPV6}:
        kind = int(options.get("type", _ECHO_REQUEST[version]))
        code, identifier = int(options.get("code", 0)), int(options.get("id", 7))
        return datagrams.icmp_echo(kind, identifier, payload, code=code)
    return payload or b"payload"


def _queued(data: bytes, options: Mapping[str, str | int], packet_id: int) -> QueuedPacket:
    uid, gid = options.get("uid"), options.get("gid")
    return QueuedPacket(
        data=data,
        hook=int(options.get("hook", -1)),
        indev=str(options.get("in", "")),
        outdev=str(options.get("out", "")),
        mark=int(options.get("mark", 0)),
        uid=None if uid is None else int(uid),
        gid=None if gid is None else int(gid),
        packet_id=packet_id,
    )


def _dns_name(protocol: str, words: list[str]) -> tuple[str, list[str]]:
    if protocol != "dns":
        return "", words
    if not words or "=" in words[0]:
        raise ScriptError("expected the name that is looked up, after the addresses")
    return words[0], words[1:]


def _dns_message(name: str, options: Mapping[str, str | int]) -> bytes:
    """Make a query for a name, or, with an answer, the response (RFC 1035 section 4)."""
    answers = [address_and_port(one)[0] for one in str(options.get("answer", "")).split(",") if one]
    labels = name.rstrip(".").split(".")
    if not all(0 < len(label) < 64 and label.isascii() for label in labels):
        raise ScriptError(f"expected a DNS name, found {name!r}")
    kinds = {4: 1, 16: 28}  # A and AAAA
    kind = kinds[len(answers[0])] if answers else 1
    question = b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"
    message = struct.pack("!HHHHHH", 1, 0x8180 if answers else 0x0100, 1, len(answers), 0, 0)
    message += question + struct.pack("!HH", kind, 1)
    for address in answers:
        head = (0xC00C, kinds[len(address)], 1, _DNS_TTL_SECONDS, len(address))
        message += struct.pack("!HHHIH", *head) + address
    return message
