"""The UDP header."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, ClassVar

from trireme_datapath.monitor.dissection._ports import UDP_PORT_LAYERS, port_text
from trireme_datapath.monitor.dissection._values import bytes_text

if TYPE_CHECKING:
    from trireme_datapath.monitor.dissection._progress import Progress

__all__ = ["UDP"]

_HEADER = Struct(">HHHH")
_HEADER_BYTES = 8


class UDP:
    """A UDP header."""

    name: ClassVar[str] = "UDP"
    protocol: ClassVar[str] = "udp"
    __slots__ = (
        "_progress",
        "checksum",
        "contents",
        "destination_port",
        "length",
        "payload",
        "source_port",
    )

    def __init__(self, progress: Progress) -> None:
        """Make an object that has decoded nothing."""
        self._progress = progress
        self.contents = self.payload = b""
        self.source_port = self.destination_port = self.length = self.checksum = 0

    def decode(self, data: bytes) -> str:
        """Read the header; give the error, or ``""``."""
        size = len(data)
        if size < _HEADER_BYTES:
            self._progress.truncated = True
            return f"Invalid UDP header. Length {size} less than 8"
        self.source_port, self.destination_port, self.length, self.checksum = _HEADER.unpack_from(
            data
        )
        self.contents = data[:_HEADER_BYTES]
        # A length of 0 means the rest of the packet (jumbograms).
        if 0 < self.length < _HEADER_BYTES:
            return f"UDP packet too small: {self.length} bytes"
        if self.length > size:
            self._progress.truncated = True
        self.payload = data[_HEADER_BYTES : self.length or size]
        return ""

    def next_layer(self) -> str:
        """Name what the ports say."""
        return UDP_PORT_LAYERS.get(self.destination_port) or UDP_PORT_LAYERS.get(
            self.source_port, "Payload"
        )

    def fields(self) -> str:
        """Render the fields."""
        return (
            f"Contents={bytes_text(self.contents)} Payload={bytes_text(self.payload)}"
            f" SrcPort={port_text('udp', self.source_port)}"
            f" DstPort={port_text('udp', self.destination_port)}"
            f" Length={self.length} Checksum={self.checksum}"
        )
