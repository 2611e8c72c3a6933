"""Messages of IPFIX (RFC 7011): templates, data records and the count of what was sent."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trireme_collector_ipfix._rows import Elements, Row

__all__ = ["Exporter", "Message"]

_HEADER = struct.Struct(">HHIII")  # version, length, export time, sequence number, domain
_SET = struct.Struct(">HH")  # id, length
_PAIR = struct.Struct(">HH")
_VERSION, _TEMPLATE_SET, _FIRST_TEMPLATE = 10, 2, 256
_COUNTER = 1 << 32


class Message(NamedTuple):
    """One message.

    Attributes:
        data: Its bytes.
        done: How many records of the batch are complete once it was sent.
        sequence: The sequence number in it.
    """

    data: bytes
    done: int
    sequence: int


class Exporter:
    """Packs data records into messages, and knows what the other side has been told.

    Args:
        domain: The observation domain.
        max_bytes: The longest message.

    Attributes:
        sequence: How many data records were sent in this session.
    """

    def __init__(self, domain: int, max_bytes: int) -> None:
        """Start a session."""
        self._domain = domain
        self._max_bytes = max_bytes
        self._ids: dict[Elements, int] = {}
        self._announced: set[int] = set()
        self.sequence = 0

    def start_session(self) -> None:
        """Begin anew: the other side knows nothing."""
        self._announced.clear()
        self.sequence = 0

    def announce_again(self) -> None:
        """Send each template again before it is used the next time."""
        self._announced.clear()

    def messages(self, batch: Sequence[Sequence[Row]], export_seconds: int) -> Iterator[Message]:
        """Pack a batch: the data records of each record of ours, in order.

        Each message must have been sent before the next one is asked for.
        """
        builder = _Builder(self._max_bytes)
        for index, rows in enumerate(batch):
            for row in rows:
                template = self._ids.setdefault(row.elements, _FIRST_TEMPLATE + len(self._ids))
                if not builder.fits(row, template, announced=template in self._announced):
                    yield self._finish(builder, index, export_seconds)
                    builder = _Builder(self._max_bytes)
                if template not in self._announced:
                    builder.announce(template, row.elements)
                    self._announced.add(template)
                builder.add(row, template)
        if builder.count:
            yield self._finish(builder, len(batch), export_seconds)

    def _finish(self, builder: _Builder, done: int, export_seconds: int) -> Message:
        body = builder.body()
        sequence = self.sequence
        header = _HEADER.pack(
            _VERSION,
            _HEADER.size + len(body),
            export_seconds % _COUNTER,
            sequence,
            self._domain,
        )
        self.sequence = (sequence + builder.count) % _COUNTER
        return Message(header + body, done, sequence)


class _Builder:
    """The sets of one message."""

    def __init__(self, max_bytes: int) -> None:
        self._room = max_bytes - _HEADER.size
        self._sets: list[tuple[int, list[bytes]]] = []
        self.count = 0

    def fits(self, row: Row, template: int, *, announced: bool) -> bool:
        """Whether a data record, and its template if needed, still go in; the first always do."""
        size = len(row.data) + (0 if self._is_open(template) else _SET.size)
        if not announced:
            size += _SET.size + _PAIR.size * (1 + len(row.elements))
        return not self.count or size <= self._room

    def announce(self, template: int, elements: Elements) -> None:
        pairs = b"".join(_PAIR.pack(*element) for element in elements)
        self._put(_TEMPLATE_SET, _PAIR.pack(template, len(elements)) + pairs)

    def add(self, row: Row, template: int) -> None:
        self._put(template, row.data)
        self.count += 1

    def body(self) -> bytes:
        found = []
        for number, parts in self._sets:
            content = b"".join(parts)
            found.append(_SET.pack(number, _SET.size + len(content)) + content)
        return b"".join(found)

    def _put(self, number: int, content: bytes) -> None:
        if not self._is_open(number):
            self._sets.append((number, []))
            self._room -= _SET.size
        self._sets[-1][1].append(content)
        self._room -= len(content)

    def _is_open(self, number: int) -> bool:
        return bool(self._sets) and self._sets[-1][0] == number
