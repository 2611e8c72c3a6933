"""DNS over TCP: segments in, messages out (RFC 1035 section 4.2.2, RFC 7766)."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_STREAM_MESSAGE_BYTES", "DNSStream"]

MAX_STREAM_MESSAGE_BYTES: Final = 8_192
"""Messages that are kept until they are complete; the rest of a longer one is skipped."""

_LENGTH_BYTES: Final = 2
_SEQUENCE_MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000


class DNSStream:
    """One direction of a connection, put together as far as its segments come in order.

    Segments that repeat what was seen are skipped. After a gap nothing more is read, because
    nobody knows where a message begins.

    Args:
        sequence: The sequence number of the first byte.
    """

    __slots__ = ("_buffer", "_next", "_skip")

    def __init__(self, sequence: int) -> None:
        """Begin at a sequence number."""
        self._next = sequence & _SEQUENCE_MASK
        self._buffer = bytearray()
        self._skip = 0

    def feed(self, sequence: int, payload: bytes, *, cut: bool = False) -> list[tuple[bytes, bool]]:
        """Take a segment.

        Args:
            sequence: The sequence number of its first byte.
            payload: What it carries, as far as it was captured.
            cut: Whether bytes are missing at its end: then it is the last that is read.

        Returns:
            The messages that it completes, each with whether bytes of it are missing.
        """
        if self._next < 0:
            return []
        ahead = (sequence - self._next) & _SEQUENCE_MASK
        if ahead:
            if ahead < _HALF:
                self._end()
                return []
            payload = payload[_SEQUENCE_MASK + 1 - ahead :]
        if not payload:
            return []
        self._next = (self._next + len(payload)) & _SEQUENCE_MASK
        messages = self._take(payload)
        if cut:
            if len(self._buffer) > _LENGTH_BYTES:
                messages.append((bytes(self._buffer[_LENGTH_BYTES:]), True))
            self._end()
        return messages

    def _take(self, payload: bytes) -> list[tuple[bytes, bool]]:
        messages: list[tuple[bytes, bool]] = []
        buffer = self._buffer
        if self._skip:
            skipped = min(self._skip, len(payload))
            self._skip -= skipped
            payload = payload[skipped:]
        buffer += payload
        place = 0
        while len(buffer) - place >= _LENGTH_BYTES:
            length = buffer[place] << 8 | buffer[place + 1]
            start = place + _LENGTH_BYTES
            have = len(buffer) - start
            if have >= length:
                if length:
                    messages.append((bytes(buffer[start : start + length]), False))
                place = start + length
            elif length > MAX_STREAM_MESSAGE_BYTES:
                if have < MAX_STREAM_MESSAGE_BYTES:
                    break
                messages.append((bytes(buffer[start : start + MAX_STREAM_MESSAGE_BYTES]), True))
                self._skip = length - have
                place = len(buffer)
            else:
                break
        del buffer[:place]
        return messages

    def _end(self) -> None:
        self._next = -1
        self._buffer.clear()
