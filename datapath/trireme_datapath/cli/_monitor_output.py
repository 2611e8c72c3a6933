"""What `trireme-collector monitor` prints: messages, complaints and counts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click
import msgspec

from trireme_collector.cli.output import print_json, printable
from trireme_collector.formats import format_rfc3339
from trireme_datapath.monitor.sources import Payload, PayloadType, SourceError, SourceFault

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from trireme_datapath.monitor import Formatter
    from trireme_datapath.monitor.sources import Event

__all__ = ["MonitorPrinter", "MonitorStatistics"]

_MAX_COMPLAINTS: Final = 20


class MonitorStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a monitor saw.

    Attributes:
        messages: Messages that came.
        types: The same by type.
        filtered: Messages that the filter held back.
        malformed: Messages that could not be read.
        lost: Messages that were lost on the way to us, as the source says.
        faults: What went wrong with the source itself, by kind.
    """

    messages: int
    types: dict[str, int]
    filtered: int
    malformed: int
    lost: int
    faults: dict[str, int]


class MonitorPrinter:
    """Prints events in the form of a formatter.

    Args:
        formatter: Makes text of messages.
        output: Where the text goes.
        as_json: Whether messages are JSON.
        with_time: Whether to say when each message came.
        clock: Gives nanoseconds since 1970 UTC.

    Attributes:
        faults: How often each fault of the source occurred.
    """

    def __init__(
        self,
        formatter: Formatter,
        output: BinaryIO,
        *,
        as_json: bool,
        with_time: bool,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Start with nothing seen."""
        self.faults: dict[SourceFault, int] = {}
        self._formatter = formatter
        self._output = output
        self._as_json = as_json
        self._with_time = with_time
        self._clock = clock
        self._complaints = 0

    def put(self, events: list[Event]) -> None:
        """Print what came together, and see to it that it is seen."""
        time_text = format_rfc3339(self._clock()) if self._with_time else ""
        texts = []
        for event in events:
            if isinstance(event, SourceError):
                self._complain(event)
            elif text := self._text(event):
                texts.append(self._timed(text, time_text) if time_text else text)
        if texts:
            self._output.write("".join(texts).encode("utf-8", "replace"))
            self._output.flush()

    def statistics(self) -> MonitorStatistics:
        """Count what was seen."""
        seen = self._formatter.seen
        return MonitorStatistics(
            messages=sum(seen.messages.values()),
            types=seen.messages,
            filtered=seen.filtered,
            malformed=seen.malformed,
            lost=seen.lost,
            faults={fault.value: count for fault, count in sorted(self.faults.items())},
        )

    def print_statistics(self) -> None:
        """Print the counts on standard error."""
        counts = self.statistics()
        if self._as_json:
            fields: dict[str, object] = {"statistics": msgspec.to_builtins(counts)}
            print_json(fields, err=True, indent=False)
            return
        rows = {"messages": counts.messages}
        rows.update({f"  {name}": count for name, count in counts.types.items()})
        rows |= {"filtered": counts.filtered, "malformed": counts.malformed, "lost": counts.lost}
        rows.update({f"source {name}": count for name, count in counts.faults.items()})
        width = max(map(len, rows))
        for name, count in rows.items():
            click.echo(f"{name:<{width}}  {count}", err=True)

    def _text(self, payload: Payload) -> str:
        if payload.type == PayloadType.SAMPLE:
            return self._formatter.message(payload.data, payload.cpu)
        return self._formatter.lost(payload.lost, payload.cpu)

    def _timed(self, text: str, time_text: str) -> str:
        if self._as_json and text.startswith("{"):
            return f'{{"time":"{time_text}",{text[1:]}'
        return f"{time_text} {text}"

    def _complain(self, error: SourceError) -> None:
        self.faults[error.fault] = self.faults.get(error.fault, 0) + 1
        self._complaints += 1
        if self._complaints <= _MAX_COMPLAINTS:
            label = click.style("warning:", fg="yellow", bold=True)
            click.echo(f"{label} {printable(error.message)}", err=True)
        if self._complaints == _MAX_COMPLAINTS:
            click.echo("further warnings are only counted; --stats shows the counts", err=True)
