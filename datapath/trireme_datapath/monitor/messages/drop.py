"""Drop notifications: a packet that did not get through, and why."""

from __future__ import annotations

import struct
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from trireme_datapath.monitor._captured import (
    captured_layers,
    captured_packet,
    captured_summary,
    is_left_out,
)
from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor._go_text import encode_verbose
from trireme_datapath.monitor.display import PLAIN_DISPLAY, SEPARATOR, Display, Level
from trireme_datapath.monitor.dissection import (
    DissectSummary,  # noqa: TC001  msgspec reads the annotation at run time
)
from trireme_datapath.monitor.profiles import PROFILE_1_16, Profile, find_profile
from trireme_datapath.monitor.tables.bpf_files import bpf_file_name

__all__ = [
    "DROP_NOTIFY_LEN",
    "DROP_NOTIFY_LEN_1_9",
    "DropNotify",
    "DropNotifyVerbose",
    "decode_drop_notify",
    "drop_notify_to_verbose",
]

# type, reason, endpoint, hash, length, captured, identities, endpoint, then details since 1.12
_LAYOUT: Final = struct.Struct("<BBHIIIIIIHBbI")
_LAYOUT_1_9: Final = struct.Struct("<BBHIIIIIII")

DROP_NOTIFY_LEN: Final = _LAYOUT.size
DROP_NOTIFY_LEN_1_9: Final = _LAYOUT_1_9.size


class DropNotify(Struct, frozen=True, kw_only=True, gc=False):
    """A packet that was dropped.

    Attributes:
        type: 1.
        sub_type: Why.
        source: The endpoint at which it happened; 0 is the host, or unknown.
        hash: The hash of the packet.
        orig_len: The length of the packet.
        cap_len: How much of it was captured, with the version of the message in the upper half.
        src_label: The security identity of the source.
        dst_label: The security identity of the destination.
        dst_id: The destination endpoint; 0 on the way out.
        line: The line of the BPF program.
        file: The file of the BPF program.
        ext_error: A second error, such as that of a route lookup.
        ifindex: The interface.
        unused: The word that 1.9 has in place of the last four.
    """

    type: int = 0
    sub_type: int = 0
    source: int = 0
    hash: int = 0
    orig_len: int = 0
    cap_len: int = 0
    src_label: int = 0
    dst_label: int = 0
    dst_id: int = 0
    line: int = 0
    file: int = 0
    ext_error: int = 0
    ifindex: int = 0
    unused: int = 0

    def endpoints(self) -> tuple[int, int]:
        """Give the endpoints that filters compare."""
        return self.source, self.dst_id & 0xFFFF

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
        return self.cap_len & 0xFFFF

    def dump_info(self, data: bytes, display: Display = PLAIN_DISPLAY) -> str:
        """Give the line of the short form."""
        reason = display.drop_reason(self.sub_type, self.ext_error)
        details = ""
        if display.profile.has_drop_details:
            details = f" ifindex {self.ifindex}, file {bpf_file_name(self.file)}:{self.line},"
        return (
            f"xx drop ({reason}) flow {self.hash:#x} to endpoint {self.dst_id},{details} "
            f"{display.identities(self.src_label, self.dst_label)}: "
            f"{captured_summary(data[display.profile.drop_length :], display)}\n"
        )

    def dump_verbose(
        self,
        dissect: bool,  # noqa: FBT001  the order of the original
        data: bytes,
        prefix: str,
        display: Display = PLAIN_DISPLAY,
    ) -> str:
        """Give the line of the long form and the packet."""
        header = (
            f"{prefix} MARK {self.hash:#x} FROM {self.source} DROP: {self.orig_len} bytes, "
            f"reason {display.drop_reason(self.sub_type, self.ext_error)}"
        )
        if self.src_label or self.dst_label:
            source, destination = map(display.identity, (self.src_label, self.dst_label))
            header += f", identity {source}->{destination}"
        if self.dst_id:
            header += f", to endpoint {self.dst_id}"
        header += "\n"
        offset = display.profile.drop_length
        if not self.cap_len or len(data) <= offset:
            return header
        packet = captured_packet(data[offset:], display, dissected=dissect)
        if display.profile.packet_before_header and not display.fixed:
            return packet + header
        return header + packet

    def dump_json(self, data: bytes, cpu_prefix: str, display: Display = PLAIN_DISPLAY) -> str:
        """Give the JSON form, a line."""
        verbose = drop_notify_to_verbose(self, display)
        verbose.cpu_prefix = cpu_prefix or UNSET
        offset = display.profile.drop_length
        if self.cap_len and len(data) > offset:
            packet = data[offset:]
            if is_left_out(packet, display):
                return ""
            verbose.summary = captured_layers(packet, display)
        return encode_verbose(verbose)


class DropNotifyVerbose(
    Struct,
    kw_only=True,
    rename={
        "cpu_prefix": "cpu",
        "src_label": "srcLabel",
        "dst_label": "dstLabel",
        "dst_id": "dstID",
        "line": "Line",
        "file": "File",
        "ext_error": "ExtError",
        "ifindex": "Ifindex",
    },
):
    """The JSON form of a drop notification, in the order of its keys."""

    cpu_prefix: str | UnsetType = UNSET
    type: str | UnsetType = "drop"
    mark: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    source: int = 0
    bytes: int = 0
    src_label: int = 0
    dst_label: int = 0
    dst_id: int = 0
    line: int | UnsetType = UNSET
    file: int | UnsetType = UNSET
    ext_error: int | UnsetType = UNSET
    ifindex: int | UnsetType = UNSET
    summary: DissectSummary | UnsetType = UNSET


def drop_notify_to_verbose(
    notify: DropNotify, display: Display = PLAIN_DISPLAY
) -> DropNotifyVerbose:
    """Make the JSON form, without processor and packet."""
    verbose = DropNotifyVerbose(
        mark=f"{notify.hash:#x}",
        reason=display.drop_reason(notify.sub_type, notify.ext_error),
        source=notify.source,
        bytes=notify.orig_len,
        src_label=notify.src_label,
        dst_label=notify.dst_label,
        dst_id=notify.dst_id,
    )
    if display.profile.has_drop_details:
        verbose.line = notify.line
        verbose.file = notify.file
        verbose.ext_error = notify.ext_error
        verbose.ifindex = notify.ifindex
    return verbose


def decode_drop_notify(data: bytes, profile: str | Profile = PROFILE_1_16) -> DropNotify:
    """Read a drop notification.

    Raises:
        MessageError: It is too short.
    """
    version = find_profile(profile)
    if len(data) < version.drop_length:
        raise MessageError(
            f"unexpected DropNotify data length, expected {version.drop_length} but got {len(data)}"
        )
    if not version.has_drop_details:
        return _decode_1_9(data)
    (
        kind,
        sub_type,
        source,
        packet_hash,
        orig_len,
        cap_len,
        src_label,
        dst_label,
        dst_id,
        line,
        file,
        ext_error,
        ifindex,
    ) = _LAYOUT.unpack_from(data)
    return DropNotify(
        type=kind,
        sub_type=sub_type,
        source=source,
        hash=packet_hash,
        orig_len=orig_len,
        cap_len=cap_len,
        src_label=src_label,
        dst_label=dst_label,
        dst_id=dst_id,
        line=line,
        file=file,
        ext_error=ext_error,
        ifindex=ifindex,
    )


def _decode_1_9(data: bytes) -> DropNotify:
    (
        kind,
        sub_type,
        source,
        packet_hash,
        orig_len,
        cap_len,
        src_label,
        dst_label,
        dst_id,
        unused,
    ) = _LAYOUT_1_9.unpack_from(data)
    return DropNotify(
        type=kind,
        sub_type=sub_type,
        source=source,
        hash=packet_hash,
        orig_len=orig_len,
        cap_len=cap_len,
        src_label=src_label,
        dst_label=dst_label,
        dst_id=dst_id,
        unused=unused,
    )
