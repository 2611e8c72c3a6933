"""Packets of a capture file as the source of a recording, judged by a policy if one is given."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from trireme_datapath.backends.replay import ReplayBackend, queued
from trireme_datapath.recorder._matcher import compile_matcher
from trireme_datapath.recorder._source import Batch
from trireme_datapath.recorder._verdict_comment import verdict_comment
from trireme_datapath.recorder.capture_formats import CaptureInterface, Frame, LinkType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trireme_datapath.backends.pcap import CapturedPacket, CaptureReader
    from trireme_datapath.engine import Engine
    from trireme_datapath.recorder.filters import CaptureFilter

__all__ = ["ReplaySource"]

_BATCH: Final = 256
_NANOSECONDS: Final = 1_000_000_000


class ReplaySource:
    """Gives the IP packets of a capture that fit, from their IP header on, and then is over.

    Args:
        reader: The capture; closed with the source.
        filters: What is wanted.
        capture_bytes: Bytes that are kept of a packet; 0 for all.
        engine: Judges every packet of the capture, at its time; the packets that are recorded
            get its verdict and the rule as a comment.
    """

    interfaces = (CaptureInterface("replay", LinkType.RAW),)
    loss_cause = "file"  # none ever is lost

    def __init__(
        self,
        reader: CaptureReader,
        filters: Sequence[CaptureFilter],
        *,
        capture_bytes: int = 0,
        engine: Engine | None = None,
    ) -> None:
        """Read nothing yet."""
        self._reader = reader
        self._engine = engine
        self._matches = compile_matcher(filters)
        self._capture_bytes = capture_bytes
        self._last_ns = 0
        self._rows = self._all()
        self._over = False

    def _all(self) -> Iterator[tuple[Frame, str] | None]:
        engine = self._engine
        if engine is None:
            for packet in self._reader:
                yield self._row(packet, "")
            return
        for replayed in ReplayBackend(self._reader, engine):
            as_queued = queued(replayed.packet)
            rule = engine.rule_of(as_queued)
            comment = verdict_comment(as_queued, replayed.decision.verdict, rule)
            yield self._row(replayed.packet, comment)
            engine.take_records(replayed.now_ns)  # nobody asks for them, and they take memory

    def _row(self, packet: CapturedPacket, comment: str) -> tuple[Frame, str] | None:
        if not self._matches(packet.data, 0):
            return None
        # A packet without a time came when the one before it did.
        self._last_ns = self._last_ns if packet.time_ns is None else packet.time_ns
        data = packet.data[: self._capture_bytes] if self._capture_bytes else packet.data
        seconds, nanoseconds = divmod(self._last_ns, _NANOSECONDS)
        return (seconds, nanoseconds, len(data), packet.original_length, data), comment

    def register(self, descriptor: int) -> None:
        """Do nothing: a file is never waited for."""

    def read(self, timeout_seconds: float) -> Iterator[Batch]:
        """Give the next packets.

        Raises:
            CaptureError: The capture cannot be read on.
        """
        del timeout_seconds
        taken = list(itertools.islice(self._rows, _BATCH))
        if not taken:
            self._over = True
        rows = [row for row in taken if row is not None]
        if rows:
            comments = [comment for _, comment in rows]
            yield Batch([frame for frame, _ in rows], 0, comments)

    def losses(self) -> tuple[int, int]:
        """Nothing is lost."""
        return 0, 0

    def end(self) -> None:
        """Read no more."""
        self._over = True

    def is_over(self) -> bool:
        """Whether the capture is at its end, or was left."""
        return self._over

    def close(self) -> None:
        """Close the capture."""
        self._reader.close()
