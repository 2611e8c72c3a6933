"""The collector that exports flows as IPFIX."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NoReturn

from trireme_collector import FlowRecord, RetryableDeliveryError
from trireme_collector_ipfix._connection import Connection, explain
from trireme_collector_ipfix._messages import Exporter
from trireme_collector_ipfix._rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector import Record
    from trireme_collector_ipfix._options import IpfixOptions

__all__ = ["IpfixCollector"]

_NANOSECONDS = 1_000_000_000


class IpfixCollector:
    """Exports flows, packed into as few messages as possible.

    Over TCP a batch counts as delivered when the other host has acknowledged all of it, over UDP
    when the kernel has taken it.

    Args:
        options: Where flows go and how.
        name: What messages call the collector.
        time_ns: The time of day, nanoseconds since 1970 UTC.
        monotonic: The time, seconds from any moment.

    Attributes:
        kinds: The kinds of records that it takes.
    """

    kinds = frozenset({FlowRecord})

    def __init__(
        self,
        options: IpfixOptions,
        *,
        name: str = "ipfix",
        time_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep the options; open nothing."""
        self._options = options
        self._name = name
        self._time_ns = time_ns
        self._monotonic = monotonic
        self._exporter = Exporter(options.observation_domain, options.max_message_bytes)
        self._connection: Connection | None = None
        self._announced_at = 0.0

    def deliver(self, batch: Sequence[Record]) -> None:
        """Export the flows.

        Raises:
            RetryableDeliveryError: The receiver is away; ``delivered`` says how many flows went
                out over UDP before that was noticed.
        """
        rows = [rows_of(record) for record in batch if isinstance(record, FlowRecord)]
        connection = self._connected()
        exporter, done = self._exporter, 0
        sequence = exporter.sequence
        try:
            for message in exporter.messages(rows, self._time_ns() // _NANOSECONDS):
                sequence = message.sequence
                connection.send(message.data)
                sequence, done = exporter.sequence, message.done
            connection.settle()
        except OSError as error:
            # What did not go out is not missing: it comes again.
            exporter.sequence = sequence
            self._fail(error, done if self._options.transport == "udp" else 0)

    def reopen(self) -> None:
        """Close the connection; the next batch opens another."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self) -> Connection:
        """Give a connection whose other side knows, or will be told, every template."""
        connection = self._connection
        if connection is not None:
            try:
                connection.check_peer()
            except OSError:
                self.close()
            else:
                self._announce_in_time()
                return connection
        try:
            self._connection = connection = Connection(self._options, monotonic=self._monotonic)
        except OSError as error:
            self._fail(error, 0)
        if self._options.transport == "tcp":
            self._exporter.start_session()
        else:
            self._exporter.announce_again()
        self._announced_at = self._monotonic()
        return connection

    def _announce_in_time(self) -> None:
        if self._options.transport != "udp":
            return
        now = self._monotonic()
        if now >= self._announced_at + self._options.template_interval_seconds:
            self._exporter.announce_again()
            self._announced_at = now

    def _fail(self, error: OSError, delivered: int) -> NoReturn:
        self.close()
        options = self._options
        where = f"{options.transport} {options.host} port {options.port}"
        message = f"collector {self._name!r} cannot export to {where}: {explain(error)}"
        raise RetryableDeliveryError(message, delivered=delivered) from error
