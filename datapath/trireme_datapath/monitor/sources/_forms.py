"""The forms of recorded messages: lines of hex, lengths in front, one raw message, a session."""

from __future__ import annotations

import binascii
import enum
import re
import struct
from typing import TYPE_CHECKING, Final, Protocol

from trireme_datapath.monitor.sources._payload import (
    MAX_MESSAGE_BYTES,
    Payload,
    SourceError,
    SourceFault,
)
from trireme_datapath.monitor.sources._session import SessionDecoder

if TYPE_CHECKING:
    from trireme_datapath.monitor.sources._payload import Event

__all__ = ["InputForm", "MessageDecoder", "decoder_for", "detect_form"]

_LENGTH: Final = struct.Struct("<I")
_SHORTEST_MESSAGE: Final = 20
_LONGEST_SAMPLE: Final = 1 << 17
_TYPES: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 129, 130})
_TEXT: Final = re.compile(rb"\s*(#[^\n]*(\n|$)|[0-9A-Fa-f][0-9A-Fa-f: \t]*(\r?\n|$)|$)")
# No message begins with the numbers of such characters, and no length is as large.
_PRINTABLE: Final = re.compile(rb"[\t\r\n -~]+")
_NO_DIGIT: Final = re.compile(r"[^0-9A-Fa-f]")
_SEPARATORS: Final = str.maketrans("", "", " \t:")


class InputForm(enum.StrEnum):
    """How messages stand in a file.

    ``hex``: one message a line, in hexadecimal, with ``0x``, spaces and colons or without; empty
    lines and those that begin with ``#`` are passed over. ``length``: each message behind its
    length, four bytes, the lowest first. ``raw``: one message and nothing else. ``session``: what
    an agent sends to one client.
    ``auto``: the beginning decides.
    """

    AUTO = "auto"
    HEX = "hex"
    LENGTH = "length"
    RAW = "raw"
    SESSION = "session"


class MessageDecoder(Protocol):
    """Finds messages in bytes that come in pieces."""

    def receive(self, data: bytes) -> list[Event]:
        """Take the next piece and give what it completed."""
        ...

    def end(self) -> list[Event]:
        """Give what is left at the end."""
        ...


def detect_form(start: bytes) -> InputForm:
    """Find out how messages stand in a file from its first bytes, the more the better."""
    if b"\x07Payload" in start[:24]:
        return InputForm.SESSION
    if _TEXT.match(start) or _PRINTABLE.fullmatch(start):
        return InputForm.HEX
    if len(start) > _LENGTH.size:
        (length,) = _LENGTH.unpack_from(start)
        if _SHORTEST_MESSAGE <= length <= _LONGEST_SAMPLE and start[_LENGTH.size] in _TYPES:
            return InputForm.LENGTH
    return InputForm.RAW


def decoder_for(form: InputForm, *, keep_previous: bool = False) -> MessageDecoder:
    """Make the decoder of a form; `keep_previous` is for sessions, see `SessionDecoder`."""
    match form:
        case InputForm.HEX:
            return _HexLines()
        case InputForm.LENGTH:
            return _Lengths()
        case InputForm.RAW:
            return _OneMessage()
        case InputForm.SESSION:
            return SessionDecoder(keep_previous=keep_previous)
        case InputForm.AUTO:
            return _Detected(keep_previous=keep_previous)


class _HexLines:
    def __init__(self) -> None:
        self._number = 0
        self._rest = b""
        self._skipping = False

    def receive(self, data: bytes) -> list[Event]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = [event for line in lines if (event := self._line(line)) is not None]
        if len(self._rest) > 3 * MAX_MESSAGE_BYTES:
            self._rest = b""
            if not self._skipping:
                self._skipping = True
                why = f"it is longer than {3 * MAX_MESSAGE_BYTES} characters"
                found.append(_passed_over(self._number + 1, why))
        return found

    def end(self) -> list[Event]:
        rest, self._rest = self._rest, b""
        event = self._line(rest)
        return [] if event is None else [event]

    def _line(self, line: bytes) -> Event | None:
        self._number += 1
        if self._skipping:  # the end of a line that was too long
            self._skipping = False
            return None
        text = line.decode("latin-1").strip()
        if not text or text.startswith("#"):
            return None
        digits = text.translate(_SEPARATORS).removeprefix("0x")
        if found := _NO_DIGIT.search(digits):
            why = f"{found[0]!a} is no hexadecimal digit"
            return _passed_over(self._number, why)
        if len(digits) % 2:
            why = f"{len(digits)} hexadecimal digits are no whole bytes"
            return _passed_over(self._number, why)
        return Payload(data=binascii.unhexlify(digits)) if digits else None


def _passed_over(number: int, why: str) -> SourceError:
    message = f"line {number} is passed over: {why}"
    return SourceError(fault=SourceFault.DAMAGED, message=message)


class _Lengths:
    def __init__(self) -> None:
        self._rest = b""
        self._lost = False

    def receive(self, data: bytes) -> list[Event]:
        found: list[Event] = []
        if self._lost:
            return found
        whole = self._rest + data
        position = 0
        while len(whole) - position >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(whole, position)
            if length > MAX_MESSAGE_BYTES:
                self._lost = True
                message = (
                    f"a message of {length} bytes is announced, expected at most"
                    f" {MAX_MESSAGE_BYTES}; what follows cannot be read"
                )
                found.append(SourceError(fault=SourceFault.UNREADABLE, message=message))
                position = len(whole)
                break
            stop = position + _LENGTH.size + length
            if stop > len(whole):
                break
            found.append(Payload(data=whole[position + _LENGTH.size : stop]))
            position = stop
        self._rest = whole[position:]
        return found

    def end(self) -> list[Event]:
        if not self._rest:
            return []
        message = f"the input ends inside a message, after {len(self._rest)} bytes"
        return [SourceError(fault=SourceFault.CUT, message=message)]


class _OneMessage:
    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._length = 0

    def receive(self, data: bytes) -> list[Event]:
        self._length += len(data)
        if self._length <= MAX_MESSAGE_BYTES:
            self._pieces.append(data)
        return []

    def end(self) -> list[Event]:
        data = b"".join(self._pieces)
        if self._length > MAX_MESSAGE_BYTES:
            message = f"the message is longer than {MAX_MESSAGE_BYTES} bytes"
            return [SourceError(fault=SourceFault.UNREADABLE, message=message)]
        return [Payload(data=data)] if data else []


class _Detected:
    """Waits for enough of the beginning to know the form."""

    _ENOUGH: Final = 32

    def __init__(self, *, keep_previous: bool) -> None:
        self._keep_previous = keep_previous
        self._start = b""
        self._decoder: MessageDecoder | None = None

    def receive(self, data: bytes) -> list[Event]:
        if self._decoder is not None:
            return self._decoder.receive(data)
        self._start += data
        if len(self._start) < self._ENOUGH and b"\n" not in data:
            return []
        return self._decide().receive(self._start)

    def end(self) -> list[Event]:
        if self._decoder is not None:
            return self._decoder.end()
        decoder = self._decide()
        return decoder.receive(self._start) + decoder.end()

    def _decide(self) -> MessageDecoder:
        form = detect_form(self._start)
        self._decoder = decoder_for(form, keep_previous=self._keep_previous)
        return self._decoder
