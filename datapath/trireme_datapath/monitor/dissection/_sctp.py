"""The common header of SCTP; chunks are not decoded."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, ClassVar

from trireme_datapath.monitor.dissection._ports import port_text
from trireme_datapath.monitor.dissection._values import bytes_text

if TYPE_CHECKING:
    from trireme_datapath.monitor.dissection._progress import Progress

__all__ = ["SCTP"]

_HEADER = Struct(">HHII")
_HEADER_BYTES = 12


class SCTP:
    """A common header."""

    name: ClassVar[str] = "SCTP"
    protocol: ClassVar[str] = "sctp"
    __slots__ = (
        "checksum",
        "contents",
        "destination_port",
        "payload",
        "source_port",
        "verification_tag",
    )

    def __init__(self, progress: Progress) -> None:
        """Make an object that has decoded nothing."""
        # Upstream marks no cut SCTP header as truncated.
        del progress
        self.contents = self.payload = b""
        self.source_port = self.destination_port = self.verification_tag = self.checksum = 0

    def decode(self, data: bytes) -> str:
        """Read the header; give the error, or ``""``."""
        if len(data) < _HEADER_BYTES:
            return "Invalid SCTP common header length"
        self.source_port, self.destination_port, self.verification_tag, self.checksum = (
            _HEADER.unpack_from(data)
        )
        self.contents = data[:_HEADER_BYTES]
        self.payload = data[_HEADER_BYTES:]
        return ""

    def next_layer(self) -> str:
        """Chunks count as payload."""
        return "Payload"

    def fields(self) -> str:
        """Render the fields."""
        return (
            f"Contents={bytes_text(self.contents)} Payload={bytes_text(self.payload)}"
            f" SrcPort={port_text('sctp', self.source_port)}"
            f" DstPort={port_text('sctp', self.destination_port)}"
            f" VerificationTag={self.verification_tag} Checksum={self.checksum}"
        )
