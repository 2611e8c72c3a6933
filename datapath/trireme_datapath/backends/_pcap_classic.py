"""The classic capture format: one header, then records, all in the writer's byte order.

Layout: draft-ietf-opsawg-pcap.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from trireme_datapath.backends._pcap_types import CaptureDirection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_datapath.backends._pcap_source import CaptureSource

__all__ = ["CLASSIC_MAGICS", "MAX_FRAME_BYTES", "MAX_TIME_NS", "Frame", "read_classic"]

MAX_FRAME_BYTES = 262_144
"""Captured bytes of one frame: the largest snapshot length that libpcap and Wireshark write
for network links. A larger length is never data, always damage."""

MAX_TIME_NS = (1 << 63) - 1
"""The last time that records can carry (in the year 2262): they hold signed 64-bit nanoseconds."""

_NS_PER_S = 1_000_000_000
_HEADER_REST_BYTES = 20
_RECORD_BYTES = 16
# The upper bits tell the length of a frame check sequence, which is of no interest here.
_LINK_TYPE_MASK = 0x03FF_FFFF
_VERSION = (2, 4)

# First word of the file -> byte order and nanoseconds in a unit of the record's fraction.
CLASSIC_MAGICS: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}


class Frame(NamedTuple):
    """A frame as the file holds it, link header and all.

    Attributes:
        link_type: The LINKTYPE number.
        time_ns: When it was captured, ``None`` when unknown.
        data: What was captured of it.
        original_length: Its length on the wire; files may state nonsense here.
        interface: The name of the interface, empty when unknown.
        direction: Its way, where the file says so outside the link header.
    """

    link_type: int
    time_ns: int | None
    data: bytes
    original_length: int
    interface: str = ""
    direction: CaptureDirection = CaptureDirection.UNKNOWN


def read_classic(source: CaptureSource) -> tuple[int, Iterator[Frame]]:
    """Read the file header behind its magic word.

    Returns:
        The link type of all frames, and the frames.

    Raises:
        CaptureError: The header is cut or of another version.
    """
    order, unit_ns = CLASSIC_MAGICS[source.magic]
    header = source.read_all_of(_HEADER_REST_BYTES, "the file header", 0)
    major, minor, link = Struct(order + "HH12xI").unpack(header)
    if (major, minor) != _VERSION:
        raise source.error(
            f"pcap version {major}.{minor}, only 2.4 is known",
            "convert the file with editcap",
            offset=4,
        )
    link_type = link & _LINK_TYPE_MASK
    return link_type, _read_records(source, Struct(order + "IIII"), unit_ns, link_type)


def _read_records(
    source: CaptureSource, layout: Struct, unit_ns: int, link_type: int
) -> Iterator[Frame]:
    while True:
        start = source.offset
        header = source.read(_RECORD_BYTES)
        if not header:
            return
        if len(header) < _RECORD_BYTES:
            raise source.truncated("a packet header", start)
        seconds, fraction, captured, original = layout.unpack(header)
        if captured > MAX_FRAME_BYTES:
            raise source.error(
                f"a packet of {captured} captured bytes, at most {MAX_FRAME_BYTES} are possible",
                "the file is damaged there, everything before was read",
                offset=start,
            )
        data = source.read_all_of(captured, "a packet", start)
        # 32 bits of seconds and of any fraction end in the year 2106.
        yield Frame(link_type, seconds * _NS_PER_S + fraction * unit_ns, data, original)
