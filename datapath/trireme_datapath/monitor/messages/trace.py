"""Trace notifications: a packet that was seen at some point on its way."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from trireme_datapath.monitor._captured import (
    captured_layers,
    captured_packet,
    captured_summary,
    is_left_out,
)
from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor._go_text import encode_verbose, ip_text
from trireme_datapath.monitor.display import PLAIN_DISPLAY, SEPARATOR, Display, Level
from trireme_datapath.monitor.dissection import (
    DissectSummary,  # noqa: TC001  msgspec reads the annotation at run time
)
from trireme_datapath.monitor.profiles import PROFILE_1_16, Profile, find_profile
from trireme_datapath.monitor.tables.traces import (
    TRACE_REASON_ENCRYPT_MASK,
    TRACE_SUMMARIES,
    TracePoint,
    TraceReason,
    trace_observation_point,
)

__all__ = [
    "TRACE_NOTIFY_FLAG_IS_IPV6",
    "TRACE_NOTIFY_V0_LEN",
    "TRACE_NOTIFY_V1_LEN",
    "TRACE_NOTIFY_VERSION0",
    "TRACE_NOTIFY_VERSION1",
    "TraceNotify",
    "TraceNotifyV0",
    "TraceNotifyV1",
    "TraceNotifyVerbose",
    "decode_trace_notify",
    "trace_notify_to_verbose",
]

# type, point, endpoint, hash, length, captured, version, identities, endpoint, reason, flags, link
_LAYOUT: Final = struct.Struct("<BBHIIHHIIHBBI")
_VERSION: Final = struct.Struct("<14xH")
_NO_ADDRESS: Final = bytes(16)

TRACE_NOTIFY_V0_LEN: Final = _LAYOUT.size
TRACE_NOTIFY_V1_LEN: Final = _LAYOUT.size + 16
TRACE_NOTIFY_VERSION0: Final = 0
TRACE_NOTIFY_VERSION1: Final = 1
TRACE_NOTIFY_FLAG_IS_IPV6: Final = 1


class TraceNotifyV0(Struct, frozen=True, kw_only=True, gc=False):
    """What versions 0 and 1 have in common.

    Attributes:
        type: 4.
        obs_point: Where the packet was seen.
        source: The endpoint that it belongs to.
        hash: The hash of the packet.
        orig_len: The length of the packet.
        cap_len: How much of it was captured.
        version: 0 or 1.
        src_label: The security identity of the source.
        dst_label: The security identity of the destination.
        dst_id: The destination endpoint, or the port of the proxy.
        reason: Why it was forwarded, with the bit that says that it is encrypted.
        flags: Bit 0: it is IPv6.
        ifindex: The interface.
    """

    type: int = 0
    obs_point: int = 0
    source: int = 0
    hash: int = 0
    orig_len: int = 0
    cap_len: int = 0
    version: int = 0
    src_label: int = 0
    dst_label: int = 0
    dst_id: int = 0
    reason: int = 0
    flags: int = 0
    ifindex: int = 0


class TraceNotifyV1(TraceNotifyV0, frozen=True, kw_only=True, gc=False):
    """Version 1.

    Attributes:
        orig_ip: The source address before it was translated back; IPv4 in the first four bytes.
    """

    orig_ip: bytes = _NO_ADDRESS


class TraceNotify(TraceNotifyV1, frozen=True, kw_only=True, gc=False):
    """A packet that was seen at some point on its way."""

    def endpoints(self) -> tuple[int, int]:
        """Give the endpoints that filters compare."""
        return self.source, self.dst_id

    def show(self, level: Level, data: bytes, prefix: str, display: Display) -> str:
        """Give the form of a level."""
        if level is Level.JSON:
            return self.dump_json(data, prefix, display)
        if level is Level.VERBOSE:
            return SEPARATOR + self.dump_verbose(not display.hexadecimal, data, prefix, display)
        return self.dump_info(data, display)

    def data_offset(self) -> int:
        """Tell where the packet begins; 0 if the version is unknown."""
        if self.version == TRACE_NOTIFY_VERSION1:
            return TRACE_NOTIFY_V1_LEN
        return 0 if self.version else TRACE_NOTIFY_V0_LEN

    def is_ipv6(self) -> bool:
        """Tell whether the original address is IPv6."""
        return bool(self.flags & TRACE_NOTIFY_FLAG_IS_IPV6)

    def original_ip(self) -> IPv4Address | IPv6Address:
        """Give the source address before it was translated back; zero if it was not."""
        if self.is_ipv6():
            return IPv6Address(self.orig_ip)
        return IPv4Address(self.orig_ip[:4])

    def is_encrypted(self) -> bool:
        """Tell whether the packet is encrypted."""
        return bool(self.reason & TRACE_REASON_ENCRYPT_MASK)

    def trace_reason(self) -> int:
        """Give the reason without the bit for encryption."""
        return self.reason & ~TRACE_REASON_ENCRYPT_MASK

    def trace_reason_is_known(self) -> bool:
        """Tell whether the reason is other than "unknown"."""
        return self.trace_reason() != TraceReason.UNKNOWN

    def trace_reason_is_reply(self) -> bool:
        """Tell whether the packet answers another one."""
        return self.trace_reason() == TraceReason.CT_REPLY

    def trace_reason_is_encap(self) -> bool:
        """Tell whether the packet was wrapped into another one."""
        return self.trace_reason() in {TraceReason.SRV6_ENCAP, TraceReason.ENCRYPT_OVERLAY}

    def trace_reason_is_decap(self) -> bool:
        """Tell whether the packet was unwrapped from another one."""
        return self.trace_reason() == TraceReason.SRV6_DECAP

    def trace_summary(self, display: Display = PLAIN_DISPLAY) -> str:
        """Say where the packet was seen, as lines begin."""
        point = self.obs_point
        summary = TRACE_SUMMARIES.get(point)
        if summary is None:
            return "unknown trace"
        if point == TracePoint.TO_LXC:
            return f"{summary} {self.dst_id}"
        if point == TracePoint.FROM_LXC:
            return f"{summary} {self.source}"
        if point == TracePoint.TO_PROXY and self.dst_id and display.profile.has_proxy_ports:
            return f"{summary} port {self.dst_id}"
        if display.fixed and point == TracePoint.TO_HOST:
            return summary.removesuffix(" from")
        return summary

    def dump_info(self, data: bytes, display: Display = PLAIN_DISPLAY) -> str:
        """Give the line of the short form."""
        encrypted = ""
        if self.reason & TRACE_REASON_ENCRYPT_MASK:
            encrypted = "encrypted " if display.fixed else "encrypted  "
        packet = data[self.data_offset() :]
        return (
            f"{self.trace_summary(display)} {encrypted}flow {self.hash:#x} "
            f"{display.identities(self.src_label, self.dst_label)} state {self._state(display)} "
            f"ifindex {display.link(self.ifindex)} orig-ip {self._original_ip_text()}: "
            f"{captured_summary(packet, display)}\n"
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
            f"{prefix} MARK {self.hash:#x} FROM {self.source} "
            f"{trace_observation_point(self.obs_point)}: {self.orig_len} bytes "
            f"({self.cap_len} captured), state {self._state(display)}"
        )
        if self.ifindex:
            header += f", interface {display.link(self.ifindex)}"
        if self.src_label or self.dst_label:
            header += f", {display.identities(self.src_label, self.dst_label)}"
        header += f", orig-ip {self._original_ip_text()}"
        if self.dst_id:
            to_proxy = self.obs_point == TracePoint.TO_PROXY and display.profile.has_proxy_ports
            header += f", to {'proxy-port' if to_proxy else 'endpoint'} {self.dst_id}"
        header += "\n"
        offset = self.data_offset()
        if not self.cap_len or len(data) <= offset:
            return header
        packet = captured_packet(data[offset:], display, dissected=dissect)
        if display.profile.packet_before_header and not display.fixed:
            return packet + header
        return header + packet

    def dump_json(self, data: bytes, cpu_prefix: str, display: Display = PLAIN_DISPLAY) -> str:
        """Give the JSON form, a line."""
        verbose = trace_notify_to_verbose(self, display)
        verbose.cpu_prefix = cpu_prefix or UNSET
        offset = self.data_offset()
        if self.cap_len and len(data) > offset:
            packet = data[offset:]
            if is_left_out(packet, display):
                return ""
            verbose.summary = captured_layers(packet, display)
        return encode_verbose(verbose)

    def _state(self, display: Display) -> str:
        known = display.profile.trace_reasons.get(self.trace_reason())
        return known or str(self.reason)

    def _original_ip_text(self) -> str:
        return ip_text(self.orig_ip if self.flags & TRACE_NOTIFY_FLAG_IS_IPV6 else self.orig_ip[:4])


class TraceNotifyVerbose(
    Struct,
    kw_only=True,
    rename={
        "cpu_prefix": "cpu",
        "observation_point": "observationPoint",
        "trace_summary": "traceSummary",
        "src_label": "srcLabel",
        "dst_label": "dstLabel",
        "dst_id": "dstID",
    },
):
    """The JSON form of a trace notification, in the order of its keys."""

    cpu_prefix: str | UnsetType = UNSET
    type: str | UnsetType = "trace"
    mark: str | UnsetType = UNSET
    ifindex: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    observation_point: str = ""
    trace_summary: str = ""
    source: int = 0
    bytes: int = 0
    src_label: int = 0
    dst_label: int = 0
    dst_id: int = 0
    summary: DissectSummary | UnsetType = UNSET


def trace_notify_to_verbose(
    notify: TraceNotify, display: Display = PLAIN_DISPLAY
) -> TraceNotifyVerbose:
    """Make the JSON form, without processor and packet."""
    return TraceNotifyVerbose(
        mark=f"{notify.hash:#x}",
        ifindex=display.link(notify.ifindex),
        state=display.profile.trace_reasons.get(notify.trace_reason()) or str(notify.reason),
        observation_point=trace_observation_point(notify.obs_point),
        trace_summary=notify.trace_summary(display),
        source=notify.source,
        bytes=notify.orig_len,
        src_label=notify.src_label,
        dst_label=notify.dst_label,
        dst_id=notify.dst_id,
    )


def decode_trace_notify(data: bytes, profile: str | Profile = PROFILE_1_16) -> TraceNotify:
    """Read a trace notification of version 0 or 1.

    Raises:
        MessageError: It is too short, or of another version.
    """
    if len(data) < 16:
        raise MessageError("Unknown trace event")
    (version,) = _VERSION.unpack_from(data)
    if version > TRACE_NOTIFY_VERSION1:
        raise MessageError(f"Unrecognized trace event (version {version})")
    needed = TRACE_NOTIFY_V1_LEN if version else TRACE_NOTIFY_V0_LEN
    if len(data) < needed:
        if not find_profile(profile).length_errors:
            raise MessageError("unexpected EOF")
        raise MessageError(
            f"unexpected TraceNotifyV{version} data length, expected {needed} but got {len(data)}"
        )
    (
        kind,
        obs_point,
        source,
        packet_hash,
        orig_len,
        cap_len,
        version,
        src_label,
        dst_label,
        dst_id,
        reason,
        flags,
        ifindex,
    ) = _LAYOUT.unpack_from(data)
    return TraceNotify(
        type=kind,
        obs_point=obs_point,
        source=source,
        hash=packet_hash,
        orig_len=orig_len,
        cap_len=cap_len,
        version=version,
        src_label=src_label,
        dst_label=dst_label,
        dst_id=dst_id,
        reason=reason,
        flags=flags,
        ifindex=ifindex,
        orig_ip=data[TRACE_NOTIFY_V0_LEN:TRACE_NOTIFY_V1_LEN] if version else _NO_ADDRESS,
    )
