"""The IPv4 header and its options."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, ClassVar

from trireme_datapath.monitor.dissection._addresses import ip_text
from trireme_datapath.monitor.dissection._protocols import ip_protocol
from trireme_datapath.monitor.dissection._values import bytes_text, list_text

if TYPE_CHECKING:
    from trireme_datapath.monitor.dissection._progress import Progress

__all__ = ["IPv4"]

_FIXED = Struct(">BBHHHBBH4s4s")
_FIXED_BYTES = 20
_SMALLEST_IHL = 5
_MORE_FRAGMENTS = 1
# The value of the three flag bits: reserved, do not fragment, more fragments.
_FLAGS = tuple(
    "|".join(name for bit, name in ((4, "Evil"), (2, "DF"), (1, "MF")) if value & bit)
    for value in range(8)
)
_END_OF_OPTIONS = 0
_ONE_BYTE_OPTION = 1


class IPv4:
    """An IPv4 header; the version is not looked at."""

    name: ClassVar[str] = "IPv4"
    __slots__ = (
        "_progress",
        "checksum",
        "contents",
        "destination",
        "flags",
        "fragment_offset",
        "header_words",
        "identification",
        "length",
        "options",
        "padding",
        "payload",
        "protocol",
        "source",
        "tos",
        "ttl",
        "version",
    )

    def __init__(self, progress: Progress) -> None:
        """Make an object that has decoded nothing."""
        self._progress = progress
        self.contents = self.payload = self.padding = b""
        self.source = self.destination = bytes(4)
        self.version = self.header_words = self.tos = self.length = self.identification = 0
        self.flags = self.fragment_offset = self.ttl = self.protocol = self.checksum = 0
        self.options: list[tuple[int, bytes]] = []

    def decode(self, data: bytes) -> str:
        """Read the header; give the error, or ``""``."""
        size = len(data)
        if size < _FIXED_BYTES:
            self._progress.truncated = True
            return f"Invalid ip4 header. Length {size} less than 20"
        (
            version_words,
            self.tos,
            length,
            self.identification,
            fragment,
            self.ttl,
            self.protocol,
            self.checksum,
            self.source,
            self.destination,
        ) = _FIXED.unpack_from(data)
        self.version = version_words >> 4
        self.header_words = words = version_words & 0x0F
        self.flags = fragment >> 13
        self.fragment_offset = fragment & 0x1FFF
        self.options = []
        self.padding = b""
        # What an outer header shows when this one, inside of it, turns out to be unsound.
        self.contents, self.payload = data, b""
        # Segmentation offload leaves the length empty; it is a 16-bit field upstream, too.
        self.length = length = length or size & 0xFFFF
        header = words * 4
        if length < _FIXED_BYTES:
            return f"Invalid (too small) IP length ({length} < 20)"
        if words < _SMALLEST_IHL:
            return f"Invalid (too small) IP header length ({words} < 5)"
        if header > length:
            return f"Invalid IP header length > IP length ({words} > {length})"
        if length > size:
            self._progress.truncated = True
            if header > size:
                return "Not all IP header bytes available"
        self.contents = data[:header]
        self.payload = data[header:]
        if length < size:
            self.payload = self._progress.cut(self.payload, length - header)
        return self._decode_options(self.contents) if header > _FIXED_BYTES else ""

    def _decode_options(self, header: bytes) -> str:
        at, end = _FIXED_BYTES, len(header)
        while at < end:
            kind = header[at]
            if kind == _END_OF_OPTIONS:
                self.options.append((kind, b""))
                self.padding = header[at + 1 :]
                return ""
            if kind == _ONE_BYTE_OPTION:
                self.options.append((kind, b""))
                at += 1
                continue
            left = end - at
            if left < 2:
                self._progress.truncated = True
                return f"Invalid ip4 option length. Length {left} less than 2"
            length = header[at + 1]
            if length > left:
                self._progress.truncated = True
                return (
                    "IP option length exceeds remaining IP header size, "
                    f"option type {kind} length {length}"
                )
            if length <= 2:
                return f"Invalid IP option type {kind} length {length}. Must be greater than 2"
            self.options.append((kind, header[at + 2 : at + length]))
            at += length
        return ""

    def next_layer(self) -> str:
        """Name what the protocol says; fragments are not put together."""
        if self.flags & _MORE_FRAGMENTS or self.fragment_offset:
            return "Fragment"
        return ip_protocol(self.protocol)[1]

    def fields(self) -> str:
        """Render the fields."""
        options = [
            f"IPv4Option({kind}:[{' '.join([str(byte) for byte in data])}])"
            for kind, data in self.options
        ]
        return (
            f"Contents={bytes_text(self.contents)} Payload={bytes_text(self.payload)}"
            f" Version={self.version} IHL={self.header_words} TOS={self.tos}"
            f" Length={self.length} Id={self.identification} Flags={_FLAGS[self.flags]}"
            f" FragOffset={self.fragment_offset} TTL={self.ttl}"
            f" Protocol={ip_protocol(self.protocol)[0]} Checksum={self.checksum}"
            f" SrcIP={ip_text(self.source)} DstIP={ip_text(self.destination)}"
            f" Options={list_text(options)} Padding={bytes_text(self.padding)}"
        )
