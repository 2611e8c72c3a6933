"""The headers of ICMPv4 and ICMPv6."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, ClassVar

from trireme_collector.formats.icmp import icmp_text
from trireme_datapath.monitor.dissection._values import bytes_text

if TYPE_CHECKING:
    from trireme_datapath.monitor.dissection._progress import Progress

__all__ = ["ICMPv4", "ICMPv6"]

_V6_NEXT_LAYERS = {
    128: "ICMPv6Echo",
    129: "ICMPv6Echo",
    130: "MLDv1MulticastListenerQuery",
    131: "MLDv1MulticastListenerReport",
    132: "MLDv1MulticastListenerDone",
    133: "ICMPv6RouterSolicitation",
    134: "ICMPv6RouterAdvertisement",
    135: "ICMPv6NeighborSolicitation",
    136: "ICMPv6NeighborAdvertisement",
    137: "ICMPv6Redirect",
    143: "MLDv2MulticastListenerReport",
}
_LISTENER_QUERY = 130
# With more payload than this, a query is one of MLDv2.
_LARGEST_V1_QUERY_BYTES = 20
_V4_HEADER = Struct(">BBHHH")
_V6_HEADER = Struct(">BBH")


class ICMPv4:
    """An ICMP header with its second word, which is an identifier and a number for most."""

    name: ClassVar[str] = "ICMPv4"
    __slots__ = (
        "_progress",
        "checksum",
        "code",
        "contents",
        "identifier",
        "payload",
        "sequence",
        "type",
    )

    def __init__(self, progress: Progress) -> None:
        """Make an object that has decoded nothing."""
        self._progress = progress
        self.contents = self.payload = b""
        self.type = self.code = self.checksum = self.identifier = self.sequence = 0

    def decode(self, data: bytes) -> str:
        """Read the header; give the error, or ``""``."""
        if len(data) < _V4_HEADER.size:
            self._progress.truncated = True
            return "ICMP layer less then 8 bytes for ICMPv4 packet"
        self.type, self.code, self.checksum, self.identifier, self.sequence = (
            _V4_HEADER.unpack_from(data)
        )
        self.contents = data[: _V4_HEADER.size]
        self.payload = data[_V4_HEADER.size :]
        return ""

    @property
    def text(self) -> str:
        """Type and code in words."""
        return icmp_text(1, self.type, self.code)

    def next_layer(self) -> str:
        """What is quoted counts as payload."""
        return "Payload"

    def fields(self) -> str:
        """Render the fields."""
        return (
            f"Contents={bytes_text(self.contents)} Payload={bytes_text(self.payload)}"
            f" TypeCode={self.text} Checksum={self.checksum}"
            f" Id={self.identifier} Seq={self.sequence}"
        )


class ICMPv6:
    """The first word of an ICMPv6 message."""

    name: ClassVar[str] = "ICMPv6"
    __slots__ = ("_progress", "checksum", "code", "contents", "payload", "type")

    def __init__(self, progress: Progress) -> None:
        """Make an object that has decoded nothing."""
        self._progress = progress
        self.contents = self.payload = b""
        self.type = self.code = self.checksum = 0

    def decode(self, data: bytes) -> str:
        """Read the header; give the error, or ``""``."""
        if len(data) < _V6_HEADER.size:
            self._progress.truncated = True
            return "ICMP layer less then 4 bytes for ICMPv6 packet"
        self.type, self.code, self.checksum = _V6_HEADER.unpack_from(data)
        self.contents = data[: _V6_HEADER.size]
        self.payload = data[_V6_HEADER.size :]
        return ""

    @property
    def text(self) -> str:
        """Type and code in words."""
        return icmp_text(58, self.type, self.code)

    def next_layer(self) -> str:
        """Name what the type says; none of these is decoded."""
        if self.type == _LISTENER_QUERY and len(self.payload) > _LARGEST_V1_QUERY_BYTES:
            return "MLDv2MulticastListenerQuery"
        return _V6_NEXT_LAYERS.get(self.type, "Payload")

    def fields(self) -> str:
        """Render the fields."""
        return (
            f"Contents={bytes_text(self.contents)} Payload={bytes_text(self.payload)}"
            f" TypeCode={self.text} Checksum={self.checksum} TypeBytes=[]"
        )
