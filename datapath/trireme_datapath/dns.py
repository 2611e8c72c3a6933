"""The DNS decoder: bytes of one message in, `DNSMessage` or `MalformedDNS` out.

It reads what is needed to know who asked for which name and what came back: the header, the
question, and of the answers the addresses and aliases. It is total: no bytes make it raise, and
its cost is bounded by the limits below. RFC 1035 has the format, RFC 3596 the addresses of IPv6.
"""

from __future__ import annotations

import enum
from struct import Struct as Layout
from typing import Final

from msgspec import Struct

__all__ = [
    "MAX_ANSWERS",
    "MAX_NAME_STEPS",
    "DNSAnswer",
    "DNSMessage",
    "DNSReason",
    "DNSType",
    "MalformedDNS",
    "decode_dns",
    "rcode_name",
]

MAX_ANSWERS: Final = 256
"""Answers that are read; 4,096 bytes, the most that resolvers ask for over UDP, hold no more."""
MAX_NAME_STEPS: Final = 4_096
"""Labels and pointers that are followed in one message: sixteen for each answer."""

_MAX_NAME_BYTES: Final = 255  # RFC 1035 section 2.3.4, lengths and the root included
_MAX_POINTERS: Final = 126  # more than a name has labels
_POINTER: Final = 0xC0
_INTERNET: Final = 1
_RESPONSE, _TRUNCATED = 0x8000, 0x0200

_HEADER: Final = Layout(">HHHHHH")
_QUESTION: Final = Layout(">HH")
_RECORD: Final = Layout(">HHIH")

# RFC 1035 section 5.1: what a label may not hold as it is when a name is written as text.
_QUOTED: Final = frozenset(b'."();\\@$')
_PLAIN: Final = bytes(one for one in range(0x21, 0x7F) if one not in _QUOTED)

_RCODES: Final = {
    0: "NOERROR",
    1: "FORMERR",
    2: "SERVFAIL",
    3: "NXDOMAIN",
    4: "NOTIMP",
    5: "REFUSED",
    6: "YXDOMAIN",
    7: "YXRRSET",
    8: "NXRRSET",
    9: "NOTAUTH",
    10: "NOTZONE",
    11: "DSOTYPENI",
}


class DNSType(enum.IntEnum):
    """The types of records that are read."""

    A = 1
    CNAME = 5
    AAAA = 28
    ANY = 255


class DNSReason(enum.StrEnum):
    """Why a message could not be read; the set is closed and the values are stable."""

    TRUNCATED = "truncated"
    """The message ends before what it announces."""
    QUESTION_COUNT = "question-count"
    """There are several questions, which nobody sends (RFC 9619)."""
    LABEL_TYPE = "label-type"
    """A label begins with the reserved bits 01 or 10."""
    NAME_LENGTH = "name-length"
    """A name is longer than 255 bytes."""
    POINTER = "pointer"
    """A compression pointer does not point back."""
    NAME_STEPS = "name-steps"
    """The names together have more labels and pointers than `MAX_NAME_STEPS`."""
    ADDRESS_LENGTH = "address-length"
    """An address has not the length of its type."""
    ALIAS_LENGTH = "alias-length"
    """The name in an alias does not fill it."""


class DNSAnswer(Struct, frozen=True, kw_only=True, gc=False):
    """An address or an alias.

    Attributes:
        name: Whose.
        type: A number of `DNSType`: A, AAAA or CNAME.
        ttl_seconds: How long it may be remembered.
        address: The packed address; empty for an alias.
        alias: The other name; empty for an address.
    """

    name: str
    type: int
    ttl_seconds: int
    address: bytes = b""
    alias: str = ""


class DNSMessage(Struct, frozen=True, kw_only=True, gc=False):
    r"""One message.

    Names are in lower case, because they are compared so (RFC 4343), end with a dot, and have what
    is not printable as ``\DDD``.

    Attributes:
        identifier: The number that joins an answer with its question.
        is_response: Whether it answers.
        opcode: What is asked for; 0 is a look-up.
        rcode: How it went, as the header has it.
        truncated: Whether the server left out what did not fit.
        name: The name in question; empty when the message has no question.
        type: The type of records in question.
        record_class: Their class, 1 for the Internet.
        answers: The addresses and aliases of an answer; at most `MAX_ANSWERS` records are read.
        complete: Whether all answers were read.
    """

    identifier: int
    is_response: bool
    opcode: int
    rcode: int
    truncated: bool
    name: str = ""
    type: int = 0
    record_class: int = 0
    answers: tuple[DNSAnswer, ...] = ()
    complete: bool = True


class MalformedDNS(Struct, frozen=True, kw_only=True, gc=False):
    """Bytes that are no message.

    Attributes:
        reason: What is wrong.
        offset: Where.
    """

    reason: DNSReason
    offset: int


def rcode_name(rcode: int) -> str:
    """Give the name of a response code: ``NXDOMAIN``, or ``RCODE12`` for one without."""
    return _RCODES.get(rcode, f"RCODE{rcode}")


def decode_dns(data: bytes, *, cut: bool = False) -> DNSMessage | MalformedDNS:
    """Read one message; never raises for any bytes.

    Args:
        data: The message, without the length that goes before it in TCP.
        cut: Whether bytes are missing at its end: what is there is read, if that is more than the
            question.
    """
    if len(data) < _HEADER.size:
        return MalformedDNS(reason=DNSReason.TRUNCATED, offset=len(data))
    identifier, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if questions > 1:
        return MalformedDNS(reason=DNSReason.QUESTION_COUNT, offset=4)
    name, kind, record_class = "", 0, 0
    reader = _Reader(data)
    found: list[DNSAnswer] = []
    try:
        if questions:
            name, offset = reader.name(_HEADER.size)
            kind, record_class = reader.unpack(_QUESTION, offset)
            reader.offset = offset + _QUESTION.size
        complete = True
        if flags & _RESPONSE:
            complete = _read_answers(reader, answers, found, cut=cut or bool(flags & _TRUNCATED))
    except _UnsoundError as error:
        return MalformedDNS(reason=error.reason, offset=error.offset)
    return DNSMessage(
        identifier=identifier,
        is_response=bool(flags & _RESPONSE),
        opcode=flags >> 11 & 0xF,
        rcode=flags & 0xF,
        truncated=bool(flags & _TRUNCATED),
        name=name,
        type=kind,
        record_class=record_class,
        answers=tuple(found),
        complete=complete,
    )


def _read_answers(reader: _Reader, count: int, found: list[DNSAnswer], *, cut: bool) -> bool:
    """Read answers into a list; say whether that were all."""
    try:
        for _ in range(min(count, MAX_ANSWERS)):
            answer = reader.answer()
            if answer is not None:
                found.append(answer)
    except _UnsoundError as error:
        if cut and error.reason is DNSReason.TRUNCATED:
            return False
        raise
    return count <= MAX_ANSWERS


class _UnsoundError(Exception):
    def __init__(self, reason: DNSReason, offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class _Reader:
    """Reads the parts of one message one after the other."""

    __slots__ = ("_data", "_known", "_steps", "offset")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._known: dict[int, str] = {}  # names by where they begin: answers point to them
        self._steps = MAX_NAME_STEPS
        self.offset = _HEADER.size

    def unpack(self, layout: Layout, offset: int) -> tuple[int, ...]:
        if offset + layout.size > len(self._data):
            raise _UnsoundError(DNSReason.TRUNCATED, offset)
        return layout.unpack_from(self._data, offset)

    def answer(self) -> DNSAnswer | None:
        """Read a record and step behind it; None when it is neither an address nor an alias."""
        name, offset = self.name(self.offset)
        kind, record_class, ttl, length = self.unpack(_RECORD, offset)
        start = offset + _RECORD.size
        end = self.offset = start + length
        if end > len(self._data):
            raise _UnsoundError(DNSReason.TRUNCATED, start)
        if record_class != _INTERNET:
            return None
        if ttl > 0x7FFFFFFF:  # RFC 2181 section 8
            ttl = 0
        if kind in {DNSType.A, DNSType.AAAA}:
            if length != (4 if kind == DNSType.A else 16):
                raise _UnsoundError(DNSReason.ADDRESS_LENGTH, start)
            address = self._data[start:end]
            return DNSAnswer(name=name, type=kind, ttl_seconds=ttl, address=address)
        if kind != DNSType.CNAME:
            return None
        alias, behind = self.name(start)
        if behind != end:
            raise _UnsoundError(DNSReason.ALIAS_LENGTH, start)
        return DNSAnswer(name=name, type=kind, ttl_seconds=ttl, alias=alias)

    def name(self, start: int) -> tuple[str, int]:
        """Read a name; give it and where it ends."""
        data = self._data
        size = len(data)
        if start + 1 < size and data[start] >= _POINTER:
            known = self._known.get((data[start] & 0x3F) << 8 | data[start + 1])
            if known is not None:
                return known, start + 2
        labels: list[bytes] = []
        offset = lowest = start
        end = -1
        length = 1  # of the root
        pointers = 0
        while True:
            if offset >= size:
                raise _UnsoundError(DNSReason.TRUNCATED, offset)
            self._steps -= 1
            if self._steps < 0:
                raise _UnsoundError(DNSReason.NAME_STEPS, offset)
            first = data[offset]
            if not first:
                break
            if first < 0x40:
                length += first + 1
                if length > _MAX_NAME_BYTES:
                    raise _UnsoundError(DNSReason.NAME_LENGTH, start)
                label = data[offset + 1 : offset + 1 + first]
                if len(label) < first:
                    raise _UnsoundError(DNSReason.TRUNCATED, offset)
                labels.append(label)
                offset += 1 + first
            elif first < _POINTER:
                raise _UnsoundError(DNSReason.LABEL_TYPE, offset)
            else:
                if offset + 1 >= size:
                    raise _UnsoundError(DNSReason.TRUNCATED, offset)
                if end < 0:
                    end = offset + 2
                pointers += 1
                # Each goes farther back than the one before: there are no circles.
                target = (first & 0x3F) << 8 | data[offset + 1]
                if target >= lowest or pointers > _MAX_POINTERS:
                    raise _UnsoundError(DNSReason.POINTER, offset)
                offset = lowest = target
        text = self._known[start] = _text(labels)
        return text, offset + 1 if end < 0 else end


def _text(labels: list[bytes]) -> str:
    """Write a name as zone files have it."""
    joined = b"".join(labels).lower()
    if not joined.translate(None, _PLAIN):
        return b".".join([*labels, b""]).lower().decode("ascii") if labels else "."
    return ".".join(["".join(map(_letter, label.lower())) for label in labels]) + "."


def _letter(octet: int) -> str:
    if octet in _QUOTED:
        return "\\" + chr(octet)
    return chr(octet) if 0x20 < octet < 0x7F else f"\\{octet:03d}"
