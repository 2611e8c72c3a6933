"""The collector that sends RFC 5424 messages."""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import TYPE_CHECKING

from trireme_collector import PermanentDeliveryError, RetryableDeliveryError
from trireme_collector.formats import (
    Facility,
    Framing,
    Rfc5424Options,
    Severity,
    frame_lf,
    frame_octet_counting,
    render_rfc5424,
)
from trireme_collector_syslog._senders import DatagramSender, StreamSender
from trireme_collector_syslog._sockets import connect, explain, is_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector import Record
    from trireme_collector_syslog._options import SyslogOptions
    from trireme_collector_syslog._senders import Sender

__all__ = ["SyslogCollector"]

# The receiver is another one than before, or none: only a new connection helps.
_CONNECTION_GONE = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EDESTADDRREQ,
        errno.ENOENT,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ETIMEDOUT,
    }
)
_STALLED = frozenset({None, errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})


class SyslogCollector:
    """Sends each record as one syslog message.

    It blocks its own delivery only: for a stalled receiver as long as ``send_timeout_seconds``.
    What left before a failure is not sent again, a message that left in part is finished.

    Args:
        options: Transport, header and limits.
        name: What messages call the collector.
        time_ns: The time of records that know none, nanoseconds since 1970 UTC.
    """

    def __init__(
        self,
        options: SyslogOptions,
        *,
        name: str = "syslog",
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Work out the header; connect to nothing."""
        self._options = options
        self._name = name
        self._time_ns = time_ns
        self._sender: Sender | None = None
        self._halfway: tuple[Record, bytes] | None = None
        self._header = Rfc5424Options(
            facility=Facility[options.facility.upper()],
            accepted=Severity[options.severity_accepted.upper()],
            rejected=Severity[options.severity_rejected.upper()],
            observed=Severity[options.severity_observed.upper()],
            other=Severity[options.severity_other.upper()],
            hostname=options.hostname or socket.gethostname(),
            app_name=options.app_name,
            procid=str(os.getpid()),
            enterprise_id=options.enterprise_id,
            max_bytes=options.max_bytes,
        )

    def open(self) -> None:
        """Connect, where that cannot take long.

        Raises:
            RetryableDeliveryError: Nobody listens; each delivery tries again.
        """
        if self._options.transport == "unix":
            self._connected(0)

    def deliver(self, batch: Sequence[Record]) -> None:
        """Send the records.

        Raises:
            RetryableDeliveryError: The receiver is away or stalled; ``delivered`` says how many
                messages left.
            PermanentDeliveryError: One message is larger than the transport can carry.
        """
        messages = self._render(batch)
        done = 0
        may_reconnect = True
        while True:
            sender = self._connected(done)
            sent, failure = sender.send(messages[done:])
            done += sent
            if failure is None:
                return
            if failure.errno == errno.EMSGSIZE:
                msg = (
                    f"collector {self._name!r}: a message of {len(messages[done])} bytes is too"
                    " large for the socket; set a smaller max_bytes"
                )
                raise PermanentDeliveryError(msg, delivered=done, rejected=1) from failure
            stalled = isinstance(failure, TimeoutError) or failure.errno in _STALLED
            if not stalled or failure.errno in _CONNECTION_GONE:
                self.close()
                # Once at once: a server that was restarted listens already.
                if may_reconnect and failure.errno in _CONNECTION_GONE:
                    may_reconnect = False
                    continue
            else:
                # It may have left in part, and must look the same when it is finished.
                self._halfway = (batch[done], messages[done])
            message = explain(failure, self._options, self._name)
            raise RetryableDeliveryError(message, delivered=done) from failure

    def reopen(self) -> None:
        """Close the connection; the next delivery makes a new one."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def _render(self, batch: Sequence[Record]) -> list[bytes]:
        now_ns = self._time_ns()
        messages = [render_rfc5424(record, self._header, now_ns=now_ns) for record in batch]
        halfway, self._halfway = self._halfway, None
        if halfway is not None and batch and batch[0] is halfway[0]:
            messages[0] = halfway[1]
        return messages

    def _connected(self, delivered: int) -> Sender:
        if self._sender is None:
            try:
                connection = connect(self._options)
            except OSError as error:
                message = explain(error, self._options, self._name)
                raise RetryableDeliveryError(message, delivered=delivered) from error
            if is_stream(connection):
                octets = self._options.framing is Framing.OCTET_COUNTING
                frame = frame_octet_counting if octets else frame_lf
                self._sender = StreamSender(connection, frame)
            else:
                self._sender = DatagramSender(connection)
        return self._sender
