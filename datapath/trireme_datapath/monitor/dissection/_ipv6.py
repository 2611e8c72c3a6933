"""The IPv6 header, with hop-by-hop options; other extension headers are not decoded."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, ClassVar

from trireme_datapath.monitor.dissection._addresses import ip_text
from trireme_datapath.monitor.dissection._hop_by_hop import HopByHop
from trireme_datapath.monitor.dissection._protocols import ip_protocol
from trireme_datapath.monitor.dissection._values import bytes_text

if TYPE_CHECKING:
    from trireme_datapath.monitor.dissection._progress import Progress

__all__ = ["IPv6"]

_FIXED = Struct(">IHBB16s16s")
_FIXED_BYTES = 40
_HOP_BY_HOP = 0


class IPv6:
    """An IPv6 header; the version is not looked at."""

    name: ClassVar[str] = "IPv6"
    __slots__ = (
        "_options",
        "_progress",
        "contents",
        "destination",
        "flow_label",
        "hop_by_hop",
        "hop_limit",
        "length",
        "next_header",
        "payload",
        "source",
        "traffic_class",
        "version",
    )

    def __init__(self, progress: Progress) -> None:
        """Make an object that has decoded nothing."""
        self._progress = progress
        self._options: HopByHop | None = None
        self.contents = self.payload = b""
        self.source = self.destination = bytes(16)
        self.version = self.traffic_class = self.flow_label = self.length = 0
        self.next_header = self.hop_limit = 0
        self.hop_by_hop: HopByHop | None = None

    def decode(self, data: bytes) -> str:
        """Read the header; give the error, or ``""``."""
        size = len(data)
        if size < _FIXED_BYTES:
            self._progress.truncated = True
            return f"Invalid ip6 header. Length {size} less than 40"
        first, self.length, self.next_header, self.hop_limit, self.source, self.destination = (
            _FIXED.unpack_from(data)
        )
        self.version = first >> 28
        self.traffic_class = first >> 20 & 0xFF
        self.flow_label = first & 0xFFFFF
        self.hop_by_hop = None
        self.contents = data[:_FIXED_BYTES]
        self.payload = data[_FIXED_BYTES:]
        if self.next_header == _HOP_BY_HOP:
            is_done, error = self._decode_hop_by_hop()
            if is_done:
                return error
        if not self.length:
            name = ip_protocol(self.next_header)[0]
            return f"IPv6 length 0, but next header is {name}, not HopByHop"
        self._cut(self.length)
        return ""

    def _decode_hop_by_hop(self) -> tuple[bool, str]:
        """Read the options; say whether that was all there is to do, and the error."""
        if self._options is None:
            self._options = HopByHop(self._progress)
        error = self._options.decode(self.payload)
        if error:
            return True, error
        self.hop_by_hop = self._options
        jumbo, error = self._options.jumbo_length()
        if error:
            return True, error
        if jumbo:
            if self.length:
                return True, "IPv6 has jumbo length and IPv6 length is not 0"
            # The payload of a jumbogram begins with the options, unlike any other.
            self._cut(jumbo)
            return True, ""
        if not self.length:
            return True, "IPv6 length 0, but HopByHop header does not have jumbogram option"
        self.payload = self.payload[self._options.size_bytes :]
        return False, ""

    def _cut(self, length: int) -> None:
        # The length counts the options that were skipped: upstream finds every sound packet
        # that has some truncated.
        if length > len(self.payload):
            self._progress.truncated = True
        else:
            self.payload = self._progress.cut(self.payload, length)

    def next_layer(self) -> str:
        """Name what the last header says."""
        options = self.hop_by_hop
        return ip_protocol(self.next_header if options is None else options.next_header)[1]

    def fields(self) -> str:
        """Render the fields."""
        options = self.hop_by_hop
        return (
            f"Contents={bytes_text(self.contents)} Payload={bytes_text(self.payload)}"
            f" Version={self.version} TrafficClass={self.traffic_class}"
            f" FlowLabel={self.flow_label} Length={self.length}"
            f" NextHeader={ip_protocol(self.next_header)[0]} HopLimit={self.hop_limit}"
            f" SrcIP={ip_text(self.source)} DstIP={ip_text(self.destination)}"
            f" HopByHop={'nil' if options is None else options.text()}"
        )
