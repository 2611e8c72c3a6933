"""Conversations out of lines of JSON, without taking apart what is only passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from msgspec import UNSET, UnsetType

from trireme_collector.netobserv._flow_clock import FlowClock
from trireme_collector.netobserv._tracker import Tracker, comparable
from trireme_collector.netobserv._writer import encode_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    _Give: TypeAlias = Callable[[dict[str, object]], None]
    _GiveFlowLog: TypeAlias = Callable[[bytes, Sequence[object], str], None]

__all__ = ["LineTracker"]

_HASH, _TYPE = "_HashId", "_RecordType"

# So few that their fields are still in the processor's cache when they are added up.
_PORTION = 64


class LineTracker:
    """Feeds a tracker with flow logs in JSON, one a line.

    Only the fields that tracking needs are decoded. A flow log that is given out again keeps its
    bytes; its id and type are put at its end.

    Attributes:
        clock: The clock of the flow logs, for `process_by_time`.
        broken: How many lines were no JSON object, or nested too deeply.
        repaired: How many lines had bytes that are no UTF-8; each became U+FFFD.
    """

    def __init__(self, tracker: Tracker, *, clock_field: str = "TimeFlowEndMs") -> None:
        """Build the decoder for what the configuration needs.

        Args:
            tracker: What follows the conversations.
            clock_field: The time in milliseconds by which `process_by_time` goes.
        """
        self.broken = 0
        self.repaired = 0
        self._table = tracker.table
        plan = tracker.table.plan
        self._width = plan.key_width
        names = tuple(dict.fromkeys((*plan.names, _HASH, _TYPE, clock_field)))
        self._names = names
        self._own = (names.index(_HASH), names.index(_TYPE))
        self._time = names.index(clock_field)
        self.clock = FlowClock()
        self._decode = _row_decoder(names, self._width)
        self._decode_any = msgspec.json.Decoder().decode
        # Values as they stand there: they are not changed.
        self._decode_whole = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

    def process(self, lines: Sequence[bytes], now_ms: int) -> list[bytes]:
        """Take a batch of lines, then let the time pass until now; see `Tracker.process`.

        Args:
            lines: Flow logs, without line ends. Empty ones are skipped.
            now_ms: The time in milliseconds.

        Returns:
            The records as JSON, without line ends.
        """
        given: list[bytes] = []
        give, give_flow_log = self._adders(given)
        table = self._table
        table.set_clock(now_ms)
        for start in range(0, len(lines), _PORTION):
            table.observe(self._items(lines[start : start + _PORTION]), give_flow_log, give)
        table.advance(give)
        return given

    def process_by_time(self, lines: Sequence[bytes]) -> list[bytes]:
        """Take a batch of lines by the clock of the flow logs themselves.

        That clock never goes back, so what comes out depends on the input alone.
        """
        given: list[bytes] = []
        give, give_flow_log = self._adders(given)
        table, clock, time = self._table, self.clock, self._time
        for start in range(0, len(lines), _PORTION):
            items = self._items(lines[start : start + _PORTION])
            done = 0
            for index, (_, row, _) in enumerate(items):
                if clock.is_over(row[time]):
                    table.observe(items[done:index], give_flow_log, give)
                    done = index
                    table.set_clock(clock.move(row[time]))
                    # What ended in the meantime has ended before this flow log.
                    table.advance(give)
            table.observe(items[done:], give_flow_log, give)
        table.advance(give)
        return given

    def tick(self, now_ms: int) -> list[bytes]:
        """Let the time pass until now; give the ends and heartbeats that are due."""
        return self.process((), now_ms)

    def flush(self, now_ms: int | None = None) -> list[bytes]:
        """End all conversations, as at a shutdown; see `Tracker.flush`."""
        given = [] if now_ms is None else self.tick(now_ms)
        self._table.flush(self._adders(given)[0])
        return given

    def _adders(self, given: list[bytes]) -> tuple[_Give, _GiveFlowLog]:
        """Make the functions that write records and flow logs."""
        add = given.append
        own_hash, own_type = self._own

        def give_flow_log(line: bytes, row: Sequence[object], text: str) -> None:
            if (
                row[own_hash] is UNSET
                and row[own_type] is UNSET
                and (text or line.strip(b" \t\r{}"))
            ):
                id_ = f',"_HashId":"{text}"' if text else ""
                add(b"%b%b" % (line[:-1], f'{id_},"_RecordType":"flowLog"}}'.encode()))
            else:
                add(self._rewritten(line, row, text))

        return lambda record: add(encode_record(record)), give_flow_log

    def _items(
        self, lines: Sequence[bytes]
    ) -> list[tuple[tuple[object, ...] | None, Sequence[Any], bytes]]:
        lines = [
            self._trimmed(line) if line[-1:] != b"}" or not line.isascii() else line
            for line in lines
        ]
        astuple, width = msgspec.structs.astuple, self._width
        try:
            rows = list(map(astuple, map(self._decode, lines)))
        except (ValueError, RecursionError):
            return self._items_one_by_one(lines)
        return [(row[:width], row, line) for row, line in zip(rows, lines, strict=True)]

    def _items_one_by_one(
        self, lines: Sequence[bytes]
    ) -> list[tuple[tuple[object, ...] | None, Sequence[Any], bytes]]:
        items: list[tuple[tuple[object, ...] | None, Sequence[Any], bytes]] = []
        for line in lines:
            if not line:
                continue
            try:
                row: Sequence[Any] = msgspec.structs.astuple(self._decode(line))
            except (ValueError, RecursionError):
                # A key field of an unusual type is sound; whatever else is wrong shows again.
                found = self._any_row(line)
                if found is None:
                    self.broken += 1
                else:
                    items.append((comparable(found[: self._width]), found, line))
            else:
                items.append((tuple(row[: self._width]), row, line))
        return items

    def _any_row(self, line: bytes) -> list[Any] | None:
        try:
            flow = self._decode_any(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(flow, dict):
            return None
        return [flow.get(name, UNSET) for name in self._names]

    def _trimmed(self, line: bytes) -> bytes:
        """Remove what stands around the object, and what is no text."""
        line = line.strip()
        if not line.isascii():
            text = line.decode("utf-8", "replace").encode()
            if text != line:
                self.repaired += 1
                return text
        return line

    def _rewritten(self, line: bytes, row: Sequence[object], text: str) -> bytes:
        """Take a flow log apart that has fields of ours already, and put it together anew."""
        record: dict[str, object]
        try:
            record = dict(self._decode_whole(line))
        except RecursionError:
            # It could just be followed when its row was read; what is in the row is sound.
            record = {k: v for k, v in zip(self._names, row, strict=True) if v is not UNSET}
        if text:
            record[_HASH] = text
        record[_TYPE] = "flowLog"
        return encode_record(record)


def _row_decoder(names: Sequence[str], width: int) -> Callable[[bytes], Any]:
    """Make a decoder of the named fields alone; those before the width hold text or integers."""
    key: object = str | int | UnsetType
    fields = [
        (f"f{i}", key if i < width else Any, msgspec.field(default=UNSET, name=name))
        for i, name in enumerate(names)
    ]
    try:
        row = msgspec.defstruct("FlowLogRow", fields, gc=False)
    except ValueError:
        # A name that needs escapes in JSON: then every line is decoded as a whole.
        return _decode_nothing
    return msgspec.json.Decoder(row).decode


def _decode_nothing(line: bytes) -> NoReturn:
    del line
    raise ValueError("there is no decoder for these fields")
