"""How Go writes addresses and JSON."""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["encode_verbose", "escape_json", "ip_text", "json_text", "quoted"]

# Go's encoder keeps these out of JSON, so that it can stand in a page.
_ESCAPED = {c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_TO_ESCAPE = re.compile("[<>&\u2028\u2029]")
# Bytes that are no UTF-8 travel in strings as lone surrogates.
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_QUOTED = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}
_MAPPED = bytes(10) + b"\xff\xff"
_FORMS = msgspec.json.Encoder()
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def ip_text(packed: bytes) -> str:
    """Write an address of 4 or 16 bytes; an IPv4 address within IPv6 as the IPv4 address.

    Nothing is ``<nil>``; another length is a question mark and the bytes, as Go has it.
    """
    if len(packed) == 4:
        return socket.inet_ntoa(packed)
    if len(packed) != 16:
        return f"?{packed.hex()}" if packed else "<nil>"
    if packed.startswith(_MAPPED):
        return socket.inet_ntoa(packed[12:])
    text = socket.inet_ntop(socket.AF_INET6, packed)
    if "." in text:
        # The C library writes the last 32 bits as IPv4 where all others are zero.
        high, low = int.from_bytes(packed[12:14], "big"), int.from_bytes(packed[14:], "big")
        return f"::{high:x}:{low:x}"
    return text


def escape_json(text: str) -> str:
    """Escape in finished JSON what Go's encoder escapes beyond the standard."""
    return _TO_ESCAPE.sub(lambda found: _ESCAPED[found[0]], text)


def json_text(value: Mapping[str, object] | list[object] | str | int | None) -> str:
    """Write a value as Go's encoder does."""
    return _NOT_UTF8.sub(r"\\ufffd", escape_json(_ENCODER.encode(value)))


def encode_verbose(form: msgspec.Struct) -> str:
    """Write a JSON form as one line."""
    return escape_json(_FORMS.encode(form).decode()) + "\n"


def quoted(text: str) -> str:
    """Quote a text as Go's ``%q`` does; nothing that cannot be printed is left in it."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_quoted_character, text)) + '"'


def _quoted_character(character: str) -> str:
    known = _QUOTED.get(character)
    if known is not None:
        return known
    if character.isprintable():
        return character
    number = ord(character)
    if number < 0x80 or 0xDC80 <= number <= 0xDCFF:
        # The second are bytes that are no UTF-8.
        return f"\\x{number & 0xFF:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
