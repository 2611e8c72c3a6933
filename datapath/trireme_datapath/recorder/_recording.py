"""One recording without its input and output: what is kept, what is counted, when it ends."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import msgspec

from trireme_datapath.recorder.capture_formats import MAX_CAPTURE_BYTES, CaptureFormat
from trireme_datapath.recorder.filters import (
    CaptureFilter,  # noqa: TC001  msgspec reads the annotation at run time
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_datapath.recorder.capture_formats import Frame

__all__ = [
    "LOST_BY_DISK",
    "NEVER_NS",
    "Recording",
    "RecordingRequest",
    "RecordingStatistics",
    "StopCondition",
    "StopReason",
    "capture_length",
]

NEVER_NS: Final = 2**63 - 1
LOST_BY_DISK: Final = "disk"


class StopReason(enum.StrEnum):
    """Why a recording ended."""

    ASKED = "asked"
    PACKETS = "packets"
    BYTES = "bytes"
    TIME = "time"
    SIZE = "size"
    """The largest size of a file was reached."""
    SPACE = "space"
    """The disk came down to what must stay free."""
    SOURCE_END = "source-end"
    """A file that was replayed ended."""
    GONE = "gone"
    """The client went away."""
    SHUTDOWN = "shutdown"
    FAILED = "failed"


class StopCondition(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What ends a recording early; the first one that is met does. 0 is off.

    Attributes:
        bytes_captured_count: Bytes of packets, as far as they were kept.
        packets_captured_count: Packets.
        time_elapsed_ns: Nanoseconds since the recording began; below 0 it ends at once.
    """

    bytes_captured_count: int = 0
    packets_captured_count: int = 0
    time_elapsed_ns: int = 0


class RecordingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants recorded.

    Attributes:
        include: The filters; a packet that fits one of them is recorded.
        file_prefix: What the name of the file begins with; ``hubble`` when empty.
        max_capture_length: Bytes that are kept of a packet; 0 leaves it to the recorder.
        stop_condition: What ends it early.
        capture_format: How it is written; None leaves it to the recorder.
        rotate_bytes: Begin another file when one has so many bytes; 0 is off.
        rotate_ns: Begin another file after so many nanoseconds; 0 is off.
        ring_files: Keep only the last so many files; 0 keeps all.
        interfaces: The interfaces to record on; those of the recorder when empty.
        from_queue: Record the packets that an agent judges instead, with the verdict.
    """

    include: tuple[CaptureFilter, ...]
    file_prefix: str = ""
    max_capture_length: int = 0
    stop_condition: StopCondition = StopCondition()
    capture_format: CaptureFormat | None = None
    rotate_bytes: int = 0
    rotate_ns: int = 0
    ring_files: int = 0
    interfaces: tuple[str, ...] = ()
    from_queue: bool = False


class RecordingStatistics(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a recording counted so far.

    Attributes:
        bytes_captured: Bytes of packets that were written, as far as they were kept.
        packets_captured: Packets that were written.
        packets_lost: Packets that fitted and were not written: the kernel or a queue had no room,
            or the disk did not take them.
        bytes_lost: Their bytes, of those whose length is known.
    """

    bytes_captured: int = 0
    packets_captured: int = 0
    packets_lost: int = 0
    bytes_lost: int = 0


class Recording:
    """Counts, cuts and ends.

    Args:
        stop: What ends it.
        now_ns: A clock that does not jump: when it begins.

    Attributes:
        lost_by_cause: Packets that were lost, by where that was.
    """

    def __init__(self, stop: StopCondition, now_ns: int) -> None:
        """Begin."""
        self._packets_left = stop.packets_captured_count or NEVER_NS
        self._bytes_left = stop.bytes_captured_count or NEVER_NS
        elapsed = min(stop.time_elapsed_ns, NEVER_NS - now_ns)
        self.deadline_ns = now_ns + elapsed if elapsed else NEVER_NS
        self.ended: StopReason | None = None
        self._full = elapsed < 0
        self._bytes = self._packets = self._lost_packets = self._lost_bytes = 0
        self.lost_by_cause: dict[str, int] = {}

    @property
    def statistics(self) -> RecordingStatistics:
        """What was counted so far."""
        return RecordingStatistics(
            bytes_captured=self._bytes,
            packets_captured=self._packets,
            packets_lost=self._lost_packets,
            bytes_lost=self._lost_bytes,
        )

    def admit(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """Give those frames that belong to the recording; it ends with the one that fills it.

        Frames that were taken before it was ended from outside belong to it.
        """
        if self._full:
            return ()
        count = len(frames)
        if count < self._packets_left and self._bytes_left >= NEVER_NS:
            self._packets_left -= count
            return frames
        kept = 0
        for frame in frames:
            kept += 1
            self._packets_left -= 1
            self._bytes_left -= frame[2]
            if self._packets_left <= 0 or self._bytes_left <= 0:
                self._full = True
                self.end(StopReason.PACKETS if self._packets_left <= 0 else StopReason.BYTES)
                break
        return frames[:kept]

    def is_full(self) -> bool:
        """Whether it takes nothing more, not even what waits."""
        return self._full

    def written(self, packets: int, size: int) -> None:
        """Count packets that are in the file."""
        self._packets += packets
        self._bytes += size

    def lost(self, packets: int, size: int = 0, *, cause: str = LOST_BY_DISK) -> None:
        """Count packets that are not, and will not be; the cause says where they got lost."""
        if packets:
            self.lost_by_cause[cause] = self.lost_by_cause.get(cause, 0) + packets
        self._lost_packets += packets
        self._lost_bytes += size

    def turn(self, now_ns: int) -> None:
        """End it when its time is over."""
        if now_ns >= self.deadline_ns:
            self.end(StopReason.TIME)

    def end(self, reason: StopReason) -> None:
        """End it; the first reason stays."""
        if self.ended is None:
            self.ended = reason


def capture_length(asked: int, default: int) -> int:
    """Decide how many bytes of a packet are kept: 0 for all, and never more than can be."""
    return min(asked or default, MAX_CAPTURE_BYTES)
