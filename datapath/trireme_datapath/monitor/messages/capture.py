"""Debug captures: a packet that the datapath shows at a point of its way."""

from __future__ import annotations

import struct
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from trireme_datapath.monitor._captured import captured_packet, captured_summary
from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor._go_text import encode_verbose
from trireme_datapath.monitor.display import PLAIN_DISPLAY, SEPARATOR, Display, Level
from trireme_datapath.monitor.tables.captures import CAPTURE_PREFIXES, CAPTURE_TEXTS

__all__ = [
    "DEBUG_CAPTURE_LEN",
    "DebugCapture",
    "DebugCaptureVerbose",
    "debug_capture_to_verbose",
    "decode_debug_capture",
]

# type, subtype, endpoint, hash, length, captured, two arguments
_LAYOUT: Final = struct.Struct("<BBHIIIII")

DEBUG_CAPTURE_LEN: Final = _LAYOUT.size


class DebugCapture(Struct, frozen=True, kw_only=True, gc=False):
    """A packet that the datapath shows.

    The two lengths have the names that they have in Go, where they are exchanged.

    Attributes:
        type: 3.
        sub_type: Where it was captured, a `CaptureType`.
        source: The endpoint that it belongs to.
        hash: The hash of the packet.
        len: The length of the packet.
        orig_len: How much of it was captured, with the version of the message in the upper half.
        arg1: The interface, or the port of the proxy.
        arg2: Not used.
    """

    type: int = 0
    sub_type: int = 0
    source: int = 0
    hash: int = 0
    len: int = 0
    orig_len: int = 0
    arg1: int = 0
    arg2: int = 0

    def endpoints(self) -> tuple[int, int]:
        """Give the endpoints that filters compare."""
        return self.source, 0

    def show(self, level: Level, data: bytes, prefix: str, display: Display) -> str:
        """Give the form of a level."""
        if level is Level.JSON:
            return self.dump_json(data, prefix, display)
        if level is Level.VERBOSE:
            return SEPARATOR + self.dump_verbose(not display.hexadecimal, data, prefix, display)
        return self.dump_info(data, display)

    @property
    def captured_bytes(self) -> int:
        """How much of the packet was captured."""
        return self.orig_len & 0xFFFF

    def message(self) -> str:
        """Say where the packet was captured."""
        text = CAPTURE_TEXTS.get(self.sub_type)
        if text is None:
            return f"Unknown message type={self.sub_type} arg1={self.arg1}"
        return text.format(a1=self.arg1, port=self._port())

    def prefix(self, display: Display = PLAIN_DISPLAY) -> str:
        """Give the start of the short form; empty if this kind of capture has none."""
        text = CAPTURE_PREFIXES.get(self.sub_type, "")
        return text.format(a1=self.arg1, port=self._port(), link=display.link(self.arg1))

    def dump_info(self, data: bytes, display: Display = PLAIN_DISPLAY) -> str:
        """Give the line of the short form; empty if this kind of capture has none."""
        prefix = self.prefix(display)
        if not prefix:
            return ""
        return f"{prefix}: {captured_summary(data[DEBUG_CAPTURE_LEN:], display)}\n"

    def dump_verbose(
        self,
        dissect: bool,  # noqa: FBT001  the order of the original
        data: bytes,
        prefix: str,
        display: Display = PLAIN_DISPLAY,
    ) -> str:
        """Give the line of the long form and the packet."""
        header = (
            f"{prefix} MARK {self.hash:#x} FROM {self.source} DEBUG: {self.len} bytes, "
            f"{self.message()}\n"
        )
        packet = data[DEBUG_CAPTURE_LEN:]
        if not self.len or not packet:
            return header
        return header + captured_packet(packet, display, dissected=dissect)

    def dump_json(self, data: bytes, cpu_prefix: str, display: Display = PLAIN_DISPLAY) -> str:
        """Give the JSON form, a line."""
        verbose = debug_capture_to_verbose(self, display)
        verbose.cpu_prefix = cpu_prefix or UNSET
        verbose.summary = captured_summary(data[DEBUG_CAPTURE_LEN:], display) or UNSET
        return encode_verbose(verbose)

    def _port(self) -> int:
        return (self.arg1 & 0xFF) << 8 | (self.arg1 >> 8) & 0xFF


class DebugCaptureVerbose(Struct, kw_only=True, rename={"cpu_prefix": "cpu"}):
    """The JSON form of a capture, in the order of its keys."""

    cpu_prefix: str | UnsetType = UNSET
    type: str | UnsetType = "capture"
    mark: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    prefix: str | UnsetType = UNSET
    source: int = 0
    bytes: int = 0
    summary: str | UnsetType = UNSET


def debug_capture_to_verbose(
    capture: DebugCapture, display: Display = PLAIN_DISPLAY
) -> DebugCaptureVerbose:
    """Make the JSON form, without processor and packet."""
    return DebugCaptureVerbose(
        mark=f"{capture.hash:#x}",
        message=capture.message(),
        prefix=capture.prefix(display) or UNSET,
        source=capture.source,
        bytes=capture.len,
    )


def decode_debug_capture(data: bytes) -> DebugCapture:
    """Read a capture.

    Raises:
        MessageError: It is too short.
    """
    if len(data) < DEBUG_CAPTURE_LEN:
        raise MessageError(
            f"unexpected DebugCapture data length, expected {DEBUG_CAPTURE_LEN} but got {len(data)}"
        )
    kind, sub_type, source, packet_hash, length, orig_len, arg1, arg2 = _LAYOUT.unpack_from(data)
    return DebugCapture(
        type=kind,
        sub_type=sub_type,
        source=source,
        hash=packet_hash,
        len=length,
        orig_len=orig_len,
        arg1=arg1,
        arg2=arg2,
    )
