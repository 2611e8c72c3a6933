"""The frames of RELP, and reading a server's answers.

A frame is a number, a command, a length, data and a line end::

    2 syslog 5 hello LF
    2 rsp 6 200 OK LF
    0 serverclose 0 LF

The reader is total: any bytes give frames or one `RelpError`, and it holds no more than one frame
of limited size.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "MAX_DATA_BYTES",
    "MAX_NUMBER",
    "Answer",
    "Frame",
    "FrameReader",
    "RelpError",
    "parse_answer",
    "parse_offers",
    "render_frame",
]

MAX_DATA_BYTES = 65_536
"""No answer is longer: those of servers have some hundred bytes."""
MAX_NUMBER = 999_999_999
"""The largest number of a transaction; the next one is 1 again."""

_MAX_NUMBER_DIGITS = 9
_MAX_COMMAND_BYTES = 32
_MAX_SHOWN = 60
_OK = 200


class RelpError(ConnectionError):
    """What came is not RELP, or not what RELP allows now; the connection cannot be used."""


class Frame(NamedTuple):
    """One frame.

    Attributes:
        number: The transaction; 0 for what the server says by itself.
        command: What is asked or answered.
        data: The rest.
    """

    number: int
    command: str
    data: bytes


class Answer(NamedTuple):
    """What a response says.

    Attributes:
        code: 200 for yes.
        text: What the server adds, the rest of the first line, printable.
        data: What follows that line.
    """

    code: int
    text: str
    data: bytes

    @property
    def ok(self) -> bool:
        """Whether the server has taken what it was sent."""
        return self.code == _OK


def render_frame(number: int, command: str, data: bytes) -> bytes:
    """Write a frame."""
    if not data:
        return b"%d %b 0\n" % (number, command.encode())
    return b"%d %b %d %b\n" % (number, command.encode(), len(data), data)


class FrameReader:
    """Takes a stream apart, in whatever pieces it comes."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take some bytes, and give the frames that are complete.

        Raises:
            RelpError: They are not RELP. The reader is of no more use.
        """
        self._data += data
        frames: list[Frame] = []
        position = 0
        while (found := _frame(self._data, position)) is not None:
            frame, position = found
            frames.append(frame)
        del self._data[:position]
        return frames


def parse_answer(data: bytes) -> Answer:
    """Read the data of a response: a code, a text, and after a line end more data.

    Raises:
        RelpError: There is no code.
    """
    line, _, rest = data.partition(b"\n")
    code, _, text = line.partition(b" ")
    if len(code) != 3 or not _is_number(code):
        raise RelpError(f"a response without a code: {_shown(line)}")
    return Answer(int(code), _shown(text), rest)


def parse_offers(data: bytes) -> dict[str, str]:
    """Read what a server offers: one ``name=value`` a line; other lines say nothing."""
    offers: dict[str, str] = {}
    for line in data.decode("ascii", "replace").split("\n"):
        name, equals, value = line.partition("=")
        if equals:
            offers[name] = value
    return offers


def _frame(data: bytearray, start: int) -> tuple[Frame, int] | None:
    """Read the frame that begins there; None when more bytes are needed."""
    number, position = _word(data, start, _MAX_NUMBER_DIGITS, b" ")
    if position < 0:
        return None
    command, position = _word(data, position, _MAX_COMMAND_BYTES, b" ")
    if position < 0:
        return None
    length, position = _word(data, position, _MAX_NUMBER_DIGITS, b" \n")
    if position < 0:
        return None
    if not (_is_number(number) and command.isalpha() and command.isascii() and _is_number(length)):
        raise RelpError(f"not a RELP frame: {_shown(bytes(data[start : position - 1]))}")
    size = int(length)
    if size > MAX_DATA_BYTES:
        raise RelpError(f"a frame of {size} bytes, at most {MAX_DATA_BYTES} are read")
    if data[position - 1] == ord("\n"):
        if size:
            raise RelpError("a frame without the data that it announces")
        return Frame(int(number), command.decode(), b""), position
    end = position + size
    if len(data) <= end:
        return None
    if data[end] != ord("\n"):
        raise RelpError("a frame that does not end where it says")
    return Frame(int(number), command.decode(), bytes(data[position:end])), end + 1


def _word(data: bytearray, start: int, longest: int, ends: bytes) -> tuple[bytes, int]:
    """Give the word that begins there and the place after its end; -1 when it has not come."""
    stop = min(len(data), start + longest + 1)
    for position in range(start, stop):
        if data[position] in ends:
            return bytes(data[start:position]), position + 1
    if stop - start > longest:
        raise RelpError(f"not a RELP frame: {_shown(bytes(data[start:stop]))}")
    return b"", -1


def _is_number(text: bytes) -> bool:
    return text.isdigit()


def _shown(data: bytes) -> str:
    text = data[:_MAX_SHOWN].decode("ascii", "replace")
    return "".join(c if c.isprintable() else "?" for c in text)
