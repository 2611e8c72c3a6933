"""Packets of a capture file as the source of a recording, judged by a policy if one is given."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from trireme_datapath.backends.pcap import CaptureError
from trireme_datapath.backends.replay import ReplayBackend, queued
from trireme_datapath.recorder._matcher import compile_matcher
from trireme_datapath.recorder._source import Batch
from trireme_datapath.recorder._verdict_comment import verdict_comment
from trireme_datapath.recorder.capture_formats import CaptureInterface, Frame, LinkType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trireme_datapath.backends.pcap import CapturedPacket, CaptureReader
    from trireme_datapath.engine import Engine
    from trireme_datapath.recorder._awaited_input import AwaitedInput
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
        awaited: What the reader reads, where packets may still be coming.
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
        awaited: AwaitedInput | None = None,
    ) -> None:
        """Read nothing yet."""
        self._awaited = awaited
        self._error: CaptureError | None = None
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
        """Make `read` return early; a file is never waited for."""
        if self._awaited is not None:
            self._awaited.register(descriptor)

    def read(self, timeout_seconds: float) -> Iterator[Batch]:
        """Give the next packets.

        Raises:
            CaptureError: The capture cannot be read on.
        """
        awaited = self._awaited
        if awaited is not None and not awaited.wait(timeout_seconds):
            return
        taken = self._take(awaited)
        if not taken:
            self._over = True
        rows = [row for row in taken if row is not None]
        if rows:
            comments = [comment for _, comment in rows]
            yield Batch([frame for frame, _ in rows], 0, comments)

    def _take(self, awaited: AwaitedInput | None) -> list[tuple[Frame, str] | None]:
        """Take what is there, at most a batch; nothing at the end."""
        if self._error is not None:
            raise self._error
        taken: list[tuple[Frame, str] | None] = []
        try:
            for row in itertools.islice(self._rows, _BATCH):
                taken.append(row)
                if awaited is not None and not awaited.wait(0):
                    break
        except CaptureError as error:
            if awaited is not None and awaited.is_left:
                return taken  # it was left in the middle of a packet
            self._error = error  # what was read before comes first
            if not taken:
                raise
        return taken

    def losses(self) -> tuple[int, int]:
        """Nothing is lost."""
        return 0, 0

    def end(self) -> None:
        """Read no more."""
        self._over = True
        if self._awaited is not None:
            self._awaited.leave()

    def is_over(self) -> bool:
        """Whether the capture is at its end, or was left."""
        return self._over

    def close(self) -> None:
        """Close the capture."""
        self._reader.close()
