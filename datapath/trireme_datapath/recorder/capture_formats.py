"""Capture files as bytes: classic pcap in microseconds or nanoseconds, and pcapng."""

from __future__ import annotations

import enum
from struct import Struct
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "MAX_CAPTURE_BYTES",
    "CaptureEncoder",
    "CaptureFormat",
    "CaptureInterface",
    "CaptureStatistics",
    "Frame",
    "LinkType",
    "encoder_of",
]

MAX_CAPTURE_BYTES: Final = 262_144
"""Bytes that are kept of a packet at most: what libpcap takes (MAXIMUM_SNAPLEN)."""

_WHOLE_PACKET: Final = 65_535  # what Cilium writes into a file without a limit
_MICRO_MAGIC: Final = 0xA1B2C3D4
_NANO_MAGIC: Final = 0xA1B23C4D
_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_INTERFACE_STATISTICS: Final = 5
_ENHANCED_PACKET: Final = 6
_COMMENT: Final = 1
_USER_APPLICATION: Final = 4
_INTERFACE_NAME: Final = 2
_TIME_RESOLUTION: Final = 9
_RECEIVED: Final = 4
_DROPPED: Final = 5
_NANOSECONDS: Final = 1_000_000_000
_MAX_TEXT: Final = 60_000  # the length of an option has 16 bits

_file_header = Struct("=IHHiIII")
_record_header = Struct("=IIII")
_packet_head = Struct("=IIIIIII")
_section_head = Struct("=IIIHHq")
_interface_head = Struct("=IIHHI")
_statistics_head = Struct("=IIIII")
_option_head = Struct("=HH")
_word = Struct("=I")

Frame: TypeAlias = tuple[int, int, int, int, bytes]
"""Seconds since 1970 UTC, nanoseconds, captured bytes, original bytes, and what was captured."""

_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")


class CaptureFormat(enum.StrEnum):
    """How packets are written."""

    PCAP = "pcap"
    """Classic pcap in microseconds, as Cilium writes it; every tool reads it."""
    PCAP_NANOSECONDS = "pcap-ns"
    """Classic pcap in nanoseconds."""
    PCAPNG = "pcapng"
    """Nanoseconds, names of interfaces, and comments on packets."""

    @property
    def suffix(self) -> str:
        """How file names of this format end."""
        return ".pcapng" if self is CaptureFormat.PCAPNG else ".pcap"


class LinkType(enum.IntEnum):
    """What frames begin with (https://www.tcpdump.org/linktypes.html)."""

    ETHERNET = 1
    RAW = 101
    COOKED = 276


class CaptureInterface(msgspec.Struct, frozen=True, gc=False):
    """Where packets come from.

    Attributes:
        name: What it is called.
        link_type: What its frames begin with; that of all interfaces of one recording is equal.
    """

    name: str
    link_type: LinkType = LinkType.ETHERNET


class CaptureStatistics(msgspec.Struct, frozen=True, gc=False):
    """What is told about an interface at the end.

    Attributes:
        packets: Packets that were written or lost.
        lost: Packets that were lost.
    """

    packets: int
    lost: int


class CaptureEncoder(Protocol):
    """Makes the parts of a capture file; holds no state, so that files can follow each other."""

    @property
    def suffix(self) -> str:
        """How file names end."""
        ...

    def begin(self) -> bytes:
        """Give what every file begins with."""
        ...

    def encode(
        self, frames: Sequence[Frame], interface: int = 0, comments: Sequence[str] | None = None
    ) -> bytes:
        """Give the records of some frames; comments are for them one by one, or missing."""
        ...

    def end(self, statistics: CaptureStatistics, now_ns: int) -> bytes:
        """Give what a finished file ends with."""
        ...


class _Classic:
    def __init__(self, link_type: LinkType, max_bytes: int, *, nanoseconds: bool) -> None:
        self._nanoseconds = nanoseconds
        self._begin = _file_header.pack(
            _NANO_MAGIC if nanoseconds else _MICRO_MAGIC,
            *(2, 4, 0, 0, max_bytes or _WHOLE_PACKET, link_type),
        )

    suffix = CaptureFormat.PCAP.suffix

    def begin(self) -> bytes:
        return self._begin

    def encode(
        self, frames: Sequence[Frame], interface: int = 0, comments: Sequence[str] | None = None
    ) -> bytes:
        del interface, comments
        pack = _record_header.pack
        parts: list[bytes] = []
        add = parts.append
        if self._nanoseconds:
            for seconds, nanoseconds, captured, original, data in frames:
                add(pack(seconds, nanoseconds, captured, original))
                add(data)
        else:
            for seconds, nanoseconds, captured, original, data in frames:
                add(pack(seconds, nanoseconds // 1000, captured, original))
                add(data)
        return b"".join(parts)

    def end(self, statistics: CaptureStatistics, now_ns: int) -> bytes:
        del statistics, now_ns
        return b""


class _NextGeneration:
    def __init__(
        self, interfaces: Iterable[CaptureInterface], max_bytes: int, application: str
    ) -> None:
        blocks = [_section(application)]
        blocks += [_interface(one, max_bytes) for one in interfaces]
        self._count = len(blocks) - 1
        self._begin = b"".join(blocks)

    suffix = CaptureFormat.PCAPNG.suffix

    def begin(self) -> bytes:
        return self._begin

    def encode(
        self, frames: Sequence[Frame], interface: int = 0, comments: Sequence[str] | None = None
    ) -> bytes:
        pack, trailer = _packet_head.pack, _word.pack
        parts: list[bytes] = []
        for index, (seconds, nanoseconds, captured, original, data) in enumerate(frames):
            comment = comments[index] if comments else ""
            options = _options([(_COMMENT, _text(comment))]) if comment else b""
            padding = _PADDING[captured & 3]
            size = 32 + captured + len(padding) + len(options)
            time_ns = seconds * _NANOSECONDS + nanoseconds
            high, low = time_ns >> 32, time_ns & 0xFFFFFFFF
            parts += (
                pack(_ENHANCED_PACKET, size, interface, high, low, captured, original),
                data,
                padding,
                options,
                trailer(size),
            )
        return b"".join(parts)

    def end(self, statistics: CaptureStatistics, now_ns: int) -> bytes:
        if not self._count:
            return b""
        count = Struct("=Q").pack
        options = _options(
            [(_RECEIVED, count(statistics.packets)), (_DROPPED, count(statistics.lost))]
        )
        size = 24 + len(options)
        head = _statistics_head.pack(
            _INTERFACE_STATISTICS, size, 0, now_ns >> 32, now_ns & 0xFFFFFFFF
        )
        return head + options + _word.pack(size)


def encoder_of(
    capture_format: CaptureFormat,
    interfaces: Sequence[CaptureInterface],
    *,
    max_bytes: int = 0,
    application: str = "trireme-collector",
) -> CaptureEncoder:
    """Make the encoder of a format.

    Args:
        capture_format: The format.
        interfaces: Where packets come from, at least one.
        max_bytes: Bytes that are kept of a packet, 0 for all.
        application: Who writes, for pcapng.
    """
    if capture_format is CaptureFormat.PCAPNG:
        return _NextGeneration(interfaces, max_bytes, application)
    nanoseconds = capture_format is CaptureFormat.PCAP_NANOSECONDS
    return _Classic(interfaces[0].link_type, max_bytes, nanoseconds=nanoseconds)


def _section(application: str) -> bytes:
    options = _options([(_USER_APPLICATION, _text(application))])
    size = 28 + len(options)
    return _section_head.pack(_SECTION, size, 0x1A2B3C4D, 1, 0, -1) + options + _word.pack(size)


def _interface(interface: CaptureInterface, max_bytes: int) -> bytes:
    options = _options([(_INTERFACE_NAME, _text(interface.name)), (_TIME_RESOLUTION, b"\x09")])
    size = 20 + len(options)
    head = _interface_head.pack(_INTERFACE, size, interface.link_type, 0, max_bytes)
    return head + options + _word.pack(size)


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "replace")[:_MAX_TEXT]
    return data.decode("utf-8", "ignore").encode()


def _options(options: Iterable[tuple[int, bytes]]) -> bytes:
    parts = [
        _option_head.pack(code, len(value)) + value + _PADDING[len(value) & 3]
        for code, value in options
    ]
    return b"".join((*parts, b"\0\0\0\0"))
