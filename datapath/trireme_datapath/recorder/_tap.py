"""Packets of an interface from the kernel's ring (AF_PACKET, TPACKET_V3).

The kernel copies packets that fit the filter into blocks of memory that it shares with us; a
block is handed over when it is full or after a while, and goes back when it was read. Layouts:
``linux/if_packet.h`` and Documentation/networking/packet_mmap.rst.
"""

from __future__ import annotations

import contextlib
import mmap
import select
import socket
import sys
import time
from struct import Struct
from typing import TYPE_CHECKING, Final

from trireme_datapath.recorder._bpf import REJECT_ALL, Link, Program, compile_bpf
from trireme_datapath.recorder._matcher import (
    IPV6_TYPE,
    MAX_TAGS,
    compile_matcher,
    network_start,
)
from trireme_datapath.recorder._packet_socket import (
    ETHERNET_TYPES,
    LOOPBACK_TYPE,
    attach_program,
    bind_interface,
    hardware_type,
    refused,
)
from trireme_datapath.recorder._source import Batch
from trireme_datapath.recorder.capture_formats import CaptureInterface, LinkType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trireme_datapath.recorder.capture_formats import Frame
    from trireme_datapath.recorder.filters import CaptureFilter

__all__ = ["DEFAULT_RING_BYTES", "InterfaceTap", "open_taps"]

DEFAULT_RING_BYTES: Final = 16 * 1024 * 1024

_SOL_PACKET: Final = 263
_PACKET_RX_RING: Final = 5
_PACKET_STATISTICS: Final = 6
_PACKET_VERSION: Final = 10
_TPACKET_V3: Final = 2

_BLOCK_BYTES: Final = 1 << 20
_MIN_BLOCKS: Final = 2
_FRAME_BYTES: Final = 2048  # says nothing in this version but must divide a block
_RETIRE_MILLISECONDS: Final = 60
_USER_BLOCK: Final = 1
_VLAN_VALID: Final = 0x10
_VLAN_TYPE_VALID: Final = 0x40
_SOCKADDR: Final = 48  # behind struct tpacket3_hdr

_block_head = Struct("=8xIII").unpack_from  # status, packets, first packet
_packet_head = Struct("=IIIIIIHH").unpack_from
_vlan = Struct("=IH").unpack_from
_link_address = Struct("=H2siHBB8s").unpack_from
_cooked_head = Struct(">2sHIHBB8s")
_status_word = Struct("=I")


class InterfaceTap:
    """One interface, or all of them; gives what passes there in both directions.

    Args:
        name: The interface, or ``any``.
        filters: What is wanted.
        capture_bytes: Bytes that are kept of a packet.
        ring_bytes: Memory that the kernel may fill before packets are lost.
        cooked: Put the header of Linux "cooked" captures before packets in place of their own.

    Raises:
        RecorderError: There is no such interface, or the right to record is missing.
    """

    def __init__(
        self,
        name: str,
        filters: Sequence[CaptureFilter],
        *,
        capture_bytes: int,
        ring_bytes: int = DEFAULT_RING_BYTES,
        cooked: bool = False,
    ) -> None:
        """Open the ring; from now on packets are kept."""
        hardware = hardware_type(name)
        self._cooked = cooked or hardware is None
        link = Link.ETHERNET if hardware in ETHERNET_TYPES and not self._cooked else Link.NETWORK
        self._ethernet = link is Link.ETHERNET
        link_type = LinkType.ETHERNET if self._ethernet else LinkType.RAW
        self.interface = CaptureInterface(name, LinkType.COOKED if self._cooked else link_type)
        loopback = hardware is None or hardware == LOOPBACK_TYPE
        self._capture_bytes = capture_bytes
        if self._cooked:  # the header counts, as that of an Ethernet frame does
            capture_bytes = max(1, capture_bytes - _cooked_head.size)
        program = compile_bpf(filters, link, capture_bytes, loopback=loopback)
        self._matches = None if program.exact else compile_matcher(filters)
        self._blocks = max(_MIN_BLOCKS, ring_bytes // _BLOCK_BYTES)
        self._next = 0
        self._ended = False
        self._lost = 0
        kind = socket.SOCK_DGRAM if self._cooked else socket.SOCK_RAW
        try:
            # No protocol yet: nothing comes in before filter and ring are there.
            self._socket = socket.socket(socket.AF_PACKET, kind | socket.SOCK_CLOEXEC, 0)
        except OSError as error:
            raise refused(name, error) from error
        try:
            self._map = self._open(name, program)
        except OSError as error:
            self._socket.close()
            raise refused(name, error) from error

    def _open(self, name: str, program: Program) -> mmap.mmap:
        attach_program(self._socket, program)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        size = self._blocks * _BLOCK_BYTES
        request = Struct("=IIIIIII").pack(
            *(_BLOCK_BYTES, self._blocks, _FRAME_BYTES, size // _FRAME_BYTES),
            *(_RETIRE_MILLISECONDS, 0, 0),
        )
        self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        ring = mmap.mmap(
            self._socket.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE
        )
        try:
            bind_interface(self._socket, name)
        except OSError:
            ring.close()
            raise
        return ring

    def fileno(self) -> int:
        """Give the descriptor that is readable when a block is full."""
        return self._socket.fileno()

    def read(self) -> Iterator[list[Frame]]:
        """Give the frames of each block that the kernel has handed over."""
        ring = self._map
        for _ in range(self._blocks):
            start = self._next * _BLOCK_BYTES
            status, count, first = _block_head(ring, start)
            if not status & _USER_BLOCK:
                return
            frames = self._frames(start + first, count)
            _status_word.pack_into(ring, start + 8, 0)
            self._next = (self._next + 1) % self._blocks
            yield frames

    def _frames(self, at: int, count: int) -> list[Frame]:
        if self._cooked:
            return self._cook(at, count)
        frames: list[Frame] = []
        add, ring, unpack = frames.append, self._map, _packet_head
        for _ in range(count):
            step, seconds, nanoseconds, captured, original, status, mac, _net = unpack(ring, at)
            start = at + mac
            if status & _VLAN_VALID:
                add(self._tagged(at, start, seconds, nanoseconds, captured, original, status))
            else:
                add((seconds, nanoseconds, captured, original, ring[start : start + captured]))
            at += step
        return frames if self._matches is None else [one for one in frames if self._fits(one[4])]

    def _tagged(
        self,
        at: int,
        start: int,
        seconds: int,
        nanoseconds: int,
        captured: int,
        original: int,
        status: int,
    ) -> Frame:
        """Put the VLAN tag back in that the network card or the kernel took out."""
        data = self._map[start : start + captured]
        tag, kind = _vlan(self._map, at + 32)
        if not status & _VLAN_TYPE_VALID:
            kind = 0x8100
        if self._ethernet and captured >= 12:
            data = data[:12] + kind.to_bytes(2, "big") + tag.to_bytes(2, "big") + data[12:]
            data = data[: self._capture_bytes]
            captured, original = len(data), original + 4
        return seconds, nanoseconds, captured, original, data

    def _fits(self, data: bytes) -> bool:
        matches = self._matches
        if matches is None:
            return True
        # One tag more than the program saw: that which the kernel had taken out.
        start, kind = network_start(data, MAX_TAGS + 1) if self._ethernet else (0, IPV6_TYPE)
        # Whatever is no IPv6 was decided by the kernel; the matcher says the same of it.
        return matches(data, start) if kind else False

    def _cook(self, at: int, count: int) -> list[Frame]:
        frames: list[Frame] = []
        ring = self._map
        for _ in range(count):
            step, seconds, nanoseconds, captured, original, _, _, net = _packet_head(ring, at)
            _, protocol, index, hardware, kind, length, address = _link_address(
                ring, at + _SOCKADDR
            )
            data = ring[at + net : at + net + captured]
            at += step
            if self._matches is not None and not self._matches(data, 0):
                continue
            head = _cooked_head.pack(protocol, 0, index, hardware, kind, min(length, 8), address)
            size = len(head)
            frames.append((seconds, nanoseconds, captured + size, original + size, head + data))
        return frames

    def losses(self) -> tuple[int, int]:
        """Give how many packets the kernel had no room for so far; nobody knows their bytes."""
        with contextlib.suppress(OSError):
            data = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
            self._lost += int.from_bytes(data[4:8], sys.byteorder)  # asking sets it back
        return self._lost, 0

    def end(self) -> None:
        """Take nothing more; what is in the ring comes out within the time of a block."""
        if not self._ended:
            self._ended = True
            with contextlib.suppress(OSError):
                attach_program(self._socket, Program(REJECT_ALL, exact=True))

    def close(self) -> None:
        """Give the ring back."""
        self._map.close()
        self._socket.close()


def _needs_cooking(names: Sequence[str]) -> bool:
    """Whether the frames of these interfaces begin differently."""
    kinds = {hardware_type(name) for name in names}
    return None in kinds or (bool(kinds & ETHERNET_TYPES) and not kinds <= ETHERNET_TYPES)


class TapSource:
    """The taps of one recording."""

    loss_cause = "kernel"

    def __init__(self, taps: Sequence[InterfaceTap]) -> None:
        """Wait on all of them."""
        self._taps = list(taps)
        self.interfaces = tuple(tap.interface for tap in taps)
        self._poll = select.poll()
        for tap in taps:
            self._poll.register(tap.fileno(), select.POLLIN)
        self._end_ns = 0

    def register(self, descriptor: int) -> None:
        """Make `read` return early when this becomes readable."""
        self._poll.register(descriptor, select.POLLIN)

    def read(self, timeout_seconds: float) -> Iterator[Batch]:
        """Wait for packets, and give them."""
        self._poll.poll(max(0, int(timeout_seconds * 1000)))
        for index, tap in enumerate(self._taps):
            for frames in tap.read():
                if frames:
                    yield Batch(frames, index)

    def losses(self) -> tuple[int, int]:
        """Give packets and bytes that were lost so far."""
        found = [tap.losses() for tap in self._taps]
        return sum(one[0] for one in found), sum(one[1] for one in found)

    def end(self) -> None:
        """Take nothing more."""
        for tap in self._taps:
            tap.end()
        self._end_ns = time.monotonic_ns() + 2 * _RETIRE_MILLISECONDS * 1_000_000

    def is_over(self) -> bool:
        """Whether everything came out that was taken before `end`."""
        return bool(self._end_ns) and time.monotonic_ns() >= self._end_ns

    def close(self) -> None:
        """Give everything back."""
        for tap in self._taps:
            tap.close()


def open_taps(
    names: Sequence[str],
    filters: Sequence[CaptureFilter],
    *,
    capture_bytes: int,
    ring_bytes: int = DEFAULT_RING_BYTES,
) -> TapSource:
    """Tap interfaces.

    Args:
        names: Their names, or ``any``.
        filters: What is wanted.
        capture_bytes: Bytes that are kept of a packet.
        ring_bytes: Memory for each of them.

    Raises:
        RecorderError: One of them cannot be tapped.
    """
    cooked = _needs_cooking(names)
    taps: list[InterfaceTap] = []
    try:
        for name in dict.fromkeys(names):
            taps.append(  # noqa: PERF401  those that are open are closed if another fails
                InterfaceTap(
                    name,
                    filters,
                    capture_bytes=capture_bytes,
                    ring_bytes=ring_bytes,
                    cooked=cooked,
                )
            )
    except BaseException:
        for tap in taps:
            tap.close()
        raise
    return TapSource(taps)
