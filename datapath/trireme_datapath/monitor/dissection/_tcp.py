"""The TCP header and its options."""

from __future__ import annotations

from functools import cache
from struct import Struct
from typing import TYPE_CHECKING, ClassVar

from trireme_datapath.monitor.dissection._ports import TCP_PORT_LAYERS, port_text
from trireme_datapath.monitor.dissection._values import (
    MAX_SHOWN,
    bool_text,
    bytes_text,
    list_text,
)

if TYPE_CHECKING:
    from trireme_datapath.monitor.dissection._progress import Progress

__all__ = ["ALL_FLAGS", "SUMMARY_FLAGS", "TCP"]

_FIXED = Struct(">HHIIHHHH")
_FIXED_BYTES = 20
_SMALLEST_OFFSET = 5
_END_OF_OPTIONS = 0
_NO_OPERATION = 1
_MAXIMUM_SEGMENT_SIZE = 2
_TIMESTAMPS = 8
_OPTION_NAMES = (
    "EndList",
    "NOP",
    "MSS",
    "WindowScale",
    "SACKPermitted",
    "SACK",
    "Echo",
    "EchoReply",
    "Timestamps",
    "PartialOrderConnectionPermitted",
    "PartialOrderServiceProfile",
    "CC",
    "CCNew",
    "CCEcho",
    "AltChecksum",
    "AltChecksumData",
)
# The flags in the order of the fields, and each one's bit in the 16 bits with the data offset.
_FIELD_FLAGS = (
    ("FIN", 0x001),
    ("SYN", 0x002),
    ("RST", 0x004),
    ("PSH", 0x008),
    ("ACK", 0x010),
    ("URG", 0x020),
    ("ECE", 0x040),
    ("CWR", 0x080),
    ("NS", 0x100),
)
# The same in the order of summaries; the short summary knows four of them.
ALL_FLAGS = (
    ("SYN", 0x002),
    ("ACK", 0x010),
    ("RST", 0x004),
    ("FIN", 0x001),
    ("PSH", 0x008),
    ("URG", 0x020),
    ("ECE", 0x040),
    ("CWR", 0x080),
    ("NS", 0x100),
)
# For each value of the byte with the flags, what the short summary shows.
SUMMARY_FLAGS = tuple(
    ", ".join(name for name, bit in ALL_FLAGS[:4] if value & bit) for value in range(256)
)


class TCP:
    """A TCP header."""

    name: ClassVar[str] = "TCP"
    protocol: ClassVar[str] = "tcp"
    __slots__ = (
        "_progress",
        "acknowledgment",
        "checksum",
        "contents",
        "data_offset",
        "destination_port",
        "flags",
        "options",
        "padding",
        "payload",
        "sequence",
        "source_port",
        "urgent",
        "window",
    )

    def __init__(self, progress: Progress) -> None:
        """Make an object that has decoded nothing."""
        self._progress = progress
        self.contents = self.payload = self.padding = b""
        self.source_port = self.destination_port = self.sequence = self.acknowledgment = 0
        self.data_offset = self.flags = self.window = self.checksum = self.urgent = 0
        self.options: list[tuple[int, bytes]] = []

    def decode(self, data: bytes) -> str:
        """Read the header; give the error, or ``""``."""
        size = len(data)
        if size < _FIXED_BYTES:
            self._progress.truncated = True
            return f"Invalid TCP header. Length {size} less than 20"
        (
            self.source_port,
            self.destination_port,
            self.sequence,
            self.acknowledgment,
            offset_flags,
            self.window,
            self.checksum,
            self.urgent,
        ) = _FIXED.unpack_from(data)
        self.data_offset = offset = offset_flags >> 12
        self.flags = offset_flags & 0x1FF
        if offset < _SMALLEST_OFFSET:
            return f"Invalid TCP data offset {offset} < 5"
        header = offset * 4
        if header > size:
            self._progress.truncated = True
            return "TCP data offset greater than packet length"
        self.contents = data[:header]
        self.payload = data[header:]
        return self._decode_options(self.contents) if header > _FIXED_BYTES else ""

    def _decode_options(self, header: bytes) -> str:
        at, end = _FIXED_BYTES, len(header)
        while at < end:
            kind = header[at]
            if kind <= _NO_OPERATION:
                self.options.append((kind, b""))
                at += 1
                if kind == _END_OF_OPTIONS:
                    self.padding = header[at:]
                    # 1.9 goes on, and takes what follows the end for options.
                    if not self._progress.is_1_9:
                        return ""
                continue
            left = end - at
            if left < 2:
                self._progress.truncated = True
                return f"Invalid TCP option length. Length {left} less than 2"
            length = header[at + 1]
            if length < 2:
                return f"Invalid TCP option length {length} < 2"
            if length > left:
                self._progress.truncated = True
                return f"Invalid TCP option length {length} exceeds remaining {left} bytes"
            self.options.append((kind, header[at + 2 : at + length]))
            at += length
        return ""

    def next_layer(self) -> str:
        """Name what the ports say."""
        return TCP_PORT_LAYERS.get(self.destination_port) or TCP_PORT_LAYERS.get(
            self.source_port, "Payload"
        )

    @property
    def crashes_upstream(self) -> bool:
        """Whether rendering the options makes upstream crash: 1.9 reads behind a short MSS."""
        return (
            self._progress.is_1_9
            and len(self.options) <= MAX_SHOWN
            and any(kind == _MAXIMUM_SEGMENT_SIZE and len(data) < 2 for kind, data in self.options)
        )

    def fields(self) -> str:
        """Render the fields."""
        options = [_option_text(kind, data) for kind, data in self.options]
        return (
            f"Contents={bytes_text(self.contents)} Payload={bytes_text(self.payload)}"
            f" SrcPort={port_text('tcp', self.source_port)}"
            f" DstPort={port_text('tcp', self.destination_port)}"
            f" Seq={self.sequence} Ack={self.acknowledgment} DataOffset={self.data_offset}"
            f" {_flags_text(self.flags)} Window={self.window} Checksum={self.checksum}"
            f" Urgent={self.urgent}"
            f" Options={list_text(options)} Padding={bytes_text(self.padding)}"
        )


@cache
def _flags_text(flags: int) -> str:
    return " ".join([f"{name}={bool_text(flags & bit)}" for name, bit in _FIELD_FLAGS])


def _option_text(kind: int, data: bytes) -> str:
    name = _OPTION_NAMES[kind] if kind < len(_OPTION_NAMES) else f"Unknown({kind})"
    value = ""
    if kind == _MAXIMUM_SEGMENT_SIZE and len(data) >= 2:
        value = str(int.from_bytes(data[:2], "big"))
    elif kind == _TIMESTAMPS and len(data) == 8:
        value = f"{int.from_bytes(data[:4], 'big')}/{int.from_bytes(data[4:], 'big')}"
    return f"TCPOption({name}:{value}{' 0x' + data.hex() if data else ''})"
