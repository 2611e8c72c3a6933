"""The collector that sends syslog messages."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING

from trireme_collector import ConfigError, PermanentDeliveryError, RetryableDeliveryError
from trireme_collector_syslog._connecting import Connector
from trireme_collector_syslog._explain import explain
from trireme_collector_syslog._rendering import renderer
from trireme_collector_syslog._senders import MessageRefusedError, is_stall

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


class SyslogCollector:
    """Sends each record as one syslog message.

    It blocks its own delivery only: for a stalled receiver as long as ``send_timeout_seconds``.
    What left before a stall is not sent again, a message that left in part is finished.

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
        self._render_one = renderer(options)
        self._connector = Connector(options, name)
        self._sender: Sender | None = None
        self._begun: Sequence[tuple[Record, bytes]] = ()

    def open(self) -> None:
        """Read the certificates, and connect where that cannot take long.

        Raises:
            ConfigError: The certificates cannot be used.
            RetryableDeliveryError: Nobody listens; each delivery tries again.
        """
        self._connector.prepare()
        if self._options.transport == "unix":
            self._connected(0)

    def deliver(self, batch: Sequence[Record]) -> None:
        """Send the records.

        Raises:
            RetryableDeliveryError: The receiver is away or stalled; ``delivered`` says how many
                messages left.
            PermanentDeliveryError: One message is larger than the transport can carry, or the
                receiver refuses it.
        """
        messages = self._render(batch)
        if not self._begun and self._connector.outdated():
            self.reopen()
        self._begun = ()
        done = 0
        may_reconnect = True
        while True:
            sender = self._connected(done)
            sent, failure = sender.send(messages[done:])
            done += sent
            if failure is None:
                return
            if isinstance(failure, MessageRefusedError):
                self._remember(batch, messages, done + 1)
                reason = f"the server refuses a message: {failure}; see its log"
                raise self._permanent(reason, done) from failure
            if failure.errno == errno.EMSGSIZE:
                reason = (
                    f"a message of {len(messages[done])} bytes is too large for the socket; set a"
                    " smaller max_bytes"
                )
                raise self._permanent(reason, done) from failure
            if is_stall(failure):
                self._remember(batch, messages, done)
            else:
                self._break()
                # Once at once: a server that was restarted listens already.
                if may_reconnect and failure.errno in _CONNECTION_GONE:
                    may_reconnect = False
                    continue
            message = explain(failure, self._options, self._name)
            raise RetryableDeliveryError(message, delivered=done) from failure

    def flush(self) -> None:
        """Notice a connection that broke after the last batch, and send again what it has lost.

        Raises:
            RetryableDeliveryError: That is not possible now; the next delivery tries again.
        """
        if self._sender is None and not self._connector.owed:
            return
        try:
            failure = self._connected(0).check()
            if failure is not None and not is_stall(failure):
                self._break()
                failure = self._connected(0).check()
        except RetryableDeliveryError as error:
            owed = self._connector.owed
            message = f"{error}; {owed} messages may have been lost, and are kept to be sent again"
            raise RetryableDeliveryError(message) from error
        if failure is not None and not is_stall(failure):
            self._break()

    def reopen(self) -> None:
        """Close the connection; the next delivery makes a new one."""
        self.close()

    def close(self) -> None:
        """Close the connection once the receiver has what was sent, or a second has passed."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.finish()

    def _break(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()
            self._connector.broke()

    def _permanent(self, reason: str, delivered: int) -> PermanentDeliveryError:
        message = f"collector {self._name!r}: {reason}"
        return PermanentDeliveryError(message, delivered=delivered, rejected=1)

    def _remember(self, batch: Sequence[Record], messages: Sequence[bytes], start: int) -> None:
        """Keep what has left in part: it must look the same when it is finished."""
        begun = slice(start, start + (self._sender.begun if self._sender else 0))
        self._begun = list(zip(batch[begun], messages[begun], strict=True))

    def _render(self, batch: Sequence[Record]) -> list[bytes]:
        now_ns = self._time_ns()
        render = self._render_one
        known = len(self._begun)
        if known <= len(batch) and all(
            record is begun or record == begun
            for record, (begun, _) in zip(batch, self._begun, strict=False)
        ):
            messages = [message for _, message in self._begun]
        else:
            messages = []
        messages += [render(record, now_ns) for record in batch[len(messages) :]]
        return messages

    def _connected(self, delivered: int) -> Sender:
        if self._sender is None:
            try:
                self._sender = self._connector.connect()
            except (OSError, ConfigError) as error:
                message = (
                    explain(error, self._options, self._name)
                    if isinstance(error, OSError)
                    else str(error)
                )
                raise RetryableDeliveryError(message, delivered=delivered) from error
        return self._sender
