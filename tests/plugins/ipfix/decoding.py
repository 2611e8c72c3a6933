"""A collecting process of IPFIX, as far as these messages go: by RFC 7011, not by the exporter."""

from __future__ import annotations

import struct

__all__ = ["Collecting", "DataRecord"]

DataRecord = dict[int, bytes]
"""The values of a data record by the number of their element."""


class Collecting:
    """Reads the messages of one session.

    Attributes:
        records: The data records.
        templates: The number of templates that came.
        gaps: How many data records were missing, by the sequence numbers.
    """

    def __init__(self) -> None:
        self.records: list[DataRecord] = []
        self.templates = 0
        self.gaps = 0
        self.domains: set[int] = set()
        self._known: dict[int, list[tuple[int, int]]] = {}
        self._stream = b""

    def feed(self, data: bytes) -> None:
        """Take bytes of a stream."""
        self._stream += data
        while len(self._stream) >= 4:
            (length,) = struct.unpack_from(">H", self._stream, 2)
            if len(self._stream) < length:
                return
            self.message(self._stream[:length])
            self._stream = self._stream[length:]

    def message(self, data: bytes) -> None:
        """Take one message."""
        version, length, _seconds, sequence, domain = struct.unpack_from(">HHIII", data)
        assert version == 10
        assert length == len(data)
        self.domains.add(domain)
        self.gaps += sequence - len(self.records) - self.gaps
        place = 16
        while place < length:
            number, size = struct.unpack_from(">HH", data, place)
            assert size >= 4
            assert place + size <= length
            content = data[place + 4 : place + size]
            if number == 2:
                self._learn(content)
            else:
                assert number >= 256
                self._read(self._known[number], content)
            place += size
        assert place == length

    def _learn(self, content: bytes) -> None:
        place = 0
        while place < len(content):
            number, count = struct.unpack_from(">HH", content, place)
            place += 4
            pairs = [struct.unpack_from(">HH", content, place + 4 * n) for n in range(count)]
            assert number >= 256
            assert all(element < 0x8000 for element, _ in pairs), "an enterprise's element"
            self._known[number] = [(int(element), int(length)) for element, length in pairs]
            self.templates += 1
            place += 4 * count

    def _read(self, template: list[tuple[int, int]], content: bytes) -> None:
        place = 0
        while place < len(content):
            record: DataRecord = {}
            for element, length in template:
                size = length
                if size == 65_535:
                    size = content[place]
                    place += 1
                    assert size < 255
                assert place + size <= len(content)
                record[element] = content[place : place + size]
                place += size
            self.records.append(record)
