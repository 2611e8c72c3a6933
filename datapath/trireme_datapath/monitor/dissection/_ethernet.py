"""The Ethernet header."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from trireme_datapath.monitor.dissection._addresses import mac_text
from trireme_datapath.monitor.dissection._protocols import LLC, ethernet_type
from trireme_datapath.monitor.dissection._values import bytes_text

if TYPE_CHECKING:
    from trireme_datapath.monitor.dissection._progress import Progress

__all__ = ["Ethernet"]

_HEADER_BYTES = 14
# Below it, the type is the length of an IEEE 802.3 frame.
_SMALLEST_TYPE = 0x0600


class Ethernet:
    """Destination, source and type; tags are not decoded."""

    name: ClassVar[str] = "Ethernet"
    __slots__ = (
        "_progress",
        "contents",
        "destination",
        "ethernet_type",
        "length",
        "payload",
        "source",
    )

    def __init__(self, progress: Progress) -> None:
        """Make an object that has decoded nothing."""
        self._progress = progress
        self.contents = self.payload = self.source = self.destination = b""
        self.ethernet_type = self.length = 0

    def decode(self, data: bytes) -> str:
        """Read the header; give the error, or ``""``."""
        if len(data) < _HEADER_BYTES:
            return "Ethernet packet too small"
        self.destination = data[:6]
        self.source = data[6:12]
        self.contents = data[:_HEADER_BYTES]
        self.payload = data[_HEADER_BYTES:]
        self.ethernet_type = data[12] << 8 | data[13]
        self.length = 0
        if self.ethernet_type < _SMALLEST_TYPE:
            self.length = self.ethernet_type
            self.ethernet_type = LLC
            if len(self.payload) < self.length:
                self._progress.truncated = True
            self.payload = self.payload[: self.length]
        return ""

    @property
    def type_name(self) -> str:
        """The name of the EtherType."""
        return ethernet_type(self.ethernet_type, is_1_9=self._progress.is_1_9)[0]

    def next_layer(self) -> str:
        """Name what the EtherType says."""
        return ethernet_type(self.ethernet_type, is_1_9=self._progress.is_1_9)[1]

    def fields(self) -> str:
        """Render the fields."""
        return (
            f"Contents={bytes_text(self.contents)} Payload={bytes_text(self.payload)}"
            f" SrcMAC={mac_text(self.source)} DstMAC={mac_text(self.destination)}"
            f" EthernetType={self.type_name} Length={self.length}"
        )
