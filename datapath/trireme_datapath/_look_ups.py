"""Look-ups of names, counted and reported.

The counting is Trireme's. The first look-up of a name by a unit is reported at once. If others
follow, thirty seconds after the second one report says how many. A name that was looked up once is
forgotten after thirty seconds. Other than upstream, failures are reported, each with its cause.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, Struct

from trireme_collector.records import DNSRequestReport, EndPoint

if TYPE_CHECKING:
    from collections import Counter

    from trireme_collector.records import Record

__all__ = ["Asker", "LookUpCounts"]

_SECOND_NS: Final = 1_000_000_000
_COUNTING_NS: Final = 30 * _SECOND_NS

_CountKey = tuple[str, str, str, str, str, str]
"""Context, namespace, name, error, client and server."""


class Asker(Struct, frozen=True, gc=False):
    """Who asked whom."""

    context_id: str
    namespace: str
    source: EndPoint
    destination: EndPoint
    unit_id: str


class _Count(Struct, gc=False):
    """Look-ups of one name; `due_ns` is when they are reported or forgotten."""

    asker: Asker
    count: int
    due_ns: int
    addresses: tuple[str, ...]


class LookUpCounts:
    """Counts look-ups and makes the reports.

    Args:
        max_names: Look-ups that are being counted; beyond, each is reported by itself.
        max_reports_per_second: More are counted only.
        counters: Where reports that were left out are counted.
    """

    def __init__(self, max_names: int, max_reports_per_second: int, counters: Counter[str]) -> None:
        """Count nothing yet."""
        self._max_names = max_names
        self._max_reports = max_reports_per_second
        self._counters = counters
        self._counts: dict[_CountKey, _Count] = {}
        self._due: deque[tuple[int, _CountKey]] = deque()
        self._records: list[Record] = []
        self._second = -1
        self._made = 0

    def count(
        self, asker: Asker, name: str, error: str, addresses: tuple[str, ...], now_ns: int
    ) -> None:
        """Count a look-up, with its answer or its error.

        Args:
            asker: Who asked whom.
            name: The name.
            error: Why there is no answer; empty if there is one.
            addresses: The addresses in it, as text.
            now_ns: Nanoseconds since 1970 UTC.
        """
        key = (
            asker.context_id,
            asker.namespace,
            name,
            error,
            asker.source.ip,
            asker.destination.ip,
        )
        known = self._counts.get(key)
        if known is None:
            self._report(asker, name, error, 1, addresses, now_ns)
            if len(self._counts) < self._max_names:
                due = now_ns + _COUNTING_NS
                self._counts[key] = _Count(asker, 1, due, addresses)
                self._due.append((due, key))
            return
        known.count += 1
        known.addresses = addresses or known.addresses
        if known.count == 2:
            known.due_ns = now_ns + _COUNTING_NS
            self._due.append((known.due_ns, key))

    def _report(
        self,
        asker: Asker,
        name: str,
        error: str,
        count: int,
        addresses: tuple[str, ...],
        now_ns: int,
    ) -> None:
        second = now_ns // _SECOND_NS
        if second != self._second:
            self._second, self._made = second, 0
        if self._made >= self._max_reports:
            self._counters["dns_reports_suppressed"] += 1
            return
        self._made += 1
        self._records.append(
            DNSRequestReport(
                namespace=asker.namespace,
                source=asker.source,
                name_lookup=name,
                error=error,
                count=count,
                time_ns=now_ns,
                context_id=asker.context_id,
                destination=asker.destination,
                ips=addresses or UNSET,
            )
        )

    def take_records(self, now_ns: int) -> list[Record]:
        """Give the reports that were made since the last call; look what is due."""
        due = self._due
        while due and (due[0][0] <= now_ns or due[0][0] > now_ns + _COUNTING_NS):
            moment, key = due.popleft()
            known = self._counts.get(key)
            if known is not None and known.due_ns == moment:
                self._settle(key, known, now_ns)
        records, self._records = self._records, []
        return records

    def settle_all(self, now_ns: int) -> None:
        """Report all that is being counted, at the end."""
        for key, known in list(self._counts.items()):
            self._settle(key, known, now_ns)
        self._due.clear()

    def _settle(self, key: _CountKey, known: _Count, now_ns: int) -> None:
        del self._counts[key]
        if known.count > 1:
            name, error = key[2], key[3]
            self._report(known.asker, name, error, known.count - 1, known.addresses, now_ns)
