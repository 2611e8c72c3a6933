"""Hands the engine's records to the methods of a collector."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from trireme_collector.collector import COLLECT_METHODS
from trireme_collector.records import RECORD_TYPES, TraceReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trireme_collector.collector import EventCollector
    from trireme_collector.records import Record

__all__ = ["dispatcher"]


def dispatcher(collector: EventCollector) -> Callable[[Iterable[Record]], None]:
    """Bind the methods of a collector once; give what hands it any records.

    Kinds for which it has no method are left out.
    """
    methods = {
        kind: cast("Callable[[object], None]", method)
        for tag, kind in RECORD_TYPES.items()
        if callable(method := getattr(collector, COLLECT_METHODS[tag], None))
    }

    def dispatch(records: Iterable[Record]) -> None:
        for record in records:
            method = methods.get(type(record))
            if method is not None:
                method(record.lines if isinstance(record, TraceReport) else record)

    return dispatch
