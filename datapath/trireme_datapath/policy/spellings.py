"""The small notations of a policy file: networks, ports, protocols, ICMP types, marks, tags.

Each function turns one text (or number) into its meaning, or raises `Unfit` that says what
would be right. They never look at anything but their argument.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from trireme_collector.strict_toml import Unfit, nearest, quote
from trireme_datapath.policy._icmp import ICMP_CODES, ICMP_TYPES
from trireme_datapath.policy.model import IcmpMatch, MarkMatch, PortRange, Prefix

__all__ = [
    "ICMP_PROTOCOLS",
    "PORT_PROTOCOLS",
    "PROTOCOL_NAMES",
    "check_identifier",
    "check_word",
    "parse_cgroup",
    "parse_dns_name",
    "parse_icmp",
    "parse_interface",
    "parse_mark",
    "parse_ports",
    "parse_prefix",
    "parse_protocol",
    "parse_tag",
    "protocol_name",
]

PROTOCOL_NAMES = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132, "udplite": 136}
PORT_PROTOCOLS = frozenset({6, 17, 132, 136})
ICMP_PROTOCOLS = frozenset({1, 58})
_OTHER_NAMES = {"icmp6": "icmpv6", "ipv6-icmp": "icmpv6", "udp-lite": "udplite", "all": "any"}
_NUMBER = re.compile(r"[0-9]{1,10}")
_LENGTH = re.compile(r"[0-9]{1,3}")
_RANGE = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")
_HEX_OR_DECIMAL = r"(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})"
_MARK = re.compile(f"{_HEX_OR_DECIMAL}(?:/{_HEX_OR_DECIMAL})?")
_PREFIX_EXPECTED = "an IPv4 or IPv6 address or network such as 10.0.0.0/8 or 2001:db8::/32"
_PORT_EXPECTED = 'a port from 0 to 65535, or a range such as "8000-8080"'
_MARK_EXPECTED = 'a mark such as 256, "0x100" or "0x100/0xff00", of 32 bits'
_MAPPED = bytes(10) + b"\xff\xff"
_MAX_MARK = 0xFFFFFFFF
_MAX_INTERFACE = 15  # IFNAMSIZ of linux/if.h, less the closing zero
_MAX_IDENTIFIER = 255
_DNS_NAME = re.compile(r"(?:\*\.)?(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
_MAX_DNS_NAME = 253  # RFC 1035 section 2.3.4, without the lengths of the first label and the root


def parse_prefix(text: str) -> Prefix:
    """Read an address or a network; an address alone is /32 or /128."""
    address, slash, length_text = text.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        network = socket.inet_pton(family, address)
    except (OSError, ValueError):
        raise Unfit(_PREFIX_EXPECTED, found=_why_not_an_address(address)) from None
    bits = len(network) * 8
    if not slash:
        length = bits
    elif _LENGTH.fullmatch(length_text) and int(length_text) <= bits:
        length = int(length_text)
    else:
        raise Unfit(f"a prefix length from 0 to {bits}", found=f"length {quote(length_text)}")
    if network[:12] == _MAPPED and bits == 128:
        plain = socket.inet_ntop(socket.AF_INET, network[12:])
        raise Unfit("the IPv4 form", found="an IPv4 address inside IPv6", nearest=quote(plain))
    shift = bits - length
    number = int.from_bytes(network)
    if number >> shift << shift != number:
        right = Prefix((number >> shift << shift).to_bytes(bits // 8), length)
        found = f"{quote(text)} with bits beyond its length"
        raise Unfit("a network address", found=found, nearest=quote(str(right)))
    return Prefix(network, length)


def _why_not_an_address(address: str) -> str:
    if "%" in address:
        return f"{quote(address)} with a zone"
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        if address.count(".") == 3 or ":" in address:
            return f"{quote(address)} ({str(error).replace(repr(address), 'it')})"
    return quote(address)


def parse_ports(value: int | str) -> PortRange:
    """Read a port or a range of ports, both ends included."""
    if isinstance(value, int):
        first = last = value
    else:
        match = _RANGE.fullmatch(value)
        if match is None:
            colon = value.replace(":", "-")
            near = quote(colon) if colon != value and _RANGE.fullmatch(colon) else ""
            raise Unfit(_PORT_EXPECTED, nearest=near)
        first = int(match[1])
        last = int(match[2] or match[1])
    if not (0 <= first <= 0xFFFF and 0 <= last <= 0xFFFF):
        raise Unfit(_PORT_EXPECTED)
    if first > last:
        near = quote(f"{last}-{first}")
        found = f"a reversed range {first}-{last}"
        raise Unfit("a range from low to high", found=found, nearest=near)
    return PortRange(first=first, last=last)


def parse_protocol(value: int | str) -> int | None:
    """Read a protocol name or number; None is any protocol."""
    names = [*PROTOCOL_NAMES, "any"]
    expected = "one of " + ", ".join(quote(name) for name in names) + " or a number from 0 to 255"
    if isinstance(value, str):
        if value == "any":
            return None
        if value not in PROTOCOL_NAMES:
            near = _OTHER_NAMES.get(value.lower()) or nearest(value.lower(), names)
            raise Unfit(expected, nearest=quote(near) if near else "")
        return PROTOCOL_NAMES[value]
    if not 0 <= value <= 255:
        raise Unfit(expected)
    return value


def protocol_name(number: int) -> str:
    """Write a protocol as in the file."""
    return next((name for name, known in PROTOCOL_NAMES.items() if known == number), str(number))


def parse_icmp(value: int | str, protocol: int) -> IcmpMatch:
    """Read an ICMP type, by number or name, with or without ``/code``."""
    family = protocol_name(protocol)
    text = str(value)
    type_text, slash, code_text = text.partition("/")
    names = ICMP_TYPES[protocol]
    expected = f'a type of {family} from 0 to 255, or its name, such as "echo-request" or "3/4"'
    number = names.get(type_text)
    if number is None:
        if not _NUMBER.fullmatch(type_text) or int(type_text) > 255:
            near = nearest(type_text, names)
            raise Unfit(expected, nearest=quote(near + slash + code_text) if near else "")
        number = int(type_text)
    if not slash:
        return IcmpMatch(protocol=protocol, type=number)
    codes = ICMP_CODES.get((protocol, number), {})
    code = codes.get(code_text)
    if code is None:
        if not _NUMBER.fullmatch(code_text) or int(code_text) > 255:
            near = nearest(code_text, codes)
            hint = quote(f"{type_text}/{near}") if near else ""
            raise Unfit(f"a code of {family} from 0 to 255 or its name", nearest=hint)
        code = int(code_text)
    return IcmpMatch(protocol=protocol, type=number, code=code)


def parse_mark(value: int | str) -> MarkMatch:
    """Read a packet mark with or without ``/mask``."""
    mask = _MAX_MARK
    if isinstance(value, int):
        mark = value
    else:
        match = _MARK.fullmatch(value)
        if match is None:
            raise Unfit(_MARK_EXPECTED)
        mark = _number(match[1])
        mask = _number(match[2]) if match[2] else mask
    if not (0 <= mark <= _MAX_MARK and 0 <= mask <= _MAX_MARK):
        raise Unfit(_MARK_EXPECTED)
    if not mask:
        raise Unfit("a mask with at least one bit", found="a mask without any bit")
    if mark & ~mask:
        found = f"the mark {mark:#x} with bits outside of the mask {mask:#x}"
        near = quote(f"{mark:#x}/{mark | mask:#x}")
        raise Unfit("a mark inside its mask", found=found, nearest=near)
    return MarkMatch(value=mark, mask=mask)


def parse_dns_name(text: str) -> str:
    """Read a DNS name, or ``*.`` and the name that others are below; case does not count."""
    name = text.lower().removesuffix(".")
    if len(name) > _MAX_DNS_NAME or not _DNS_NAME.fullmatch(name):
        raise Unfit(
            'a DNS name such as "dns:api.example.com" or "dns:*.example.com"; others than ASCII'
            " letters are written as xn--"
        )
    return name


def _number(text: str) -> int:
    return int(text, 16) if text[:2] in {"0x", "0X"} else int(text)


def parse_interface(text: str) -> str:
    """Check the name of a network interface; patterns are not names."""
    if text.endswith(("+", "*")):
        raise Unfit("the whole name of an interface", found=f"the pattern {quote(text)}")
    bad = any(c.isspace() or c in "/:" or not c.isprintable() for c in text)
    if bad or text in {"", ".", ".."} or len(text.encode()) > _MAX_INTERFACE:
        raise Unfit(f"the name of an interface, of 1 to {_MAX_INTERFACE} bytes")
    return text


def parse_cgroup(text: str) -> str:
    """Read the path of a control group below the root of its hierarchy."""
    parts = text.strip("/").split("/")
    if any(part in {"", ".", ".."} or not part.isprintable() for part in parts):
        raise Unfit('the path of a control group such as "system.slice/web.service"')
    return "/".join(parts)


def parse_tag(text: str) -> str:
    """Check a tag of the form ``key=value``, neither of them empty."""
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise Unfit('a tag such as "app=web"')
    return check_word(text)


def check_word(text: str) -> str:
    """Check a text that ends up in records: printable, without blanks at its ends."""
    if not text or text != text.strip() or not text.isprintable():
        raise Unfit("a printable text that neither begins nor ends with a blank")
    return text


def check_identifier(text: str) -> str:
    """Check the id of something: a word of reasonable length."""
    if len(text) > _MAX_IDENTIFIER:
        raise Unfit(f"an id of 1 to {_MAX_IDENTIFIER} characters")
    return check_word(text)
