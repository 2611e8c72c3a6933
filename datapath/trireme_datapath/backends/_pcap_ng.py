"""The block format pcapng: sections, each in its own byte order, with any number of interfaces.

Layout: draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from trireme_datapath.backends._pcap_classic import MAX_FRAME_BYTES, MAX_TIME_NS, Frame
from trireme_datapath.backends._pcap_types import CaptureDirection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trireme_datapath.backends._pcap_source import CaptureSource
    from trireme_datapath.backends._pcap_types import CaptureError

__all__ = ["MAX_BLOCK_BYTES", "MAX_INTERFACES", "SECTION_MAGIC", "read_blocks"]

MAX_BLOCK_BYTES = 16 * 1024 * 1024
"""Length of one block: the largest frame with room for long comments; what libpcap allows too.
Without a limit a damaged length would have gigabytes read into memory."""

MAX_INTERFACES = 65_536
"""Interfaces of one section: as many as the old packet block can number.
They are kept in memory."""

MAX_NAME_CHARACTERS = 255
"""Kept of an interface name: Linux allows 15, and names on other systems are paths or GUIDs."""

SECTION_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
"""The type of a section header block, the same in both byte orders."""

_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_VERSIONS = {(1, 0), (1, 2)}

_INTERFACE = 1
_OLD_PACKET = 2
_SIMPLE_PACKET = 3
_ENHANCED_PACKET = 6

_OPTION_END = 0
_OPTION_NAME = 2
_OPTION_FLAGS = 2
_OPTION_RESOLUTION = 9
_OPTION_OFFSET = 14

_FRAMING_BYTES = 12  # type, length, and the length again
_MIN_SECTION_BYTES = 28
_SECTION_READ_BYTES = 16  # type, length, byte-order mark, version
_ENHANCED_BYTES = 20
_DEFAULT_RESOLUTION = 6
_NS_PER_S = 1_000_000_000
_DIRECTIONS = {1: CaptureDirection.INBOUND, 2: CaptureDirection.OUTBOUND}
_DAMAGED = "the file is damaged there, everything before was read"


class _Interface(NamedTuple):
    link_type: int
    snapshot_length: int
    name: str = ""
    units_per_s: int = 10**_DEFAULT_RESOLUTION
    offset_s: int = 0


class _Section:
    """The byte order of a section, and the interfaces that it described so far."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.interfaces: list[_Interface] = []
        self.head = Struct(order + "II").unpack
        self.word = Struct(order + "I").unpack_from
        self.option = Struct(order + "HH").unpack_from
        self.interface = Struct(order + "HxxI").unpack_from
        self.enhanced = Struct(order + "IIIII").unpack_from
        self.old = Struct(order + "HxxIIII").unpack_from
        self.offset = Struct(order + "q").unpack


class _Block:
    """One block: its place for messages, and its content."""

    def __init__(self, source: CaptureSource, section: _Section, start: int, body: bytes) -> None:
        self.source = source
        self.section = section
        self.start = start
        self.body = body

    def error(self, found: str) -> CaptureError:
        return self.source.error(found, _DAMAGED, offset=self.start)

    def need(self, size: int, what: str) -> None:
        if len(self.body) < size:
            raise self.error(f"{what} of {len(self.body)} bytes, it needs {size}")

    def options(self, at: int) -> Iterator[tuple[int, bytes]]:
        """Walk the options from ``at`` to their end mark or to the end of the block."""
        body = self.body
        while at + 4 <= len(body):
            code, size = self.section.option(body, at)
            if code == _OPTION_END:
                return
            at += 4
            if at + size > len(body):
                raise self.error(f"option {code} of {size} bytes runs past its block")
            yield code, body[at : at + size]
            at += size + (-size & 3)

    def frame_bytes(self, at: int, captured: int) -> bytes:
        """Take the captured bytes that stand at ``at``."""
        if captured > MAX_FRAME_BYTES:
            raise self.error(
                f"a packet of {captured} captured bytes, at most {MAX_FRAME_BYTES} are possible"
            )
        if at + captured > len(self.body):
            raise self.error(f"a packet of {captured} captured bytes runs past its block")
        return self.body[at : at + captured]

    def described(self, number: int) -> _Interface:
        """Find the interface of a packet."""
        interfaces = self.section.interfaces
        if number >= len(interfaces):
            raise self.error(f"a packet of interface {number}, which was not described before")
        return interfaces[number]

    def time_ns(self, interface: _Interface, high: int, low: int) -> int:
        time_ns = (high << 32 | low) * _NS_PER_S // interface.units_per_s
        time_ns += interface.offset_s * _NS_PER_S
        if not 0 <= time_ns <= MAX_TIME_NS:
            raise self.error("a packet with a time before 1970 or after 2262")
        return time_ns


def read_blocks(source: CaptureSource) -> Iterator[Frame]:
    """Read the sections; the type of the first block was read already.

    Raises:
        CaptureError: The capture cannot be read on; frames before the place were delivered.
    """
    section = _read_section(source, 0)
    while True:
        start = source.offset
        head = source.read(4)
        if not head:
            return
        if head == SECTION_MAGIC:
            section = _read_section(source, start)
            continue
        head += source.read(4)
        if len(head) < 8:
            raise source.truncated("a block header", start)
        kind, total = section.head(head)
        _check_total(source, start, total, _FRAMING_BYTES)
        reader = _READERS.get(kind)
        if reader is None:
            source.discard(total - _FRAMING_BYTES, "a block", start)
            body = b""
        else:
            body = source.read_all_of(total - _FRAMING_BYTES, "a block", start)
        _check_trailer(source, section, start, total)
        frame = None if reader is None else reader(_Block(source, section, start, body))
        if frame is not None:
            yield frame


def _read_section(source: CaptureSource, start: int) -> _Section:
    """Read a section header behind its block type."""
    head = source.read_all_of(12, "a section header", start)
    order = _ORDERS.get(head[4:8])
    if order is None:
        raise source.error(
            f"a section header with the byte-order mark {head[4:8].hex()}", _DAMAGED, offset=start
        )
    section = _Section(order)
    total, _, major, minor = Struct(order + "IIHH").unpack(head)
    _check_total(source, start, total, _MIN_SECTION_BYTES)
    if (major, minor) not in _VERSIONS:
        raise source.error(
            f"pcapng version {major}.{minor}, only 1.0 and 1.2 are known",
            "convert the file with editcap",
            offset=start,
        )
    source.discard(total - _SECTION_READ_BYTES - 4, "a section header", start)
    _check_trailer(source, section, start, total)
    return section


def _check_total(source: CaptureSource, start: int, total: int, smallest: int) -> None:
    if smallest <= total <= MAX_BLOCK_BYTES and not total % 4:
        return
    if total % 4:
        found = f"a block length of {total}, which is no multiple of 4"
    elif total < smallest:
        found = f"a block length of {total}, it needs {smallest}"
    else:
        found = f"a block length of {total}, at most {MAX_BLOCK_BYTES} are read"
    raise source.error(found, _DAMAGED, offset=start)


def _check_trailer(source: CaptureSource, section: _Section, start: int, total: int) -> None:
    (again,) = section.word(source.read_all_of(4, "a block", start))
    if again != total:
        raise source.error(
            f"a block whose length is {total} at its begin and {again} at its end",
            _DAMAGED,
            offset=start,
        )


def _read_interface(block: _Block) -> None:
    block.need(8, "an interface description")
    section = block.section
    if len(section.interfaces) == MAX_INTERFACES:
        raise block.error(f"more than {MAX_INTERFACES} interfaces in one section")
    link_type, snapshot_length = section.interface(block.body)
    name = ""
    units_per_s = 10**_DEFAULT_RESOLUTION
    offset_s = 0
    for code, value in block.options(8):
        if code == _OPTION_NAME:
            name = _clean(value)
        elif code == _OPTION_RESOLUTION:
            if len(value) != 1:
                raise block.error(f"a time resolution of {len(value)} bytes, it has 1")
            exponent = value[0] & 0x7F
            # The highest bit says whether the exponent is one of 2 or of 10.
            units_per_s = (2 if value[0] & 0x80 else 10) ** exponent
        elif code == _OPTION_OFFSET:
            if len(value) != 8:
                raise block.error(f"a time offset of {len(value)} bytes, it has 8")
            (offset_s,) = section.offset(value)
    section.interfaces.append(_Interface(link_type, snapshot_length, name, units_per_s, offset_s))


def _read_enhanced(block: _Block) -> Frame:
    block.need(_ENHANCED_BYTES, "a packet block")
    number, high, low, captured, original = block.section.enhanced(block.body)
    return _timed_frame(block, number, high, low, captured, original)


def _read_old(block: _Block) -> Frame:
    block.need(_ENHANCED_BYTES, "a packet block")
    # Bytes 2 and 3 count dropped packets; all the rest stands where it stands today.
    number, high, low, captured, original = block.section.old(block.body)
    return _timed_frame(block, number, high, low, captured, original)


def _timed_frame(
    block: _Block, number: int, high: int, low: int, captured: int, original: int
) -> Frame:
    interface = block.described(number)
    data = block.frame_bytes(_ENHANCED_BYTES, captured)
    direction = CaptureDirection.UNKNOWN
    end = _ENHANCED_BYTES + captured + (-captured & 3)
    for code, value in block.options(end):
        if code == _OPTION_FLAGS and len(value) == 4:
            (flags,) = block.section.word(value)
            direction = _DIRECTIONS.get(flags & 3, CaptureDirection.UNKNOWN)
    time_ns = block.time_ns(interface, high, low)
    return Frame(interface.link_type, time_ns, data, original, interface.name, direction)


def _read_simple(block: _Block) -> Frame:
    block.need(4, "a simple packet block")
    (original,) = block.section.word(block.body)
    interface = block.described(0)
    # The block does not say how much was captured: all, or what the interface cuts at.
    captured = min(original, interface.snapshot_length or original)
    data = block.frame_bytes(4, captured)
    return Frame(interface.link_type, None, data, original, interface.name)


def _clean(value: bytes) -> str:
    """Make a name safe for records and terminals."""
    text = value.rstrip(b"\0").decode("utf-8", "replace")[:MAX_NAME_CHARACTERS]
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


_READERS: Final[dict[int, Callable[[_Block], Frame | None]]] = {
    _INTERFACE: _read_interface,
    _OLD_PACKET: _read_old,
    _SIMPLE_PACKET: _read_simple,
    _ENHANCED_PACKET: _read_enhanced,
}
