"""Conversations out of a stream, with all that may be done to records on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.netobserv._line_tracker import LineTracker
from trireme_collector.netobserv._writer import encode_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from trireme_collector.netobserv._enrichment import Enricher
    from trireme_collector.netobserv._reader import FlowReader
    from trireme_collector.netobserv._tracker import Tracker

__all__ = ["ConversationStream"]

_ENDS_AT_ONCE = 1_000


class ConversationStream:
    """Feeds a tracker and writes its records as lines.

    Without a reader and an enricher, lines take the short way: flow logs are passed on as they
    are.

    Attributes:
        lines: How many lines were read.
        flows: How many flow logs were read.
        records: How many records were given out.
        clock: The clock of the flow logs.
        reader: What checks lines; None if nothing does.
    """

    def __init__(
        self,
        tracker: Tracker,
        *,
        by_time: bool,
        reader: FlowReader | None = None,
        enricher: Enricher | None = None,
    ) -> None:
        """Connect the parts.

        Args:
            tracker: What follows the conversations.
            by_time: Whether the flow logs drive the clock.
            reader: Checks lines; needed where fields are to be dropped.
            enricher: Names the addresses.
        """
        self.lines = self.flows = self.records = 0
        self._tracker = tracker
        self._by_time = by_time
        self.reader = reader
        self._enricher = enricher
        self._line_tracker = LineTracker(tracker)
        self.clock = self._line_tracker.clock
        self._now_ms = 0

    @property
    def broken(self) -> int:
        """How many lines were no flow log."""
        return self._line_tracker.broken + (self.reader.broken if self.reader else 0)

    def set_clock(self, now_ms: int) -> None:
        """Set the clock, as to go on where another stream stopped; nothing is given out."""
        self.clock.move(now_ms)
        self._tracker.table.set_clock(now_ms)

    def tick(self, now_ms: int) -> list[bytes]:
        """Let the time pass until now; give the ends and heartbeats that are due."""
        self.clock.move(now_ms)
        return self._written(self._tracker.tick(now_ms), now_ms)

    def take_lines(self, lines: Sequence[bytes], now_ms: int) -> list[bytes]:
        """Take lines of JSON.

        Args:
            lines: Flow logs, without line ends.
            now_ms: The time, if the flow logs do not drive the clock.

        Returns:
            Records as JSON, without line ends.
        """
        self.lines += len(lines)
        if self.reader is not None:
            read = self.reader.read
            flows = [flow for line in lines if line and (flow := read(line)) is not None]
            return self.take(flows, now_ms)
        if self._enricher is not None:
            msg = "an enricher needs a reader"
            raise ValueError(msg)
        broken = self._line_tracker.broken
        if self._by_time:
            given = self._line_tracker.process_by_time(lines)
        else:
            given = self._line_tracker.process(lines, now_ms)
        self.flows += sum(map(bool, lines)) - (self._line_tracker.broken - broken)
        self.records += len(given)
        return given

    def take(self, flows: Sequence[Mapping[str, object]], now_ms: int) -> list[bytes]:
        """Take flow logs that were decoded elsewhere; see `take_lines`."""
        self.flows += len(flows)
        if not self._by_time:
            return self._written(self._tracker.process(flows, now_ms), now_ms)
        clock = self.clock
        given: list[bytes] = []
        waiting: list[Mapping[str, object]] = []
        for flow in flows:
            time_ms = flow.get("TimeFlowEndMs")
            if clock.is_over(time_ms) and isinstance(time_ms, (int, float)):
                given += self._until_now(waiting)
                waiting = []
                # What ended in the meantime has ended before this flow log.
                clock.move(time_ms)
                given += self._until_now(waiting)
            waiting.append(flow)
        return given + self._until_now(waiting)

    def _until_now(self, flows: Sequence[Mapping[str, object]]) -> list[bytes]:
        now_ms = self.clock.now_ms
        return self._written(self._tracker.process(flows, now_ms), now_ms)

    def finish(self) -> Iterator[list[bytes]]:
        """End all conversations, some at a time: there may be more than fit into the memory."""
        while len(self._tracker):
            ended: list[dict[str, object]] = []
            self._tracker.table.flush(ended.append, _ENDS_AT_ONCE)
            yield self._written(ended, self._now_ms)

    def _written(self, records: Iterable[Mapping[str, object]], now_ms: int) -> list[bytes]:
        enricher = self._enricher
        if enricher is not None:
            records = [enricher.enrich(record, now_ms) for record in records]
        self._now_ms = now_ms
        lines = [encode_record(record) for record in records]
        self.records += len(lines)
        return lines
