"""The interface that records go to, and what a collector may look like behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector.records import (
        Checkpoint,
        ConnectionExceptionReport,
        ContainerRecord,
        CounterReport,
        DNSRequestReport,
        FlowRecord,
        IPTablesTrace,
        PacketReport,
        PingReport,
        Record,
        UserRecord,
    )

__all__ = [
    "COLLECT_METHODS",
    "BatchCollector",
    "EventCollector",
    "NullCollector",
]

COLLECT_METHODS = {
    "flow": "collect_flow_event",
    "container": "collect_container_event",
    "user": "collect_user_event",
    "trace": "collect_trace_event",
    "packet": "collect_packet_event",
    "counter": "collect_counter_event",
    "dns": "collect_dns_requests",
    "ping": "collect_ping_event",
    "connection_exception": "collect_connection_exception_report",
    "iptables_trace": "collect_iptables_trace",
    "checkpoint": "collect_checkpoint",
}
"""The method that takes a record, by the value of the record's ``type`` field."""


@runtime_checkable
class EventCollector(Protocol):
    """What an agent reports to: the eight methods of the seed.

    They are called from packet-processing threads: they return at once, return nothing and
    never raise. A `Pipeline` has these methods; so may anything else.
    """

    def collect_flow_event(self, record: FlowRecord) -> None:
        """Take a flow that was judged."""

    def collect_container_event(self, record: ContainerRecord) -> None:
        """Take a container that came, changed or went."""

    def collect_user_event(self, record: UserRecord) -> None:
        """Take a user that was seen; its ``id`` is already set (`stats_user_hash`)."""

    def collect_trace_event(self, records: Sequence[str]) -> None:
        """Take lines of an iptables trace."""

    def collect_packet_event(self, report: PacketReport) -> None:
        """Take a packet that was traced or dropped outside any flow."""

    def collect_counter_event(self, counter_report: CounterReport) -> None:
        """Take the counters of a processing unit."""

    def collect_dns_requests(self, request: DNSRequestReport) -> None:
        """Take a DNS request of a processing unit."""

    def collect_ping_event(self, report: PingReport) -> None:
        """Take a step of a ping."""


@runtime_checkable
class BatchCollector(Protocol):
    """A plugin that takes many records at once.

    It may also have these methods; each is called if it is there, and none while another runs:

    * ``open()`` once before the first batch, on the thread that starts the pipeline. It raises
      `ConfigError` when the collector can never work as it is configured, and
      `RetryableDeliveryError` when it cannot work yet.
    * ``flush()`` about once a second after batches were taken, and before ``close()``.
    * ``reopen()`` between two batches, when files or sockets are to be opened anew.
    * ``close()`` at the end, also after a failed ``open()``.

    An attribute ``kinds``, a set of record types, says which records it takes; all of them are
    given without it.

    The other form of a plugin is any subset of the ``collect_*`` methods.
    """

    def deliver(self, batch: Sequence[Record]) -> None:
        """Send the records, and return only when the receiver has them.

        Raises:
            RetryableDeliveryError: It was not taken this time and is to be sent again later;
                ``delivered`` says how many records at its start were taken nevertheless.
            PermanentDeliveryError: It was refused for good; ``delivered`` and ``rejected``
                say which records, when not all.
        """


class NullCollector:
    """Takes everything and keeps nothing; a base for collectors that want few of the methods."""

    def collect_flow_event(self, record: FlowRecord) -> None:
        """Ignore the flow."""

    def collect_container_event(self, record: ContainerRecord) -> None:
        """Ignore the container event."""

    def collect_user_event(self, record: UserRecord) -> None:
        """Ignore the user."""

    def collect_trace_event(self, records: Sequence[str]) -> None:
        """Ignore the trace lines."""

    def collect_packet_event(self, report: PacketReport) -> None:
        """Ignore the packet."""

    def collect_counter_event(self, counter_report: CounterReport) -> None:
        """Ignore the counters."""

    def collect_dns_requests(self, request: DNSRequestReport) -> None:
        """Ignore the DNS request."""

    def collect_ping_event(self, report: PingReport) -> None:
        """Ignore the ping."""

    def collect_connection_exception_report(self, report: ConnectionExceptionReport) -> None:
        """Ignore the connection that was never answered (extension)."""

    def collect_iptables_trace(self, trace: IPTablesTrace) -> None:
        """Ignore the parsed trace (extension)."""

    def collect_checkpoint(self, record: Checkpoint) -> None:
        """Ignore the counts (extension)."""
