"""Packets out of capture files: classic pcap and pcapng, also gzip-compressed, also from a pipe.

Reading is total and streams: memory stays bounded whatever the file holds, and anything that
cannot be read is one `CaptureError` after everything before it was delivered.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from trireme_datapath.backends._pcap_classic import (
    CLASSIC_MAGICS,
    MAX_FRAME_BYTES,
    MAX_TIME_NS,
    Frame,
    read_classic,
)
from trireme_datapath.backends._pcap_links import LINK_READERS, MAX_VLAN_TAGS, link_type_text
from trireme_datapath.backends._pcap_ng import (
    MAX_BLOCK_BYTES,
    MAX_INTERFACES,
    SECTION_MAGIC,
    read_blocks,
)
from trireme_datapath.backends._pcap_source import STANDARD_INPUT, CaptureSource, open_source
from trireme_datapath.backends._pcap_types import (
    CaptureDirection,
    CapturedPacket,
    CaptureError,
    LinkHeader,
    SkipReason,
    TruncatedCaptureError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

__all__ = [
    "MAX_BLOCK_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_INTERFACES",
    "MAX_TIME_NS",
    "MAX_VLAN_TAGS",
    "STANDARD_INPUT",
    "CaptureDirection",
    "CaptureError",
    "CaptureReader",
    "CapturedPacket",
    "LinkHeader",
    "SkipReason",
    "TruncatedCaptureError",
]

# Formats that people meet and that are told apart from damage, by their first word.
_FOREIGN = {
    b"\xa1\xb2\xcd\x34": "a modified pcap file (Kuznetzov)",
    b"\x34\xcd\xb2\xa1": "a modified pcap file (Kuznetzov)",
    b"snoo": "a snoop file",
    b"\x28\xb5\x2f\xfd": "a file compressed with zstd",
    b"\xfd7zX": "a file compressed with xz",
    b"BZh9": "a file compressed with bzip2",
    b"PK\x03\x04": "a ZIP archive",
    b"\x04\x22\x4d\x18": "a file compressed with LZ4",
}


class CaptureReader:
    """Iterates over the IP packets of one capture, once.

    Attributes:
        name: The file, as messages name it.
        frames: How many frames were read so far, with those that gave no packet.
        skipped: How many frames gave no packet, by reason.
    """

    def __init__(self, capture: str | os.PathLike[str] | BinaryIO, *, name: str = "") -> None:
        """Open a capture and read what comes before its first packet.

        Args:
            capture: A file or named pipe, ``-`` for standard input, or a binary file object,
                which is closed with the reader.
            name: What messages call a file object.

        Raises:
            CaptureError: It cannot be opened, or is no capture.
        """
        if isinstance(capture, (str, os.PathLike)):
            source = open_source(capture)
        else:
            source = CaptureSource(capture, name or "capture")
        self.name = source.name
        self.frames = 0
        self.skipped: dict[SkipReason, int] = {}
        self._source = source
        try:
            self._frames = _frames_of(source)
        except CaptureError:
            source.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, except standard input."""
        self._source.close()

    def __iter__(self) -> Iterator[CapturedPacket]:
        """Give the packets in the order of the file.

        Raises:
            TruncatedCaptureError: The file ends in the middle of something.
            CaptureError: The file cannot be read on.
        """
        readers = LINK_READERS
        skipped = self.skipped
        for frame in self._frames:
            self.frames += 1
            link_type, time_ns, data, original, interface, direction = frame
            read_link = readers.get(link_type)
            if read_link is None:
                raise _unsupported(self._source, link_type)
            link = read_link(data)
            if isinstance(link, SkipReason):
                skipped[link] = skipped.get(link, 0) + 1
                continue
            size = link.size_bytes
            yield CapturedPacket(
                number=self.frames,
                time_ns=time_ns,
                data=data[size:],
                original_length=max(original, len(data)) - size,
                interface=interface,
                link_type=link_type,
                link=link,
                direction=direction or link.direction,
            )


def _frames_of(source: CaptureSource) -> Iterator[Frame]:
    magic = source.magic
    if magic in CLASSIC_MAGICS:
        link_type, frames = read_classic(source)
        if link_type not in LINK_READERS:
            # All frames are of this type: say so at once, even when there are none.
            raise _unsupported(source, link_type)
        return frames
    if magic == SECTION_MAGIC:
        return read_blocks(source)
    advice = "give a pcap or pcapng file, as tcpdump -w and Wireshark write them"
    if not magic:
        raise source.error("the file is empty", advice, offset=0)
    found = _FOREIGN.get(magic)
    if found is None:
        raise source.error(f"no capture, it begins with {magic.hex(' ')}", advice, offset=0)
    raise source.error(f"this is {found}", "convert it to pcap or pcapng first", offset=0)


def _unsupported(source: CaptureSource, link_type: int) -> CaptureError:
    return source.error(
        f"{link_type_text(link_type)} is not supported",
        "capture on an Ethernet, raw IP, loopback or `any` interface",
    )
