"""The stream of a monitor socket as something that a loop can read records from."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

from trireme_datapath.monitor import MessageError
from trireme_datapath.monitor.sources import Payload, PayloadType, SourceFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.records import Record
    from trireme_datapath.monitor.records import MonitorRecords
    from trireme_datapath.monitor.sources import Event, MonitorSocket

__all__ = ["MonitorFeed"]

_NAMES_PERIOD_NS: Final = 15_000_000_000  # pods come and go, and their interfaces with them
_LOG_PERIOD_NS: Final = 60_000_000_000


class MonitorFeed:
    """Reads messages from a socket and makes records of them; both sides of a `DatapathLoop`.

    Args:
        source: The socket.
        maker: Makes the records.
        link_names: Gives the names of the host's interfaces by number.
        see: Is shown every payload before it becomes records.

    Attributes:
        counters: ``messages`` that were read, ``records`` that they became, messages that are
            ``malformed`` or ``unreported`` (of a kind that has no records), and messages that
            were ``lost`` on the way, as the agent says.
    """

    def __init__(
        self,
        source: MonitorSocket,
        maker: MonitorRecords,
        link_names: Callable[[], Mapping[int, str]],
        see: Callable[[Payload], None] | None = None,
    ) -> None:
        """Join the two; nothing is opened."""
        self.counters: Counter[str] = Counter(
            {"messages": 0, "records": 0, "malformed": 0, "unreported": 0, "lost": 0}
        )
        self._source = source
        self._maker = maker
        self._link_names = link_names
        self._see = see
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.monitor")
        self._connections = 0
        self._names_ns = 0
        self._log_ns = 0
        self._unlogged: Counter[str] = Counter()
        self._example = ""

    def fileno(self) -> int:
        """Give the descriptor that is readable when messages wait."""
        return self._source.fileno()

    def drain(self, now_ns: int) -> list[Record]:
        """Read what waits and give its records."""
        del now_ns
        return self._records(self._source.read())

    def take_records(self, now_ns: int) -> list[Record]:
        """Do what is due without messages: connect, give up, look up names, sum up in the log."""
        if now_ns >= self._names_ns:
            self._names_ns = now_ns + _NAMES_PERIOD_NS
            self._maker.name_interfaces(self._link_names())
        records = self._records(self._source.turn())
        if self._source.counters["connections"] != self._connections:
            self._connections = self._source.counters["connections"]
            self._log.info("monitor_connected", socket=self._source.path)
        if self._unlogged and now_ns >= self._log_ns:
            self._log_ns = now_ns + _LOG_PERIOD_NS
            self._log.warning("monitor_incomplete", **self._unlogged, example=self._example)
            self._unlogged.clear()
            self._example = ""
        return records

    def _records(self, events: Iterable[Event]) -> list[Record]:
        records: list[Record] = []
        counters = self.counters
        for event in events:
            if not isinstance(event, Payload):
                if event.fault is SourceFault.DAMAGED:
                    counters["malformed"] += 1
                    self._note("malformed", 1, event.message)
                else:
                    self._log.warning("monitor_disconnected", error=event.message)
                continue
            if self._see is not None:
                self._see(event)
            if event.type != PayloadType.SAMPLE:
                counters["lost"] += event.lost
                self._note("lost", event.lost, f"processor {event.cpu}")
            else:
                counters["messages"] += 1
                try:
                    made = self._maker.records(event.data)
                except MessageError as error:
                    counters["malformed"] += 1
                    self._note("malformed", 1, str(error))
                    continue
                if made:
                    records += made
                else:
                    counters["unreported"] += 1
        counters["records"] += len(records)
        return records

    def _note(self, what: str, count: int, example: str) -> None:
        self._unlogged[what] += count
        self._example = self._example or example
